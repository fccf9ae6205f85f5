"""Where answers go: a report's files and summary, progress and remarks on standard error, and the end of jobs that were started."""

import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaleprof.cli.base import given_elsewhere
from scaleprof.errors import ScaleprofError
from scaleprof.remote import AnyPath, without_secrets

if TYPE_CHECKING:
    from scaleprof.pipeline import Options, Progress
    from scaleprof.results import Report

TERMINATED = 143


@dataclass(frozen=True)
class Outputs:
    """Where a report goes."""

    html: Path | None = None
    json: Path | None = None
    markdown: Path | None = None
    open: bool = False
    quiet: bool = False


def outputs_of(given: Mapping[str, Any]) -> Outputs:
    """What the options of `base.written_to` and `base.talking` say."""
    return Outputs(given["output"], given["json"], given["markdown"], given["open_"], given["quiet"])


def report_on(runs: Sequence[Path], outputs: Outputs, communication: tuple[str, ...], *, verbose: bool) -> None:
    """Analyze what was just recorded."""
    prepare_numpy()
    from scaleprof.pipeline import Options

    with logging_to_stderr(verbose):
        options = Options(command=command_line(), communication=communication)
        write(analyzed(runs, options, quiet=outputs.quiet), outputs)


def patterns_of_communication(given: Sequence[str] = ()) -> tuple[str, ...]:
    """The patterns of names that communicate: those of the project, then those of the command line."""
    from scaleprof.settings import project_settings

    return tuple(dict.fromkeys((*project_settings(Path.cwd()).communication, *given)))


def analyzed(paths: Sequence[AnyPath], options: "Options", *, quiet: bool) -> "Report":
    """The report, with progress shown on a terminal."""
    from scaleprof.pipeline import analyze as run_pipeline

    with progress_bar(quiet=quiet) as progress:
        return run_pipeline(paths, options=options, progress=progress)


def write(report: "Report", outputs: Outputs) -> None:
    """Write every output, then show the summary and, last, the path."""
    html = outputs.html
    if html is None and outputs.json is None and outputs.markdown is None:
        info = report.runs[0].info if report.runs else None
        html = Path("reports") / f"{file_name((info.series or info.name) if info else report.title)}.html"
    if outputs.json:
        put(outputs.json, report.save)
    if outputs.markdown:
        from scaleprof.render.markdown import render_markdown

        text = render_markdown(report)
        put(outputs.markdown, lambda path: path.write_text(text))
    if html:
        from scaleprof.render.html import render_html

        page = render_html(report)
        put(html, lambda path: path.write_text(page))
    if not outputs.quiet:
        from scaleprof.render.terminal import print_report

        print_report(report)
    click.echo(html or outputs.json or outputs.markdown)
    if html and outputs.open:
        click.launch(str(html.absolute()))


def put(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whose folder may not exist yet."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except OSError as error:
        raise ScaleprofError(f"{path}: cannot be written ({error.strerror})") from error


def prepare_numpy() -> None:
    """One thread for OpenBLAS: there is small linear algebra only, and its threads in every worker cost more than they give."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def command_line(patterns: Sequence[str] = ()) -> str:
    """How to make the report again, wherever: with what the environment and the project's settings added, without what signs URLs."""
    added = given_elsewhere() + [word for text in patterns for word in ("--communication", text)]
    return shlex.join(without_secrets(word) for word in ["scaleprof", *sys.argv[1:], *added])


def file_name(name: str) -> str:
    """A name as a file may have it."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "report"


def say(line: str) -> None:
    """A line on standard error."""
    click.echo(line, err=True)


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator["Progress | None"]:
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
def logging_to_stderr(verbose: bool) -> Iterator[None]:
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
def orderly_end() -> Iterator[None]:
    """While jobs run or a file is written, a request to terminate ends that as an interruption would, instead of leaving anything behind."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
