"""A file is there whole or not at all."""

import gzip
from pathlib import Path

import pytest

from scaleprof.errors import ScaleprofError
from scaleprof.export.files import written_whole


def test_its_name_says_whether_it_is_compressed(tmp_path: Path) -> None:
    for name in ("a.json", "a.json.gz"):
        with written_whole(tmp_path / "new" / name) as file:
            file.write(b"text")
    assert (tmp_path / "new" / "a.json").read_bytes() == b"text"
    assert gzip.decompress((tmp_path / "new" / "a.json.gz").read_bytes()) == b"text"


def test_nothing_is_left_of_one_that_was_not_finished(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(b"before")

    def broken_off() -> None:
        with written_whole(tmp_path / "a.json.gz") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json.gz", b"before")]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ScaleprofError, match=r"x\.json: cannot be written"),
        written_whole(tmp_path / "file" / "x.json"),
    ):
        pass
