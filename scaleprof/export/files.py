"""Files that are there whole or not at all, compressed where their name says so."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scaleprof.errors import ScaleprofError

try:
    from isal.igzip import IGzipFile

    _Gzip: Any = IGzipFile
except ImportError:  # no wheel for this machine: the standard library writes the same, slower
    from gzip import GzipFile

    _Gzip = GzipFile

_COMPRESSION = 2
GZIP_SUFFIX = ".gz"


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its name when all is written; nothing is left of one that was not. The same content gives the same bytes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            if path.suffix == GZIP_SUFFIX:
                with _Gzip(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=file, mtime=0) as packed:
                    yield packed
            else:
                yield file
        temporary.replace(path)
    except (OSError, zlib.error) as error:
        raise ScaleprofError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error
    finally:
        if temporary.exists():
            temporary.unlink()
