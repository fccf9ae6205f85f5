"""Every error that is explained to a person instead of shown as a stack trace.

ScaleprofError                 what went wrong, which file or rank, what to do: one sentence
├── InputError                 what was pointed at cannot be analysed (exit 1)
│   ├── NothingToRead          no such folder, an empty one, or no trace inside
│   ├── BrokenFile             one file that is cut off, empty or of another kind
│   └── NotComparable          runs that do not scale one another
├── LaunchError                a job could not be started, or none of its sizes ended well (exit 1)
├── MissingPackage             an optional package is not installed; the message names the extra (exit 1)
└── OptionError                an option or argument makes no sense (exit 2)
"""

from pathlib import Path
from typing import Any, Protocol


class NamedFile(Protocol):
    """A path, here or elsewhere."""

    @property
    def name(self) -> str:
        """Its last part."""

    @property
    def parent(self) -> Any:
        """Its folder."""


class ScaleprofError(Exception):
    """The base of all errors that carry a sentence for the user."""


class InputError(ScaleprofError):
    """What the user pointed at cannot be analysed."""


class NothingToRead(InputError):
    """There is no such folder, it is empty, or it holds no trace."""


class BrokenFile(InputError):
    """One file cannot be read; the message starts with its path."""

    def __init__(self, path: NamedFile | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path: NamedFile = Path(path) if isinstance(path, str) else path
        self.reason = reason

    def __reduce__(self) -> tuple[type["BrokenFile"], tuple[NamedFile, str]]:
        # Without this, a pickled error (a worker process raised it) is rebuilt from one argument and fails.
        return type(self), (self.path, self.reason)


class NotComparable(InputError):
    """Runs that were asked to be compared do not scale one another."""


class LaunchError(ScaleprofError):
    """A training job could not be started, or none of its sizes ended well."""


class MissingPackage(ScaleprofError):
    """An optional package is needed and absent."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'scaleprof[{extra}]'")
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[type["MissingPackage"], tuple[str, str, str]]:
        return type(self), (self.package, self.extra, self.purpose)


class OptionError(ScaleprofError):
    """An option or argument makes no sense."""
