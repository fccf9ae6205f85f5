"""The group that every command joins, and what its commands share: options, and errors of their values."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from scaleprof import __version__
from scaleprof.errors import OptionError
from scaleprof.remote import path_of, without_secrets


class _Here(click.Path):
    """A file or folder of this machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. Fails for an address, of which a path would make folders called `s3:`."""
        if isinstance(value, str) and "://" in value:
            self.fail(f"{without_secrets(value)!r} is elsewhere: name a file or folder of this machine", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Here(path_type=Path)
"""The type of something to write."""
SOURCE = path_of
"""The type of something to read: a path, or a URL."""
Command = TypeVar("Command", bound=Callable[..., Any])


class _Commands(click.Group):
    """The group: before it runs a command it takes the defaults of its options from the project's settings."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.default_map = _defaults(ctx, self.commands)
        return super().invoke(ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="scaleprof", message="%(prog)s %(version)s")
def commands() -> None:
    """Why a training job does not scale: records, measures and explains distributed deep learning."""


def _defaults(context: click.Context, known: Mapping[str, click.Command]) -> dict[str, dict[str, Any]]:
    """Defaults by command and parameter. OptionError for a command or an option that there is not, or a value that does not suit it."""
    from scaleprof.settings import project_settings

    settings = project_settings(Path.cwd())
    found: dict[str, dict[str, Any]] = {}
    for name, table in settings.commands.items():
        place = settings.place(name)
        if name not in known:
            raise OptionError(f"{place}: there is no such command; there are: {', '.join(sorted(known))}")
        options = {
            option.lstrip("-"): one for one in known[name].params for option in one.opts if option.startswith("--")
        }
        for key, value in table.items():
            option = options.get(key)
            if option is None or option.name is None:
                raise OptionError(f"{place} knows no {key!r}; it knows: {', '.join(sorted(options))}")
            taken = _as_given(option, value, settings.path.parent if settings.path else Path())
            try:
                option.type_cast_value(context, taken)
            except click.ClickException as error:
                raise OptionError(f"{place} {key}: {error.format_message()}") from error
            found.setdefault(name, {})[option.name] = taken
    return found


def _as_given(option: click.Parameter, value: Any, folder: Path) -> Any:
    """A value of a file as the command line would give it: pairs as `A=B`, files from where the settings stand."""
    if isinstance(value, dict):
        return [f"{name}={one}" for name, one in value.items()]
    is_file = isinstance(option.type, click.Path) or getattr(option.type, "func", None) is SOURCE
    if is_file and isinstance(value, str) and "://" not in value:
        return str(folder / value)
    return value


def given_elsewhere() -> list[str]:
    """The options of the running command that the environment or the project's settings gave, as words of a command line."""
    context = click.get_current_context(silent=True)
    words: list[str] = []
    for option in context.command.params if context else ():
        assert context is not None and option.name is not None
        source = context.get_parameter_source(option.name)
        if source not in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
            continue
        value = context.params[option.name]
        if isinstance(value, bool):
            words += [option.opts[0]] if value else []
        else:
            values = value if isinstance(value, tuple) and getattr(option, "multiple", False) else (value,)
            words += [
                word
                for one in values
                for word in (option.opts[0], "=".join(one) if isinstance(one, tuple) else str(one))
            ]
    return words


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
