"""A file of a server is read piece by piece, from where the connection broke, whatever the server can and cannot do."""

import errno
import gzip
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaleprof.readers.json_text.inflate import Text
from scaleprof.readers.json_text.text import tail_of
from scaleprof.remote import RemotePath, path_of, store
from tests.remote.servers import (
    Web,
    breaking_proxy,
    ready_to_fetch,
    s3_environment,
    s3_server,
    upload,
    web_server,
)

CONTENT = random.Random(1).randbytes(3_000_000)
RANGES = pytest.mark.parametrize("ranges", [True, False], ids=["parts", "whole files only"])


@pytest.fixture(scope="module", autouse=True)
def ready() -> Iterator[None]:
    with ready_to_fetch():
        yield


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAUSES_S", (0.0,) * len(store.PAUSES_S))


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with web_server(tmp_path) as server:
        yield server


def remote(web: Web, name: str = "a.bin") -> RemotePath:
    path = path_of(f"{web.address}/{name}")
    assert isinstance(path, RemotePath)
    return path


@RANGES
def test_reading_goes_anywhere(web: Web, ranges: bool) -> None:
    web.ranges = ranges
    with remote(web).open() as file:
        assert file.read(10) == CONTENT[:10]
        assert file.seek(0) == 0
        assert file.read(5) == CONTENT[:5]
        file.seek(2_500_000)
        assert file.read(7) == CONTENT[2_500_000:2_500_007]
        file.seek(-4, os.SEEK_END)
        assert (file.read(), file.read()) == (CONTENT[-4:], b"")
        file.seek(100)
        assert file.read() == CONTENT[100:]


@RANGES
def test_a_connection_that_breaks_is_taken_up_where_it_broke(web: Web, ranges: bool) -> None:
    web.ranges = ranges
    web.breaks["a.bin"], web.after_bytes = 3, 900_000
    assert remote(web).read_bytes() == CONTENT
    assert web.breaks["a.bin"] == 0
    starts = [int(part.removeprefix("bytes=").rstrip("-")) for _, _, part in web.asked if part]
    assert starts == sorted(starts)
    # A slow machine may see a connection break before anything of it was read: then it is asked again as before, without a range.
    assert 0 < len(starts) <= 3
    if ranges:
        assert web.sent_bytes < len(CONTENT) + 3 * web.after_bytes, "what came is not sent again"


def test_a_connection_that_always_breaks_is_named(web: Web) -> None:
    web.ranges = False
    web.breaks["a.bin"], web.after_bytes = 1000, 900_000
    with pytest.raises(OSError, match="5 times: check the connection and the address, and try again") as caught:
        remote(web).read_bytes()
    assert caught.value.errno == errno.EIO
    assert len(web.asked) < 12, "it is bounded"


def test_a_server_that_is_busy_for_a_moment_is_asked_again(web: Web) -> None:
    web.says["a.bin"] = [503, 500, 200]
    assert remote(web).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "said", "asked"),
    [
        (403, "access was refused (403 Forbidden)", 1),
        (404, "there is no such file: check the spelling", 1),
        (500, "the server says 500 Internal Server Error, 5 times", 5),
    ],
)
def test_what_the_server_says_is_told(web: Web, status: int, said: str, asked: int) -> None:
    web.says["a.bin"] = [status]
    with pytest.raises(OSError) as caught:  # noqa: PT011
        remote(web).read_bytes()
    assert caught.value.strerror.startswith(said)
    assert len(web.asked) == asked


def test_a_server_that_is_not_there_is_told() -> None:
    path = path_of("http://127.0.0.1:9/a.json")
    with pytest.raises(OSError, match=r"Cannot connect to host 127.0.0.1:9.*, 5 times: check the connection"):
        path.read_bytes()


