"""Commands that start jobs on this machine: `sweep`, `demo`, `doctor`."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaleprof.cli.base import PATH, commands, talking
from scaleprof.cli.output import (
    Outputs,
    file_name,
    logging_to_stderr,
    orderly_end,
    patterns_of_communication,
    report_on,
    say,
)

if TYPE_CHECKING:
    from scaleprof.launch.sweep import Plan
    from scaleprof.launch.trials import Trial


@commands.command(
    short_help="Run a script at several world sizes, then report.", context_settings={"allow_interspersed_args": False}
)
@click.argument("command", metavar="-- SCRIPT.py [ARGS]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--ranks", required=True, metavar="1,2,4", help="The world sizes to run.")
@click.option(
    "--repeats",
    type=int,
    default=1,
    show_default=True,
    help="How often each size is run; the order is then drawn by chance.",
)
@click.option(
    "--seed", type=int, help="Draw the order by this number; without it a new one is taken for repeats, and said."
)
@click.option("--in-order", is_flag=True, help="Run the sizes in order, also with repeats.")
@click.option(
    "--resume", is_flag=True, help="Go on with a sweep that was interrupted: what ended well is not run again."
)
@click.option("--launcher", type=click.Choice(["torchrun", "slurm"]), default="torchrun", show_default=True)
@click.option("--ranks-per-node", type=int, default=8, show_default=True, help="SLURM: how many ranks a node takes.")
@click.option(
    "--sbatch",
    "options",
    multiple=True,
    metavar="OPTION",
    help="SLURM: an option such as --partition=gpu; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="SLURM: write the scripts and submit nothing.")
@click.option("--wait", is_flag=True, help="SLURM: wait for the last job, then report.")
@click.option("--out", type=PATH, default=Path("traces"), show_default=True, help="The folder to record into.")
@click.option("--name", help="The name of the series; without it the script's.")
@click.option("--open", "open_", is_flag=True, help="Open the report in a browser.")
@talking
def sweep(command: tuple[str, ...], ranks: str, out: Path, name: str | None, **given: Any) -> None:
    """Run a training script at several world sizes, with torchrun on this machine or as jobs of SLURM, then report on them."""
    from scaleprof.launch import sweep as launch
    from scaleprof.launch.trials import trials_of, world_sizes

    quiet, communication = given["quiet"], patterns_of_communication()
    seed = _seed_of(given)
    trials = trials_of(world_sizes(ranks), repeats=given["repeats"], seed=seed)
    plan = launch.plan_of(command, trials, out=out, name=name, resume=given["resume"])
    if plan.done and not quiet:
        say(f"going on: {len(plan.done)} of {len(trials)} runs are there")
    with orderly_end(), logging_to_stderr(given["verbose"]):
        if given["launcher"] == "slurm":
            if not _submitted(plan, given):
                return
            swept = launch.recorded(plan)
        else:
            swept = launch.sweep(plan, on_line=None if quiet else _say_of_run)
    for failure in swept.failures:
        click.echo(f"scaleprof: {failure.reason}", err=True)
        for line in failure.last_lines:
            click.echo(f"  {line}", err=True)
    html = Path("reports") / f"{file_name(swept.name)}.html"
    outputs = Outputs(html, open=given["open_"], quiet=quiet)
    report_on(swept.runs, outputs, communication, verbose=given["verbose"])


def _seed_of(given: Mapping[str, Any]) -> int | None:
    """What the order is drawn by; None where sizes come in order."""
    if given["in_order"] or (given["repeats"] == 1 and given["seed"] is None):
        return None
    seed: int = given["seed"] if given["seed"] is not None else secrets.randbelow(10**6)
    if not given["quiet"]:
        say(f"the order is drawn: --seed {seed} draws it again")
    return seed


def _submitted(plan: "Plan", given: Mapping[str, Any]) -> bool:
    """Submit what is left of a sweep to SLURM; whether it has ended and can be reported on."""
    from scaleprof.launch import sweep as launch
    from scaleprof.launch.slurm import Cluster

    cluster = Cluster(given["ranks_per_node"], given["options"])
    given_away = launch.submit(plan, cluster, dry_run=given["dry_run"], wait=given["wait"])
    if given["dry_run"]:
        for script in given_away.scripts:
            click.echo(f"sbatch {script}")
        return False
    if given_away.in_queue and not given["wait"]:
        say(f"not ended yet: {', '.join(given_away.in_queue)}")
    if given_away.jobs and not given["wait"]:
        say(f"submitted, one after another: {', '.join(given_away.jobs)}")
        say("when they have ended, the same command with --resume reports on them")
        return False
    return True


@commands.command(short_help="Record a small real study here, then report.")
@click.option(
    "--out",
    type=PATH,
    default=Path("scaleprof-demo"),
    show_default=True,
    help="The folder for the recordings and the report.",
)
@click.option("--open", "open_", is_flag=True, help="Open the report in a browser.")
@talking
def demo(out: Path, **given: Any) -> None:
    """Record a small real study on this machine (about a minute, no GPU needed) and report on it."""
    from scaleprof.launch.demo import record_demo

    quiet, communication = given["quiet"], patterns_of_communication()
    with orderly_end(), logging_to_stderr(given["verbose"]):
        recorded = record_demo(out / "traces", on_line=None if quiet else say)
    if not quiet:
        say(recorded.origin)
    outputs = Outputs(out / "report.html", out / "report.json", open=given["open_"], quiet=quiet)
    report_on(recorded.runs, outputs, communication, verbose=given["verbose"])


@commands.command(short_help="Say what can be recorded on this machine.")
@click.option(
    "--out", type=PATH, default=Path("traces"), show_default=True, help="The folder that recordings would go to."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@talking
def doctor(out: Path, as_json: bool, **given: Any) -> int:
    """Say what can be recorded on this machine, what is missing and how to get it; a job of 2 ranks is recorded as a trial.

    Ends with exit code 0 where recording works, with 1 where it does not.
    """
    from scaleprof.launch.doctor import examine

    with orderly_end(), logging_to_stderr(given["verbose"]):
        diagnosis = examine(out, on_line=None if given["quiet"] or as_json else say)
    if as_json:
        click.echo(diagnosis.as_json())
    else:
        if not given["quiet"]:
            from scaleprof.render.terminal import print_checks

            print_checks([(check.name, check.state, check.found, check.remedy) for check in diagnosis.checks])
        click.echo(diagnosis.verdict)
    return 0 if diagnosis.works else 1


def _say_of_run(trial: "Trial", line: str) -> None:
    click.echo(f"[{trial.words}] {line}", err=True)
