"""A URL is a path as far as readers use paths, and shows nothing that lets others in."""

import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaleprof.errors import BrokenFile, InputError
from scaleprof.remote import RemotePath, identity, is_below, path_of
from scaleprof.remote.store import Entry
from tests.remote.servers import ready_to_fetch, web_server

SIGNED = "https://me:pw@host.example/traces/rank0.json.gz?X-Amz-Signature=abc&x=1"


@pytest.fixture(scope="module", autouse=True)
def ready() -> Iterator[None]:
    with ready_to_fetch():
        yield


def remote(text: str) -> RemotePath:
    path = path_of(text)
    assert isinstance(path, RemotePath)
    return path


def test_what_is_no_url_is_a_path_here() -> None:
    assert path_of("traces/a.json") == Path("traces/a.json")
    assert path_of("/a b/c") == Path("/a b/c")
    assert path_of("file:///a%20b/c") == Path("/a b/c")
    assert path_of("C:/x") == Path("C:/x")
    assert path_of(Path("a")) == Path("a")


def test_names_are_those_of_a_path() -> None:
    path = remote("s3://bucket/a/b/trace.json.gz")
    assert (path.name, path.stem, path.parts) == ("trace.json.gz", "trace.json", ("bucket", "a", "b", "trace.json.gz"))
    assert str(path.parent) == "s3://bucket/a/b"
    assert str(path.parents[2]) == "s3://bucket"
    assert path.parents[4] == path.parents[3] == remote("s3://bucket/"), "as deep as anybody looks"
    assert path.parent / "trace.json.gz" == path == remote("s3://bucket//a/b/trace.json.gz")
    assert path.with_name("x.json") == remote("s3://bucket/a/b/x.json")
    assert sorted([path.with_name("b"), path.with_name("a")])[0].name == "a"
    assert len({path, path.resolve(), path.absolute()}) == 1


def test_what_lets_one_in_is_kept_and_shown_nowhere() -> None:
    path = remote(SIGNED)
    assert path.url == SIGNED
    for text in (str(path), repr(path), str(BrokenFile(path, "is empty")), path.name):
        assert not any(secret in text for secret in ("pw", "me:", "Signature", "abc"))
    assert pickle.loads(pickle.dumps(path)).url == SIGNED, "workers need it"
    beside = path.with_name("x.json")
    assert beside.url == "https://me:pw@host.example/traces/x.json", "the signature is that of one file"


def test_a_query_is_one_on_the_web_only() -> None:
    assert remote("s3://b/rank?.json").name == "rank?.json"
    assert remote("https://h/a b.json").url == "https://h/a%20b.json"


@pytest.mark.parametrize("text", ["s3://", "https:///", "zip://a.json::s3://bucket/a.zip"])
def test_an_address_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="this address cannot be read: it must name one file or folder"):
        path_of(text)


def test_what_lies_below_what() -> None:
    top = remote("s3://bucket/a")
    assert is_below(top / "b" / "c", top)
    assert is_below(top, top)
    assert not is_below(remote("s3://bucket/ab"), top)
    assert not is_below(remote("gs://bucket/a/b"), top)
    assert not is_below(Path("/bucket/a"), top)
    assert not is_below(top, Path("/bucket"))
    assert is_below(Path("/a/b"), Path("/a"))


def test_an_unknown_kind_of_address_is_one_sentence() -> None:
    with pytest.raises(
        InputError, match=r"^nonesuch://x/y: there is nothing that reads nonesuch://: is it spelled right\?$"
    ):
        remote("nonesuch://x/y").exists()


@pytest.mark.parametrize(
    ("url", "package"), [("gs://bucket/run", "gcsfs"), ("gcs://b/r", "gcsfs"), ("abfs://c/run", "adlfs")]
)
def test_a_store_that_no_extra_is_for_names_its_package(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    said = f"reading {url} needs {package}, which is not installed and no extra brings along: pip install {package}"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        remote(url).exists()


def test_a_file_is_the_same_as_long_as_its_store_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    known = identity(tmp_path / "a")
    assert known
    assert known[1] == 1
    tagged = RemotePath("s3", ("b", "a"), entry=Entry(False, 3, "etag", 5))
    assert identity(tagged) == ("s3://b/a\0\0003\0etag", 3, 5)
    assert identity(RemotePath("s3", ("b", "a"), entry=Entry(False, 3))) is None


def test_pages_are_folders_and_what_they_list_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").write_text("[]")
    (tmp_path / "b c.json").write_text("[1]")
    with web_server(tmp_path) as web:
        top = remote(f"{web.address}/")
        assert top.is_dir()
        assert sorted((path.name, path.is_dir()) for path in top.iterdir()) == [("b%20c.json", False), ("sub", True)]
        assert [path.read_bytes() for path in top.glob("*.json")] == [b"[1]"]
        assert remote(f"{web.address}/sub").is_dir()
        file = remote(f"{web.address}/sub/a.json")
        assert (file.is_file(), file.is_dir(), file.stat().st_size) == (True, False, 2)
        assert not file.with_name("x.json").exists()
        web.listing = False
        top.fresh()
        with pytest.raises(OSError, match="access was refused"):
            top.iterdir()
