"""Commands that replay what was recorded: `whatif`."""

from typing import Any

import click

from scaleprof.cli.base import SOURCE, commands, pairs, talking, written_to
from scaleprof.cli.output import (
    command_line,
    logging_to_stderr,
    outputs_of,
    patterns_of_communication,
    prepare_numpy,
    progress_bar,
    write,
)
from scaleprof.errors import OptionError
from scaleprof.remote import AnyPath

HALF = ("fp16", "bf16")


def _compression(context: click.Context, parameter: click.Parameter, value: str | None) -> float:
    """A share of the bytes."""
    if value is None:
        return 1.0
    if value in HALF:
        return 0.5
    try:
        return float(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is neither {' nor '.join(HALF)} nor a number", context, parameter
        ) from error


def _kernels(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for pattern, times in pairs(context, parameter, values):
        try:
            found[pattern] = float(times)
        except ValueError as error:
            raise click.BadParameter(f"{times!r} is no number of times", context, parameter) from error
    return found


@commands.command(short_help="What a change would bring, replayed.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=SOURCE)
@click.option("--link", type=float, default=1.0, metavar="K", help="Links with K times the bandwidth.")
@click.option("--group", default="", metavar="NAME", help="Only those of this process group.")
@click.option("--latency", type=float, default=1.0, metavar="K", help="K times the latency of links.")
@click.option("--no-stragglers", is_flag=True, help="All ranks of a role as fast as their mean.")
@click.option(
    "--normal-rank", type=int, metavar="RANK", help="This rank as fast as the median of the others of its role."
)
@click.option("--overlap", is_flag=True, help="Communication hidden wherever it can be.")
@click.option(
    "--compress", metavar="fp16|bf16|SHARE", callback=_compression, help="Gradients with this share of their bytes."
)
@click.option(
    "--encode-gbps",
    type=float,
    metavar="GB/S",
    help="How fast gradients are encoded and decoded; without it that is not counted.",
)
@click.option("--split-buckets", "split", type=int, default=1, metavar="K", help="Each bucket of gradients sent as K.")
@click.option("--merge-buckets", "merge", type=int, default=1, metavar="K", help="K buckets of gradients sent as one.")
@click.option("--ranks", type=int, metavar="N", help="N ranks that do what these do.")
@click.option(
    "--global-batch", is_flag=True, help="More ranks share the batch there is; without it each keeps its own."
)
@click.option("--micro-batches", type=int, metavar="M", help="A pipeline that divides its batch into M parts.")
@click.option("--no-syncbn", is_flag=True, help="No SyncBatchNorm.")
@click.option("--no-host-syncs", is_flag=True, help="A host that never waits for its device.")
@click.option("--no-input", is_flag=True, help="Input that is there when it is asked for.")
@click.option("--no-pauses", is_flag=True, help="No garbage collection, compilation or checkpoint.")
@click.option("--no-launches", is_flag=True, help="A step launched at once, as CUDA graphs do.")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="PATTERN=K",
    callback=_kernels,
    help="Kernels of such names K times as fast.",
)
@click.option("--run", "runs", multiple=True, metavar="NAME=GLOB", callback=pairs, help="Take these files as one run.")
@written_to
@talking
def whatif(paths: tuple[AnyPath, ...], **given: Any) -> None:
    """Replay every run below the paths with something changed. Several changes are replayed together: gains do not add up."""
    prepare_numpy()
    from scaleprof.pipeline import PAUSES, Edit, Options, what_if

    if given["encode_gbps"] is not None and given["encode_gbps"] <= 0:
        raise OptionError(f"--encode-gbps must be positive, not {given['encode_gbps']}")
    edit = Edit(
        link=given["link"],
        group=given["group"],
        latency=given["latency"],
        no_stragglers=given["no_stragglers"],
        normal_rank=given["normal_rank"],
        overlap=given["overlap"],
        compress=given["compress"],
        encode_ns_per_byte=1 / given["encode_gbps"] if given["encode_gbps"] else 0.0,
        merge=given["merge"],
        split=given["split"],
        ranks=given["ranks"],
        batch="global" if given["global_batch"] else "local",
        micro_batches=given["micro_batches"],
        no_sync_batch_norm=given["no_syncbn"],
        no_host_syncs=given["no_host_syncs"],
        without=frozenset((*(("input",) if given["no_input"] else ()), *(PAUSES if given["no_pauses"] else ()))),
        no_launches=given["no_launches"],
        kernels=given["kernels"],
    )
    outputs = outputs_of(given)
    options = Options(command=command_line(), run_globs=given["runs"], communication=patterns_of_communication())
    with logging_to_stderr(given["verbose"]), progress_bar(quiet=outputs.quiet) as progress:
        report = what_if(paths, edit, options=options, progress=progress)
    write(report, outputs)
