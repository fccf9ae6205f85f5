"""What is said of a URL and of what went wrong with it: in words for people, and without what lets others in."""

import errno
import re
from collections.abc import Iterator
from http import HTTPStatus

_USER = re.compile(r"(?<![\w+.-])([A-Za-z][A-Za-z0-9+.-]+://)[^\s/'\"]*@")
_QUERY = re.compile(
    r"(?<![\w+.-])((?:https?://[^\s?'\"]*|[A-Za-z][A-Za-z0-9+.-]+://[^\s?'\"]*(?=\?[\w.%-]+=)))\?[^\s'\"]*"
)
_PASSING = (408, 425, 429)
_LONGEST = 200


class Changed(OSError):
    """A file that is another one than when its reading began."""


def without_secrets(text: str) -> str:
    """A text without the user and password in its URLs, and without their queries: those of signed URLs let anybody in."""
    return _QUERY.sub(r"\1", _USER.sub(r"\1", text))


def passes(error: BaseException) -> bool:
    """Whether it may go better the next time: the connection broke, or the server is busy."""
    status = _status(error)
    if status is not None:
        return status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    settled = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, Changed, ValueError)
    return not isinstance(_root(error), settled) and not _lacks_credentials(error)


def explained(error: BaseException, tries: int) -> OSError:
    """The same as an error of the system, whose `strerror` says what happened and what to do."""
    status, root = _status(error), _root(error)
    if _lacks_credentials(error):
        return OSError(
            errno.EACCES,
            "no credentials were found: set those of the store's own tools (for a public bucket, FSSPEC_S3_ANON=true)",
        )
    if status in (401, 403) or (status is None and isinstance(root, PermissionError)):
        return OSError(errno.EACCES, f"access was refused{_said(status)}: are credentials set, and still valid?")
    if status in (404, 410) or (status is None and isinstance(root, FileNotFoundError)):
        return OSError(errno.ENOENT, f"there is no such file{_said(status)}: check the spelling")
    if isinstance(root, Changed):
        return OSError(errno.EIO, "it changed while it was read: try again when nobody writes it")
    what = f"the server says {_phrase(status)}" if status is not None else _line(root)
    again = f", {tries} times" if tries > 1 else ""
    return OSError(errno.EIO, f"{what}{again}: check the connection and the address, and try again")


def _said(status: int | None) -> str:
    return f" ({_phrase(status)})" if status is not None else ""


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _line(error: BaseException) -> str:
    text = without_secrets(next(iter(str(error).splitlines()), ""))[:_LONGEST]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _root(error: BaseException) -> BaseException:
    """What lies behind: fsspec says of whatever happens to an HTTP file that it is not there."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    """The answer of an HTTP server, as aiohttp, botocore and gcsfs keep it."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
        # Only what gcsfs calls an error keeps it as `code`; what others call so may be none.
        status = status or getattr(one, "code" if type(one).__name__ == "HttpError" else "status", None)
        if isinstance(status, int) and status >= HTTPStatus.BAD_REQUEST:
            return status
    return None


def _lacks_credentials(error: BaseException) -> bool:
    words = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
    return any(type(one).__name__ in words for one in _chain(error))
