"""The file systems of fsspec: which one a URL belongs to, what lies there, and trying again where a connection breaks."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, TypeVar

from scaleprof.errors import InputError, MissingPackage
from scaleprof.remote.words import explained, passes, without_secrets

Answer = TypeVar("Answer")

_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
"""By scheme, what reads stores that no extra is for."""
PAUSES_S = (0.2, 0.5, 1.0, 2.0)
"""Between one try and the next; after the last one the failure is told."""
_CONNECT_S, _SILENT_S = 10, 60
_TAGS = ("ETag", "etag", "generation", "md5Hash", "Content-MD5", "content_md5", "Digest", "checksum")
_TIMES = ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "modified")
_RAISED = {
    "aiohttp": ("ClientError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "gcsfs.retry": ("HttpError",),
    "google.auth.exceptions": ("GoogleAuthError",),
}
"""What the clients of stores raise besides errors of the system."""


@dataclass(frozen=True)
class Entry:
    """What a store says of a file or folder without opening it."""

    is_folder: bool
    size: int | None = None
    tag: str = ""
    """Changes with the content; empty where the store does not say."""
    modified_ns: int = 0

    @staticmethod
    def of(info: Mapping[str, Any]) -> "Entry":
        """From what fsspec says."""
        size = info.get("size")
        tag = next((str(info[key]) for key in _TAGS if info.get(key)), "")
        modified = next((info[key] for key in _TIMES if info.get(key)), None)
        return Entry(
            is_folder=info.get("type") == "directory",
            size=size if isinstance(size, int) else None,
            tag=tag or (str(modified) if modified else ""),
            modified_ns=_nanoseconds(modified),
        )


def _nanoseconds(moment: Any) -> int:
    if isinstance(moment, str):
        try:
            moment = parsedate_to_datetime(moment)
        except ValueError:
            try:
                moment = datetime.fromisoformat(moment)
            except ValueError:
                return 0
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return int(moment * 1e9) if isinstance(moment, int | float) else 0


def connected(url: str, shown: str) -> tuple[Any, str]:
    """The file system that a URL belongs to, and the path there. MissingPackage or InputError where there is none."""
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingPackage("fsspec", "remote", f"reading {shown}") from error
    try:
        system, where = url_to_fs(url, **_options(scheme))
    except ImportError as error:
        if scheme in ("s3", "s3a", "http", "https"):
            raise MissingPackage(
                "s3fs" if scheme.startswith("s3") else "aiohttp", "remote", f"reading {shown}"
            ) from error
        package = _PACKAGES.get(scheme)
        if package:
            said = f"needs {package}, which is not installed and no extra brings along: pip install {package}"
            raise InputError(f"reading {shown} {said}") from error
        raise InputError(f"{shown}: a package is missing that reads {scheme}:// ({error})") from error
    except ValueError as error:
        raise InputError(f"{shown}: there is nothing that reads {scheme}://: is it spelled right?") from error
    except OSError as error:  # a library that the system lacks, a gate that does not open
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(f"{shown}: {scheme}:// cannot be opened here ({without_secrets(reason)})") from None
    if hasattr(system, "retries"):
        system.retries = 1  # how often is decided here, for all stores
    return system, where


def _options(scheme: str) -> dict[str, Any]:
    if scheme not in ("http", "https"):
        return {}
    from aiohttp import ClientTimeout

    times = ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENT_S)
    # Signed URLs are valid as they are only, and places in a file are those of the file itself.
    return {
        "encoded": True,
        "use_listings_cache": True,
        "headers": {"Accept-Encoding": "identity"},
        "client_kwargs": {"trust_env": True, "timeout": times, "read_bufsize": 1 << 20},
    }


def tried(what: Callable[[], Answer]) -> Answer:
    """The answer; where the connection breaks the question is asked again, a few times. OSError, in words, where that does not help."""
    for tries in count(1):
        try:
            return what()
        except failures() as error:
            if tries > len(PAUSES_S) or not passes(error):
                raise explained(error, tries) from None  # what the clients say may hold credentials
        time.sleep(PAUSES_S[tries - 1])
    raise AssertionError


def failures() -> tuple[type[BaseException], ...]:
    """What fetching something may raise."""
    loaded = [(sys.modules[name], kinds) for name, kinds in _RAISED.items() if name in sys.modules]
    return (OSError, ValueError, EOFError, *(getattr(module, kind) for module, kinds in loaded for kind in kinds))
