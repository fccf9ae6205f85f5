"""Commands that report on what lies on disk: `analyze`, `predict`, `stragglers`."""

from typing import Any

import click

from scaleprof.cli.base import SOURCE, commands, lists_of_pairs, pairs, talking, written_to
from scaleprof.cli.output import (
    analyzed,
    command_line,
    logging_to_stderr,
    outputs_of,
    patterns_of_communication,
    prepare_numpy,
    write,
)
from scaleprof.remote import AnyPath


@commands.command(short_help="Report on recordings and traces.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=SOURCE)
@written_to
@click.option("--run", "runs", multiple=True, metavar="NAME=GLOB", callback=pairs, help="Take these files as one run.")
@click.option(
    "--engine",
    default="processes",
    show_default=True,
    metavar="processes|serial|tcp://HOST:PORT",
    help="Where traces are read; an address is that of a Dask cluster's scheduler.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read traces; without it one per core.")
@click.option(
    "--set", "settings", multiple=True, metavar="ANALYSIS.OPTION=VALUE", callback=pairs, help="Change a threshold."
)
@click.option(
    "--communication",
    multiple=True,
    metavar="REGEX",
    help="What is called so communicates; may be repeated, and pyproject.toml may hold more.",
)
@click.option("--link-reference", type=SOURCE, metavar="FILE", help="A log of nccl-tests to hold the links against.")
@click.option("--redact", is_flag=True, help="Leave names of hosts, users, folders and files out of the report.")
@click.option("--no-cache", is_flag=True, help="Read every trace, also those that were read before.")
@talking
def analyze(paths: tuple[AnyPath, ...], **given: Any) -> None:
    """Report on every run below the paths: recordings of scaleprof, or traces that other profilers wrote."""
    outputs = outputs_of(given)
    prepare_numpy()
    from scaleprof.pipeline import Options

    communication = patterns_of_communication(given["communication"])
    options = Options(
        engine=given["engine"],
        workers=given["workers"],
        run_globs=given["runs"],
        settings=given["settings"],
        communication=communication,
        link_reference=given["link_reference"],
        command=command_line([text for text in communication if text not in given["communication"]]),
        use_cache=not given["no_cache"],
        redact=given["redact"],
    )
    with logging_to_stderr(given["verbose"]):
        write(analyzed(paths, options, quiet=outputs.quiet), outputs)


@commands.command(short_help="Predict larger sizes from a table of measurements.")
@click.argument("table", metavar="TABLE.csv", type=SOURCE)
@click.option(
    "--columns",
    metavar="ROLE=NAME,...",
    callback=lists_of_pairs,
    help="What columns are: ranks=N,throughput=x or step_ms=t; also nodes, local_batch, global_batch, series=A+B, classes of time.",
)
@click.option(
    "--kind",
    type=click.Choice(["strong", "weak"]),
    help="What stays as ranks are added: the global batch, or each rank's.",
)
@click.option("--target", type=float, help="The efficiency to hold sizes against; without it 0.8.")
@written_to
@talking
def predict(table: AnyPath, **given: Any) -> None:
    """Fit laws of scaling to a CSV file with a column of ranks and one of throughput or step time, and say what they expect of larger sizes.

    More rows of one size are repeats, from which the spread is known. Columns such as model or series tell curves apart.
    """
    prepare_numpy()
    from scaleprof.tables import predict as predict_table

    with logging_to_stderr(given["verbose"]):
        report = predict_table(
            table, columns=given["columns"], kind=given["kind"], target=given["target"], command=command_line()
        )
        write(report, outputs_of(given))


@commands.command(short_help="What stragglers cost in a published table of operations.")
@click.argument("table", metavar="TRACE.parquet", type=SOURCE)
@written_to
@talking
def stragglers(table: AnyPath, **given: Any) -> None:
    """Replay a table of operations as StragglerAnalysis (OSDI'25) publishes them, with its meta-*.yaml beside it, as if its ranks were even."""
    prepare_numpy()
    from scaleprof.pipeline import analyze_operation_table

    with logging_to_stderr(given["verbose"]):
        write(analyze_operation_table(table, command=command_line()), outputs_of(given))