def test_a_file_that_changes_meanwhile_is_not_pieced_together(web: Web) -> None:
    web.breaks["a.bin"], web.after_bytes = 4, 1_200_000
    with remote(web).open() as file:
        assert file.read(1_000_000) == CONTENT[:1_000_000]
        (web.folder / "a.bin").write_bytes(CONTENT + b"more")
        with pytest.raises(OSError, match="it changed while it was read"):
            file.read()


def test_a_password_reaches_the_server_and_no_word_about_it(web: Web) -> None:
    web.wants = "Basic bWU6c2VjcmV0"  # me:secret
    path = path_of(web.address.replace("//", "//me:secret@") + "/a.bin")
    assert path.read_bytes() == CONTENT
    wrong = path_of(web.address.replace("//", "//me:wrongly@") + "/a.bin?Signature=hush")
    with pytest.raises(OSError, match="access was refused") as caught:
        wrong.read_bytes()
    assert "wrongly" not in f"{caught.value!r} {caught.value.__cause__!r} {wrong}"
    assert caught.value.__suppress_context__, "nor is it in a traceback"


def test_the_end_of_a_file_is_fetched_without_what_is_before(web: Web) -> None:
    with (web.folder / "long.bin").open("wb") as file:
        for _ in range(10):
            file.write(CONTENT)
    assert tail_of(remote(web, "long.bin"), 1000) == CONTENT[-1000:]
    assert web.sent_bytes < 10 * len(CONTENT) / 2


def test_compressed_text_is_inflated_as_it_comes(web: Web) -> None:
    text = b'{"traceEvents": []}' * 200_000
    data = gzip.compress(text, 0)
    (web.folder / "t.json.gz").write_bytes(data)
    web.breaks["t.json.gz"], web.after_bytes = 2, 1_500_000
    read, buffer = Text(remote(web, "t.json.gz")), bytearray(len(text) + 1)
    try:
        assert read.readinto(memoryview(buffer)) == len(text)
        assert bytes(buffer[:-1]) == text
        assert read.damage == ""
    finally:
        read.close()


def test_s3_is_read_in_parts_and_a_connection_that_breaks_is_taken_up(s3: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    upload(s3, tmp_path / "a.bin", "parts/below")
    with breaking_proxy(s3, times=3, after_bytes=600_000) as (address, broken), s3_environment(address):
        path = path_of("s3://parts/below/a.bin")
        assert path.is_file()
        assert path.read_bytes() == CONTENT
    assert len(broken) == 3
    with breaking_proxy(s3, times=1000, after_bytes=600_000) as (address, broken), s3_environment(address):
        with pytest.raises(OSError, match="5 times: check the connection"):
            path_of("s3://parts/below/a.bin").read_bytes()
        assert len(broken) < 20


_MEASURED = """
import resource, sys
from scaleprof.readers import read_rank
from scaleprof.remote import path_of
from scaleprof.run import RankFiles
trace = read_rank(RankFiles(0, "kineto", (path_of(sys.argv[1]),)))
print(len(trace.events.start_ns), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_file(s3: str, web: Web) -> None:
    event = '{"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": %d, "dur": 5, "args": {"stream": 7, "note": "%s"}}'
    large = web.folder / "large.json"
    count = 60_000
    with large.open("w") as file:
        file.write('{"traceEvents": [')
        file.write(",\n".join(event % (1000 + 10 * number, "x" * 2000) for number in range(count)))
        file.write("]}")
    size = large.stat().st_size
    assert size > 120_000_000
    upload(s3, large, "memory")
    peaks = {}
    with s3_environment(s3):
        for where in (str(large), f"{web.address}/large.json", "s3://memory/large.json"):
            done = subprocess.run([sys.executable, "-c", _MEASURED, where], capture_output=True, text=True, check=True)
            events, peak = map(int, done.stdout.split())
            assert events == count
            peaks[where] = peak * (1 if sys.platform == "darwin" else 1024)
    here, *elsewhere = peaks.values()
    assert all(there - here < 90_000_000 < size for there in elsewhere), peaks  # clients, 50 MB, and two pieces
