"""The group that every command joins, and what its commands share: options, and errors of their values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from scaleprof import __version__

PATH = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="scaleprof", message="%(prog)s %(version)s")
def commands() -> None:
    """Why a training job does not scale: records, measures and explains distributed deep learning."""


def talking(command: Command) -> Command:
    """The options that every command has."""
    command = click.option("-v", "--verbose", is_flag=True, help="Say what is being done, for finding faults.")(command)
    return click.option("-q", "--quiet", is_flag=True, help="Print nothing but the path of what was written.")(command)


def written_to(command: Command) -> Command:
    """The options of a command that writes a report; `output.outputs_of` reads them."""
    options = (
        click.option(
            "-o", "--output", type=PATH, metavar="FILE.html", help="The report; without it reports/<name>.html."
        ),
        click.option("--json", type=PATH, metavar="FILE.json", help="The report as data; alone, no HTML is written."),
        click.option(
            "--markdown", type=PATH, metavar="FILE.md", help="A summary for a pull request; alone, no HTML is written."
        ),
        click.option("--open", "open_", is_flag=True, help="Open the report in a browser."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`A=B` as (A, B)."""
    pairs = [(name.strip(), value.strip()) for name, _, value in (text.partition("=") for text in values)]
    for text, (name, value) in zip(values, pairs, strict=True):
        if not name or not value:
            raise click.BadParameter(f"{text!r} is not of the form {parameter.metavar}", context, parameter)
    return tuple(pairs)


def lists_of_pairs(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[tuple[str, str], ...]:
    """`A=B,C=D` as (A, B), (C, D)."""
    found = [
        (role.strip(), name.strip())
        for role, _, name in (text.partition("=") for text in (value or "").split(","))
        if role.strip() or name.strip()
    ]
    for role, name in found:
        if not role or not name:
            raise click.BadParameter(f"{value!r} is not of the form {parameter.metavar}", context, parameter)
    return tuple(found)
