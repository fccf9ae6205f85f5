"""The command line, thin: parse, call one function, print one line. Nothing heavy is imported before a command needs it.

One file for each group of commands; a command joins by being decorated in one of them, and a new file by being imported here. Results go to
standard output, a report's path as the last line; progress and remarks go to standard error. Exit codes: 0 done, 1 a failure that was explained,
2 a wrong option, 130 interrupted.
"""

from collections.abc import Sequence

import click

from scaleprof.cli import exported, gates, jobs, made, replayed, reports
from scaleprof.cli.base import commands
from scaleprof.errors import OptionError, ScaleprofError

INTERRUPTED = 130
GROUPS = (reports, gates, replayed, exported, jobs, made)
"""The files whose commands there are."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        return (
            commands.main(arguments, prog_name="scaleprof", standalone_mode=False, auto_envvar_prefix="SCALEPROF") or 0
        )
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ScaleprofError as error:
        click.echo(f"scaleprof: {error}", err=True)
        return 2 if isinstance(error, OptionError) else 1
