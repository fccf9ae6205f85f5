"""The command that writes for other people's viewers and tools: `export`."""

from pathlib import Path
from typing import Any

import click

from scaleprof.cli.base import PATH, SOURCE, commands, talking
from scaleprof.cli.output import (
    logging_to_stderr,
    orderly_end,
    patterns_of_communication,
    prepare_numpy,
    progress_bar,
    say,
)
from scaleprof.errors import OptionError
from scaleprof.remote import AnyPath

_TRACES, _TABLES = ("json", "pftrace"), ("csv", "parquet")
DEFAULT_FOLDER = Path("exports")


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """`0,4-7` as (0, 4, 5, 6, 7)."""
    found: list[int] = []
    for part in (value or "").split(",") if value else []:
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) - int(first) > 1 << 20):
            raise click.BadParameter(f"{value!r} is not of the form {parameter.metavar}", context, parameter)
        if int(last or first) < int(first):
            raise click.BadParameter(f"{value!r} must go from lower to higher ranks", context, parameter)
        found += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(found))


def _steps(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """`10` or `10-20` as (first, last)."""
    if value is None:
        return None
    first, dash, last = value.strip().partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise click.BadParameter(f"{value!r} is not of the form {parameter.metavar}", context, parameter)
    return int(first), int(last or first)


def _seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """`1.5-2` as (1.5, 2.0)."""
    if value is None:
        return None
    first, _, last = value.strip().partition("-")
    try:
        return float(first), float(last)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not of the form {parameter.metavar}", context, parameter) from error


@commands.command(short_help="Write all ranks on one clock for Perfetto, or every table.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=SOURCE)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE|FOLDER",
    help="FILE.json.gz or FILE.pftrace of one run, a folder of several; without it exports/.",
)
@click.option(
    "--tables",
    type=PATH,
    metavar="FOLDER",
    help="Write every table of the report there; alone, nothing else is written.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice([*_TRACES, *_TABLES]),
    help="Of the traces (json, pftrace) or of the tables (csv, parquet).",
)
@click.option("--run", "runs", multiple=True, metavar="NAME", help="Only this run; may be repeated.")
@click.option("--ranks", metavar="0,4-7", callback=_numbers, help="Only these ranks.")
@click.option("--steps", metavar="FIRST[-LAST]", callback=_steps, help="Only these steps.")
@click.option(
    "--seconds", metavar="FROM-TO", callback=_seconds, help="Only this part, in seconds after the run's first event."
)
@click.option(
    "--budget",
    type=float,
    metavar="MB",
    default=400.0,
    show_default=True,
    help="Most megabytes of a file before it is compressed.",
)
@click.option("--redact", is_flag=True, help="Leave names of hosts, users, folders and files out of what is written.")
@click.option("--no-cache", is_flag=True, help="Read every trace, also those that were read before.")
@talking
def export(paths: tuple[AnyPath, ...], **given: Any) -> None:
    """Write all ranks of each run on one aligned clock, as a trace that Perfetto (ui.perfetto.dev) or chrome://tracing opens: arrows between the
    ranks of each collective and from sender to receiver, waiting and transfer inside it, sampled counters of the machine. Or every table."""
    of_traces, of_tables = _formats(given["formats"])
    has_traces = given["output"] is not None or given["tables"] is None
    if of_tables and given["tables"] is None:
        raise OptionError(f"--format {of_tables} is of tables: --tables FOLDER says where they go")
    if of_traces and not has_traces:
        raise OptionError(f"--format {of_traces} is of traces: -o says where they go")
    prepare_numpy()
    from scaleprof.pipeline import Options, Selection, export_tables
    from scaleprof.pipeline import export as export_traces

    options = Options(
        communication=patterns_of_communication(), use_cache=not given["no_cache"], redact=given["redact"]
    )
    selection = Selection(given["runs"], given["ranks"], given["steps"], given["seconds"], given["budget"])
    with orderly_end(), logging_to_stderr(given["verbose"]), progress_bar(quiet=given["quiet"]) as progress:
        if has_traces:
            written = export_traces(
                paths,
                given["output"] or DEFAULT_FOLDER,
                format=of_traces,
                selection=selection,
                options=options,
                progress=progress,
            )
        else:
            written = []
        tables = (
            export_tables(paths, given["tables"], of_tables or "csv", options=options, progress=progress)
            if given["tables"]
            else []
        )
    for one in written:
        for remark in () if given["quiet"] else one.remarks:
            say(f"{one.path.name}: {remark}")
        click.echo(one.path)
    for path in tables:
        click.echo(path)


def _formats(given: tuple[str, ...]) -> tuple[Any, Any]:
    """The format of traces and that of tables; None where nothing is asked for."""
    traces, tables = ([one for one in given if one in of] for of in (_TRACES, _TABLES))
    for several in (traces, tables):
        if len(set(several)) > 1:
            raise OptionError(f"--format says both {several[0]} and {several[1]}: choose one")
    return next(iter(traces), None), next(iter(tables), None)
