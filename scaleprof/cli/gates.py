"""Commands that judge: `compare` says what changed between two runs, `check` whether runs meet demands, for CI."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaleprof.cli.base import PATH, SOURCE, commands, pairs, talking, written_to
from scaleprof.cli.output import (
    command_line,
    logging_to_stderr,
    outputs_of,
    patterns_of_communication,
    prepare_numpy,
    progress_bar,
    put,
    write,
)
from scaleprof.errors import OptionError
from scaleprof.remote import AnyPath

if TYPE_CHECKING:
    from scaleprof.pipeline.checked import Checked

UNUSABLE = 3
SUMMARY_VARIABLE, ACTIONS_VARIABLE = "GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A share or a number of percent."""
    from scaleprof.pipeline.checked import share_of

    try:
        return None if value is None else share_of(value)
    except OptionError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def _words(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


ACROSS = click.option(
    "--across",
    multiple=True,
    metavar="WHAT",
    callback=_words,
    help="Changed on purpose: strategy, precision, batch, model, device, framework or ranks; may be repeated.",
)
ANYWAY = click.option(
    "--anyway", is_flag=True, help="Compare whatever differs, even what was emulated with what was real."
)


@commands.command(short_help="What changed between two runs, and is it real.")
@click.argument("base", metavar="BASE", type=SOURCE)
@click.argument("new", metavar="NEW", type=SOURCE)
@ACROSS
@ANYWAY
@click.option(
    "--least-change", "least", default="1%", show_default=True, metavar="SHARE", callback=_share,
    help="The smallest change of the step time that counts as one.",
)  # fmt: skip
@click.option("--run", "runs", multiple=True, metavar="NAME=GLOB", callback=pairs, help="Take these files as one run.")
@written_to
@talking
def compare(base: AnyPath, new: AnyPath, **given: Any) -> None:
    """Say what changed from BASE to NEW, and whether that is more than chance. Each is a folder of recordings or traces, or a report that
    `analyze --json` saved, here or at a URL; one run, or a study whose runs are paired by series, strategy, world size and batch.
    """
    outputs = outputs_of(given)
    prepare_numpy()
    from scaleprof.pipeline import Options
    from scaleprof.pipeline.compared import CompareOptions
    from scaleprof.pipeline.compared import compare as compare_paths

    how = CompareOptions(given["across"], given["anyway"], given["least"])
    options = Options(command=command_line(), run_globs=given["runs"], communication=patterns_of_communication())
    with logging_to_stderr(given["verbose"]), progress_bar(quiet=outputs.quiet) as progress:
        report = compare_paths(base, new, how, options=options, progress=progress)
    write(report, outputs)


@commands.command(short_help="Whether runs meet demands, for CI.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=SOURCE)
@click.option("--min-efficiency", metavar="SHARE", callback=_share, help="Of every series at its largest size.")
@click.option(
    "--max", "most", multiple=True, metavar="METRIC=VALUE", help="This number must not be larger; may be repeated."
)
@click.option(
    "--min", "least", multiple=True, metavar="METRIC=VALUE", help="This number must not be smaller; may be repeated."
)
@click.option(
    "--baseline", type=SOURCE, metavar="PATH", help="A folder or a saved report to hold the step times against."
)
@click.option(
    "--max-regression",
    metavar="SHARE",
    callback=_share,
    help="How much longer a step may take than in the baseline; without it 5%.",
)
@click.option(
    "--inconclusive",
    type=click.Choice(["fail", "pass"]),
    default="pass",
    show_default=True,
    help="What it counts as that the data cannot tell.",
)
@ACROSS
@ANYWAY
@click.option("--run", "runs", multiple=True, metavar="NAME=GLOB", callback=pairs, help="Take these files as one run.")
@click.option("--junit", type=PATH, metavar="FILE.xml", help="The answers as JUnit's XML.")
@click.option("--json", type=PATH, metavar="FILE.json", help="The answers as data.")
@click.option("--markdown", type=PATH, metavar="FILE.md", help="The answers as Markdown.")
@talking
def check(paths: tuple[AnyPath, ...], **given: Any) -> int:
    """Hold runs, or a saved report, against demands. A limit is held against the whole 95 % interval: it holds, it fails, or the interval holds the
    limit and the answer is inconclusive.

    Exit codes: 0 all hold, 1 some fail, 2 a wrong option, 3 the data cannot answer: no traces, no such number, too few steps.
    """  # fmt: skip
    prepare_numpy()
    from scaleprof.pipeline import Options
    from scaleprof.pipeline.checked import MAX_REGRESSION, Demands, demands_of
    from scaleprof.pipeline.checked import check as check_paths

    if given["max_regression"] is not None and given["baseline"] is None:
        raise OptionError("--max-regression needs a --baseline to hold the step times against")
    demands = Demands(
        limits=demands_of(given["least"], given["most"]),
        min_efficiency=given["min_efficiency"],
        baseline=given["baseline"],
        max_regression=MAX_REGRESSION if given["max_regression"] is None else given["max_regression"],
        across=given["across"],
        anyway=given["anyway"],
    )
    options = Options(command=command_line(), run_globs=given["runs"], communication=patterns_of_communication())
    with logging_to_stderr(given["verbose"]), progress_bar(quiet=given["quiet"]) as progress:
        checked = check_paths(paths, demands, options=options, progress=progress)
    _tell(checked, given)
    codes = {"holds": 0, "fails": 1, "unusable": UNUSABLE, "inconclusive": 1 if given["inconclusive"] == "fail" else 0}
    return codes[checked.answer]


def _tell(checked: "Checked", given: dict[str, Any]) -> None:
    """Everything that somebody reads: the terminal, files, and what GitHub's workflows show."""
    from scaleprof.render import gates

    doubt, outcomes, remarks = given["inconclusive"], checked.outcomes, checked.remarks
    text = gates.markdown(checked.verdict, outcomes, remarks)
    if given["junit"]:
        put(given["junit"], lambda file: file.write_text(gates.junit(checked.title, outcomes, doubt), encoding="utf-8"))
    if given["json"]:
        content = gates.as_json(checked.verdict, checked.answer, outcomes, remarks)
        put(given["json"], lambda file: file.write_text(content))
    if given["markdown"]:
        put(given["markdown"], lambda file: file.write_text(text, encoding="utf-8"))
    if os.environ.get(SUMMARY_VARIABLE):
        put(Path(os.environ[SUMMARY_VARIABLE]), lambda file: _append(file, text))
    if os.environ.get(ACTIONS_VARIABLE) == "true":
        for line in gates.annotations(outcomes, doubt):
            click.echo(line)
    if not given["quiet"]:
        from scaleprof.render.terminal import print_checks

        print_checks([(one.id, one.answer, f"{one.subject}: {one.text}", "") for one in outcomes])
        for remark in remarks:
            click.echo(f"- {remark}", err=True)
    click.echo(checked.verdict)


def _append(path: Path, text: str) -> None:
    """Other commands of the same step of a workflow may have written there, too."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
