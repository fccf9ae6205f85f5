"""The command that makes a job with known answers: `synth`."""

from pathlib import Path
from typing import Any

import click

from scaleprof.cli.base import PATH, commands, pairs, talking
from scaleprof.cli.output import logging_to_stderr, prepare_numpy, progress_bar


@commands.command(short_help="Write a job with known answers.")
@click.argument("spec")
@click.option(
    "-o", "--out", type=PATH, default=Path("traces"), show_default=True, help="The folder to write the job into."
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", callback=pairs, help="Change the job.")
@click.option("--dialect", metavar="NAME", help="How the trace files are written; a wrong name lists the right ones.")
@click.option("--foreign", is_flag=True, help="Write plain files of torch.profiler, without any of the recorder's.")
@click.option(
    "--facts", is_flag=True, help="Write what is measured of each rank in place of its trace: for thousands of ranks."
)
@talking
def synth(spec: str, out: Path, settings: tuple[tuple[str, str], ...], **given: Any) -> None:
    """Compute a job from its description (a TOML file, or the name of a built-in job: ddp, fsdp, tp, pipeline, mesh, damaged, large) and write its
    recording, for one rank up to thousands.

    truth.json beside it says what an analysis must find, to the nanosecond, and what was taken from the files.
    """
    prepare_numpy()
    from scaleprof.pipeline import write_facts_of
    from scaleprof.synth.spec import load_spec
    from scaleprof.synth.writing import write_job

    if given["dialect"]:
        settings = (*settings, ("dialect", given["dialect"]))
    with logging_to_stderr(given["verbose"]), progress_bar(quiet=given["quiet"]) as progress:
        job, measure = load_spec(spec, settings), write_facts_of if given["facts"] else None
        folder = write_job(job, out, foreign=given["foreign"], measure=measure, progress=progress)
    click.echo(folder)
