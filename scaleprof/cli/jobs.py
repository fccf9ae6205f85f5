"""Commands that start jobs on this machine: `sweep`, `demo`, `doctor`."""

from pathlib import Path
from typing import Any

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


@commands.command(
    short_help="Run a script at several world sizes, then report.", context_settings={"allow_interspersed_args": False}
)
@click.argument("command", metavar="-- SCRIPT.py [ARGS]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--ranks", required=True, metavar="1,2,4", help="The world sizes to run.")
@click.option("--out", type=PATH, default=Path("traces"), show_default=True, help="The folder to record into.")
@click.option("--name", help="The name of the series; without it the script's.")
@click.option("--open", "open_", is_flag=True, help="Open the report in a browser.")
@talking
def sweep(command: tuple[str, ...], ranks: str, out: Path, name: str | None, **given: Any) -> None:
    """Run a training script at several world sizes with torchrun on this machine, then report on them."""
    from scaleprof.launch import sweep as launch

    quiet, communication = given["quiet"], patterns_of_communication()
    sizes = launch.world_sizes(ranks)
    with orderly_end(), logging_to_stderr(given["verbose"]):
        swept = launch.sweep(command, sizes, out=out, name=name, on_line=None if quiet else _say_of_size)
    for failure in swept.failures:
        click.echo(f"scaleprof: {failure.reason}", err=True)
        for line in failure.last_lines:
            click.echo(f"  {line}", err=True)
    html = Path("reports") / f"{file_name(swept.name)}.html"
    outputs = Outputs(html, open=given["open_"], quiet=quiet)
    report_on(swept.runs, outputs, communication, verbose=given["verbose"])


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


def _say_of_size(size: int, line: str) -> None:
    click.echo(f"[{size} {'rank' if size == 1 else 'ranks'}] {line}", err=True)
