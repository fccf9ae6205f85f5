"""The command line, thin: parse, call one function, print one line. Nothing heavy is imported before a command needs it.

Results go to standard output, a report's path as the last line; progress and remarks go to standard error. Exit codes: 0 done, 1 a failure
that was explained, 2 a wrong option, 130 interrupted.
"""

import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scaleprof import __version__
from scaleprof.errors import OptionError, ScaleprofError

if TYPE_CHECKING:
    from scaleprof.pipeline import Options, Progress
    from scaleprof.results import Report

INTERRUPTED = 130
TERMINATED = 143
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Outputs:
    """Where a report goes."""

    html: Path | None = None
    json: Path | None = None
    markdown: Path | None = None
    open: bool = False
    quiet: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        return commands.main(arguments, prog_name="scaleprof", standalone_mode=False) or 0
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ScaleprofError as error:
        click.echo(f"scaleprof: {error}", err=True)
        return 2 if isinstance(error, OptionError) else 1


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="scaleprof", message="%(prog)s %(version)s")
def commands() -> None:
    """Why a training job does not scale: records, measures and explains distributed deep learning."""


def _talking(command: Command) -> Command:
    """The options that every command has."""
    command = click.option("-v", "--verbose", is_flag=True, help="Say what is being done, for finding faults.")(command)
    return click.option("-q", "--quiet", is_flag=True, help="Print nothing but the path of what was written.")(command)


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`A=B` as (A, B)."""
    pairs = [(name.strip(), value.strip()) for name, _, value in (text.partition("=") for text in values)]
    for text, (name, value) in zip(values, pairs, strict=True):
        if not name or not value:
            raise click.BadParameter(f"{text!r} is not of the form {parameter.metavar}", context, parameter)
    return tuple(pairs)


_PATH = click.Path(path_type=Path)


@commands.command(short_help="Report on recordings and traces.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=_PATH)
@click.option("-o", "--output", type=_PATH, metavar="FILE.html", help="The report; without it reports/<name>.html.")
@click.option("--json", type=_PATH, metavar="FILE.json", help="The report as data; alone, no HTML is written.")
@click.option(
    "--markdown", type=_PATH, metavar="FILE.md", help="A summary for a pull request; alone, no HTML is written."
)
@click.option("--run", "runs", multiple=True, metavar="NAME=GLOB", callback=_pairs, help="Take these files as one run.")
@click.option("--engine", type=click.Choice(["processes", "serial"]), default="processes", show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read traces; without it one per core.")
@click.option(
    "--set", "settings", multiple=True, metavar="ANALYSIS.OPTION=VALUE", callback=_pairs, help="Change a threshold."
)
@click.option(
    "--communication",
    multiple=True,
    metavar="REGEX",
    help="What is called so communicates; may be repeated, and pyproject.toml may hold more.",
)
@click.option("--link-reference", type=_PATH, metavar="FILE", help="A log of nccl-tests to hold the links against.")
@click.option("--redact", is_flag=True, help="Leave names of hosts, users, folders and files out of the report.")
@click.option("--no-cache", is_flag=True, help="Read every trace, also those that were read before.")
@click.option("--open", "open_", is_flag=True, help="Open the report in a browser.")
@_talking
def analyze(paths: tuple[Path, ...], **given: Any) -> None:
    """Report on every run below the paths: recordings of scaleprof, or traces that other profilers wrote."""
    outputs = Outputs(given["output"], given["json"], given["markdown"], given["open_"], given["quiet"])
    _prepare_numpy()
    from scaleprof.pipeline import Options

    communication = _communication(given["communication"])
    options = Options(
        engine=given["engine"],
        workers=given["workers"],
        run_globs=given["runs"],
        settings=given["settings"],
        communication=communication,
        link_reference=given["link_reference"],
        command=_command_line([text for text in communication if text not in given["communication"]]),
        use_cache=not given["no_cache"],
        redact=given["redact"],
    )
    with _logging(given["verbose"]):
        _write(_analyzed(paths, options, quiet=outputs.quiet), outputs)


@commands.command(short_help="What stragglers cost in a published table of operations.")
@click.argument("table", metavar="TRACE.parquet", type=_PATH)
@click.option("-o", "--output", type=_PATH, metavar="FILE.html", help="The report; without it reports/<name>.html.")
@click.option("--json", type=_PATH, metavar="FILE.json", help="The report as data; alone, no HTML is written.")
@click.option("--open", "open_", is_flag=True, help="Open the report in a browser.")
@_talking
def stragglers(table: Path, **given: Any) -> None:
    """Replay a table of operations as StragglerAnalysis (OSDI'25) publishes them, with its meta-*.yaml beside it, as if its ranks were even."""
    _prepare_numpy()
    from scaleprof.pipeline import analyze_operation_table

    with _logging(given["verbose"]):
        outputs = Outputs(given["output"], given["json"], None, given["open_"], given["quiet"])
        _write(analyze_operation_table(table, command=_command_line()), outputs)


@commands.command(
    short_help="Run a script at several world sizes, then report.", context_settings={"allow_interspersed_args": False}
)
@click.argument("command", metavar="-- SCRIPT.py [ARGS]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--ranks", required=True, metavar="1,2,4", help="The world sizes to run.")
@click.option("--out", type=_PATH, default=Path("traces"), show_default=True, help="The folder to record into.")
@click.option("--name", help="The name of the series; without it the script's.")
@click.option("--open", "open_", is_flag=True, help="Open the report in a browser.")
@_talking
def sweep(command: tuple[str, ...], ranks: str, out: Path, name: str | None, **given: Any) -> None:
    """Run a training script at several world sizes with torchrun on this machine, then report on them."""
    from scaleprof.launch import sweep as launch

    quiet, communication = given["quiet"], _communication()
    sizes = launch.world_sizes(ranks)
    with _orderly_end(), _logging(given["verbose"]):
        swept = launch.sweep(command, sizes, out=out, name=name, on_line=None if quiet else _say_of_size)
    for failure in swept.failures:
        click.echo(f"scaleprof: {failure.reason}", err=True)
        for line in failure.last_lines:
            click.echo(f"  {line}", err=True)
    html = Path("reports") / f"{_file_name(swept.name)}.html"
    outputs = Outputs(html, open=given["open_"], quiet=quiet)
    _report_on(swept.runs, outputs, communication, verbose=given["verbose"])


@commands.command(short_help="Record a small real study here, then report.")
@click.option(
    "--out",
    type=_PATH,
    default=Path("scaleprof-demo"),
    show_default=True,
    help="The folder for the recordings and the report.",
)
@click.option("--open", "open_", is_flag=True, help="Open the report in a browser.")
@_talking
def demo(out: Path, **given: Any) -> None:
    """Record a small real study on this machine (about a minute, no GPU needed) and report on it."""
    from scaleprof.launch.demo import record_demo

    say, communication = None if given["quiet"] else _say, _communication()
    with _orderly_end(), _logging(given["verbose"]):
        recorded = record_demo(out / "traces", on_line=say)
    if say:
        say(recorded.origin)
    outputs = Outputs(out / "report.html", out / "report.json", open=given["open_"], quiet=given["quiet"])
    _report_on(recorded.runs, outputs, communication, verbose=given["verbose"])


@commands.command(short_help="Write a job with known answers.")
@click.argument("spec")
@click.option(
    "-o", "--out", type=_PATH, default=Path("traces"), show_default=True, help="The folder to write the job into."
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", callback=_pairs, help="Change the job.")
@click.option("--dialect", metavar="NAME", help="How the trace files are written; a wrong name lists the right ones.")
@click.option("--foreign", is_flag=True, help="Write plain files of torch.profiler, without any of the recorder's.")
@_talking
def synth(spec: str, out: Path, settings: tuple[tuple[str, str], ...], **given: Any) -> None:
    """Compute a job from its description (a TOML file, or the name of a built-in job: ddp, fsdp, tp, pipeline, mesh, damaged, large) and write its
    recording, for one rank up to thousands.

    truth.json beside it says what an analysis must find, to the nanosecond, and what was taken from the files.
    """
    _prepare_numpy()
    from scaleprof.synth.spec import load_spec
    from scaleprof.synth.writing import write_job

    if given["dialect"]:
        settings = (*settings, ("dialect", given["dialect"]))
    with _logging(given["verbose"]), _progress(quiet=given["quiet"]) as progress:
        folder = write_job(load_spec(spec, settings), out, foreign=given["foreign"], progress=progress)
    click.echo(folder)


@commands.command(short_help="Say what can be recorded on this machine.")
@click.option(
    "--out", type=_PATH, default=Path("traces"), show_default=True, help="The folder that recordings would go to."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@_talking
def doctor(out: Path, as_json: bool, **given: Any) -> int:
    """Say what can be recorded on this machine, what is missing and how to get it; a job of 2 ranks is recorded as a trial.

    Ends with exit code 0 where recording works, with 1 where it does not.
    """
    from scaleprof.launch.doctor import examine

    with _orderly_end(), _logging(given["verbose"]):
        diagnosis = examine(out, on_line=None if given["quiet"] or as_json else _say)
    if as_json:
        click.echo(diagnosis.as_json())
    else:
        if not given["quiet"]:
            from scaleprof.render.terminal import print_checks

            print_checks([(check.name, check.state, check.found, check.remedy) for check in diagnosis.checks])
        click.echo(diagnosis.verdict)
    return 0 if diagnosis.works else 1


def _report_on(runs: Sequence[Path], outputs: Outputs, communication: tuple[str, ...], *, verbose: bool) -> None:
    """Analyze what was just recorded."""
    _prepare_numpy()
    from scaleprof.pipeline import Options

    with _logging(verbose):
        options = Options(command=_command_line(), communication=communication)
        _write(_analyzed(runs, options, quiet=outputs.quiet), outputs)


def _communication(given: Sequence[str] = ()) -> tuple[str, ...]:
    """The patterns of names that communicate: those of the project, then those of the command line."""
    from scaleprof.settings import project_settings

    return tuple(dict.fromkeys((*project_settings(Path.cwd()).communication, *given)))


def _analyzed(paths: Sequence[Path], options: "Options", *, quiet: bool) -> "Report":
    """The report, with progress shown on a terminal."""
    from scaleprof.pipeline import analyze as run_pipeline

    with _progress(quiet=quiet) as progress:
        return run_pipeline(paths, options=options, progress=progress)


def _write(report: "Report", outputs: Outputs) -> None:
    """Write every output, then show the summary and, last, the path."""
    html = outputs.html
    if html is None and outputs.json is None and outputs.markdown is None:
        html = Path("reports") / f"{_file_name(report.runs[0].info.series or report.runs[0].info.name)}.html"
    if outputs.json:
        _put(outputs.json, report.save)
    if outputs.markdown:
        from scaleprof.render.markdown import render_markdown

        text = render_markdown(report)
        _put(outputs.markdown, lambda path: path.write_text(text))
    if html:
        from scaleprof.render.html import render_html

        page = render_html(report)
        _put(html, lambda path: path.write_text(page))
    if not outputs.quiet:
        from scaleprof.render.terminal import print_report

        print_report(report)
    click.echo(html or outputs.json or outputs.markdown)
    if html and outputs.open:
        click.launch(str(html.absolute()))


def _put(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whose folder may not exist yet."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except OSError as error:
        raise ScaleprofError(f"{path}: cannot be written ({error.strerror})") from error


def _prepare_numpy() -> None:
    # Small linear algebra only: the threads that OpenBLAS starts in every worker cost more than they give.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _command_line(patterns: Sequence[str] = ()) -> str:
    """How to make the report again, wherever: with the patterns that the project's settings added."""
    added = [word for text in patterns for word in ("--communication", text)]
    return shlex.join(["scaleprof", *sys.argv[1:], *added])


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "report"


def _say(line: str) -> None:
    click.echo(line, err=True)


def _say_of_size(size: int, line: str) -> None:
    click.echo(f"[{size} {'rank' if size == 1 else 'ranks'}] {line}", err=True)


@contextmanager
def _progress(*, quiet: bool) -> Iterator["Progress | None"]:
    """A progress bar on standard error, on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    with Bar(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage)
            # Nothing is known of how far the first one is: until then the bar only shows that something happens.
            bar.update(tasks[stage], completed=done, total=total if done else None)

        yield show


@contextmanager
def _logging(verbose: bool) -> Iterator[None]:
    """Log records of the package on standard error: warnings, and everything when verbose."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"))
    logger = logging.getLogger("scaleprof")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """While jobs run, a request to terminate ends them as an interruption would, instead of leaving them behind."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
