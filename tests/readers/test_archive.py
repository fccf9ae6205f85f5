"""Archives: read like the folder that was packed, and harmless whatever is in them."""

import gzip
import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from scaleprof.errors import BrokenFile, NothingToRead
from scaleprof.pipeline import analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.finding import archive as archive_module
from scaleprof.readers.finding import members as members_module
from scaleprof.readers.finding.archive import archives_folder, shown_name, unpacked
from scaleprof.readers.json_text.inflate import LIMIT_VARIABLE
from scaleprof.run import CACHE_VARIABLE
from tests.readers.making import complete, step_line, write_bytes, write_rank, write_run, write_trace

EVENTS = [complete("aten::mm", "cpu_op", 10, 5)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return archives_folder()


def packed(path: Path, fill: Callable[[tarfile.TarFile], None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
        fill(tar)
    return path


def member(
    name: str, content: bytes = b"{}", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    return info, io.BytesIO(content)


def ranks(tmp_path: Path, name: str = "job.tar.gz", inside: str = "") -> Path:
    """An archive with a trace per rank, in names without the word rank."""

    def fill(tar: tarfile.TarFile) -> None:
        for rank in range(4):
            made = write_trace(
                tmp_path / "made" / f"worker{rank}_step_12.16941282015{rank}.pt.trace.json", EVENTS, schemaVersion=1
            )
            tar.add(made, f"{inside}{made.name}")

    path = packed(tmp_path / name.replace(".zip", ".tar"), fill)
    return zipped(path) if name.endswith(".zip") else path  # fmt: skip


def zipped(tar: Path) -> Path:
    """A tar archive as a zip archive, in its place."""
    path = tar.with_suffix(".zip")
    with tarfile.open(tar) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in source:
            content = source.extractfile(one)
            assert content is not None
            archive.writestr(one.name, content.read())
    tar.unlink()
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() or file.is_symlink())


@pytest.mark.parametrize("name", ["job.tar", "job.tar.gz", "job.tgz", "job.zip"])
def test_an_archive_of_ranks_is_one_run(tmp_path: Path, name: str) -> None:
    (run,) = find_runs([ranks(tmp_path, name)])
    assert (run.info.name, sorted(run.ranks), run.caveats) == ("job", [0, 1, 2, 3], ())
    assert len(read_rank(run.ranks[3]).events) == 1
    assert shown_name(run.ranks[3].traces[0]) == f"{name}/worker3_step_12.169412820153.pt.trace.json"


def test_a_folder_with_an_archive_is_looked_into(tmp_path: Path) -> None:
    ranks(tmp_path, "study/four.tar.gz", inside="./deep/er/")
    write_trace(tmp_path / "study" / "one" / "rank0.json", EVENTS)
    runs = find_runs([tmp_path / "study"])
    assert sorted((run.info.name, len(run.ranks)) for run in runs) == [("er", 4), ("one", 1)]
    (run,) = find_runs([], [("mine", str(tmp_path / "study" / "*.tar.gz"))])
    assert (run.info.name, len(run.ranks)) == ("mine", 4)


def test_the_report_names_archive_and_member(tmp_path: Path) -> None:
    report = analyze([ranks(tmp_path)])
    (files,) = (report.grouping.columns[name] for name in ("files",))
    assert next(iter(files)) == "job.tar.gz/worker0_step_12.169412820150.pt.trace.json"


def test_a_recorded_run_may_be_packed_too(tmp_path: Path) -> None:
    write_run(tmp_path / "made" / "job-n2", world_size=2)
    for rank in range(2):
        write_rank(tmp_path / "made" / "job-n2", rank, world_size=2, steps=[step_line(0)])
    (run,) = find_runs([packed(tmp_path / "x.tgz", lambda tar: tar.add(tmp_path / "made" / "job-n2", "job-n2"))])
    assert (run.info.name, sorted(run.ranks), run.ranks[0].reader) == ("job-n2", [0, 1], "recorded")


def test_it_is_unpacked_once(tmp_path: Path, cache: Path) -> None:
    path = ranks(tmp_path)
    folder = unpacked(path).folder
    (folder / "mark").write_text("")
    assert unpacked(path).folder == folder and (folder / "mark").exists()
    os.utime(path, (1, 1))
    assert unpacked(path).folder != folder, "another archive of that name"
    assert len(list(cache.iterdir())) == 2


def test_hostile_members_stay_where_they_are(tmp_path: Path, cache: Path) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        for name in ("../outside.json", "a/../../outside.json", "/tmp/scaleprof-outside.json"):
            tar.addfile(*member(name))
        tar.addfile(*member("link.json", kind=tarfile.SYMTYPE, link="/etc/passwd"))
        tar.addfile(*member("hard.json", kind=tarfile.LNKTYPE, link="../../outside.json"))
        tar.addfile(*member("device.json", kind=tarfile.CHRTYPE))
        tar.addfile(*member("pipe.json", kind=tarfile.FIFOTYPE))
        tar.addfile(*member("folder", kind=tarfile.SYMTYPE, link="/tmp"))
        tar.addfile(*member("folder/rank1.json", b"through a link"))
        tar.addfile(*member("run.sh"))
        tar.addfile(*member("._rank0.json"))
        tar.addfile(*member("rank0.json", b"first"))
        tar.addfile(*member("rank0.json", b"second"))
        tar.addfile(*member("rank0.json/x.json"))
        tar.addfile(*member("n" * 300 + ".json"))

    found = unpacked(packed(tmp_path / "evil.tar.gz", fill))
    assert files_below(found.folder) == ["folder/rank1.json", "rank0.json"]
    assert (found.folder / "rank0.json").read_bytes() == b"first"
    assert not (found.folder / "folder").is_symlink()
    assert files_below(tmp_path) == sorted(
        ["evil.tar.gz", *(str((found.folder / name).relative_to(tmp_path)) for name in ("folder/rank1.json", "rank0.json")),
         str((found.folder.parent / ".complete").relative_to(tmp_path))]
    )  # fmt: skip
    assert found.caveats == (
        "evil.tar.gz: left out 7 of its members, which lead out of it or are no files",
        "evil.tar.gz: left out 2 of its members, which stand in it twice",
        "evil.tar.gz: left out 1 of its members, which have names that no file can have here",
    )


def test_an_archive_that_inflates_beyond_sense_is_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = packed(tmp_path / "bomb.tar.gz", lambda tar: tar.addfile(*member("rank0.json", bytes(5_000_000))))
    monkeypatch.setenv(LIMIT_VARIABLE, "0.001")
    with pytest.raises(BrokenFile, match=r"inflates to more than 0\.001 GB.*set SCALEPROF_MOST_INFLATED_GB"):
        unpacked(bomb)
    assert not list(cache.iterdir()), "nothing is left of it"


def put(archive: zipfile.ZipFile, name: str, content: bytes = b"{}", mode: int = 0) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
    archive.writestr(info, content)


def test_hostile_members_of_a_zip_stay_where_they_are(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../outside.json", "/tmp/scaleprof-outside.json"):
            put(archive, name)
        put(archive, "link.json", b"/etc/passwd", stat.S_IFLNK | 0o777)
        put(archive, "pipe.json", mode=stat.S_IFIFO)
        archive.mkdir("folder.json")
        put(archive, "folder/rank1.json", b"plain", stat.S_IFREG | 0o644)
        put(archive, "run.sh")
        put(archive, "__MACOSX/._rank0.json")
        put(archive, "rank0.json", b"first")
        with pytest.warns(UserWarning, match="Duplicate"):
            put(archive, "rank0.json", b"second")
    found = unpacked(path)
    assert files_below(found.folder) == ["folder/rank1.json", "rank0.json"]
    assert (found.folder / "rank0.json").read_bytes() == b"first"
    assert found.caveats == (
        "evil.zip: left out 4 of its members, which lead out of it or are no files",
        "evil.zip: left out 1 of its members, which stand in it twice",
    )
    assert not [one for one in files_below(tmp_path) if "outside" in one]


def test_a_zip_that_inflates_beyond_sense_is_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as archive:
        for rank in range(3):
            put(archive, f"rank{rank}.json", bytes(400_000))
    monkeypatch.setenv(LIMIT_VARIABLE, "0.001")
    with pytest.raises(BrokenFile, match=r"inflates to more than 0\.001 GB.*set SCALEPROF_MOST_INFLATED_GB"):
        unpacked(tmp_path / "bomb.zip")
    assert not list(cache.iterdir()), "nothing is left of it"


def test_what_a_zip_cannot_give_is_said(tmp_path: Path) -> None:
    path = ranks(tmp_path, "job.zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # its list of members is gone
    with pytest.raises(BrokenFile, match=r"job\.zip: is no archive that can be read \(File is not a zip file\)"):
        unpacked(path)
    end = whole.index(b"PK\x05\x06")
    path.write_bytes(whole[: end + 12] + (1 << 31).to_bytes(4, "little") + whole[end + 16 :])
    with pytest.raises(BrokenFile, match="is no archive that can be read"):
        unpacked(path)
    at = whole.index(b"PK\x01\x02")
    for place in (whole.index(b"PK\x03\x04") + 6, at + 8):
        whole = whole[:place] + b"\x01\x00" + whole[place + 2 :]
    path.write_bytes(whole)
    with pytest.raises(BrokenFile, match=r"job\.zip: is locked by a password: unpack it first"):
        unpacked(path)


def test_a_zip_with_the_name_of_a_trace_is_told(tmp_path: Path) -> None:
    path = ranks(tmp_path, "job.zip").rename(tmp_path / "rank0.json")
    with pytest.raises(NothingToRead, match=r"rank0\.json: is a zip archive: call it \.zip and it is unpacked"):
        find_runs([path])


def test_a_long_list_of_members_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ranks(tmp_path, "job.zip")
    monkeypatch.setattr(members_module, "_LARGEST_LIST", 100)
    with pytest.raises(BrokenFile, match="its list of members is longer than that of any archive of traces"):
        unpacked(path)


def test_what_came_before_damage_in_a_zip_is_read(tmp_path: Path) -> None:
    path = ranks(tmp_path, "job.zip")
    with zipfile.ZipFile(path) as archive:
        at = archive.infolist()[2].header_offset
    content = bytearray(path.read_bytes())
    content[at : at + 4] = b"oops"
    path.write_bytes(content)
    (run,) = find_runs([path])
    assert sorted(run.ranks) == [0, 1]
    assert "job.zip: it is cut off or damaged: what came later is missing" in run.caveats


def test_profiles_of_tensorflow_may_be_packed(tmp_path: Path, repository: Path) -> None:
    folder = repository / "sample_traces" / "jax-gpu-n1"
    path = packed(tmp_path / "jax.tar", lambda tar: tar.add(folder, "jax"))
    (run,) = find_runs([path])
    (plain,) = find_runs([folder])
    assert len(read_rank(run.ranks[0]).events) == len(read_rank(plain.ranks[0]).events) > 0


def test_there_are_only_so_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MOST_MEMBERS", 3)
    found = unpacked(ranks(tmp_path))
    assert len(files_below(found.folder)) == 3
    assert found.caveats == ("job.tar.gz: only the first 3 members were read",)


def test_a_data_set_is_not_inflated_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        for number in range(20):
            tar.addfile(*member(f"{number}.jpg", bytes(100_000)))

    path = packed(tmp_path / "x.tar.gz", fill)
    monkeypatch.setattr(archive_module, "_PATIENCE_MEMBERS", 10)
    with pytest.raises(BrokenFile, match="holds no trace among its first 10 members"):
        unpacked(path)
    monkeypatch.setattr(members_module, "_PATIENCE_BYTES", 500_000)
    with pytest.raises(BrokenFile, match="holds no trace in its first 0 GB"):
        unpacked(path)


def test_what_came_before_damage_is_read(tmp_path: Path) -> None:
    path = ranks(tmp_path, "job.tar")
    text = path.read_bytes()
    path.write_bytes(text[: text.index(b"worker1") + 20])
    (run,) = find_runs([path])
    assert sorted(run.ranks) == [0]
    assert run.caveats[-1] == "job.tar: it is cut off or damaged: what came later is missing"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        gzip.compress(b"no archive either"),
        gzip.compress(bytes(1024))[:10],
        b"\x1f\x8b",
        bytes(10_240),
    ],
    ids=["nothing", "words", "zipped words", "cut off", "two bytes", "zeros"],
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(NothingToRead):
        find_runs([write_bytes(tmp_path / "x.tar.gz", content, gz=False)])
    write_trace(tmp_path / "rank0.json", EVENTS)
    (run,) = find_runs([tmp_path])
    assert not run.caveats or "x.tar.gz was left out" in run.caveats[-1]


def test_headers_without_sense_do_no_harm(tmp_path: Path) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.GNU_FORMAT) as made:
        made.addfile(*member("x" * 150 + ".json"))
    text = bytearray(tar.getvalue())
    for size in (
        b"77777777777\0",
        b"\x80" + (1 << 62).to_bytes(11, "big"),
        b"\xff" * 12,
        b"-0000001000\0",
        b"nonsense\0\0\0\0",
    ):
        text[124:136] = size
        text[148:156] = b" " * 8
        text[148:156] = b"%06o\0 " % sum(text[:512])
        path = write_bytes(tmp_path / "x.tar", bytes(text))
        with pytest.raises(NothingToRead):
            find_runs([path])
    for _ in range(2_000):  # long names of long names
        text = text[:512] * 2 + text
    path = write_bytes(tmp_path / "deep.tar", bytes(text))
    with pytest.raises(NothingToRead):
        find_runs([path])


def test_what_was_not_used_for_long_makes_room(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "KEPT_BYTES", 1)
    old = unpacked(ranks(tmp_path, "old.tar")).folder.parent
    recent = unpacked(ranks(tmp_path, "recent.tar")).folder.parent
    long_ago = time.time() - 3 * 86_400
    os.utime(old / ".complete", (long_ago, long_ago))
    (cache / "mine").mkdir()
    new = unpacked(ranks(tmp_path, "new.tar")).folder.parent
    assert sorted(cache.iterdir()) == sorted([cache / "mine", new, recent])


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(NothingToRead, match="cannot be unpacked into"):
        find_runs([ranks(tmp_path)])


def test_where_nothing_is_to_be_kept_it_goes_with_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ranks(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(CACHE_VARIABLE, "0")
    (run,) = find_runs([path])
    assert len(read_rank(run.ranks[0]).events) == 1
    assert not (tmp_path / "home").exists()
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert archives_folder() == tmp_path / "home" / "scaleprof" / "archives"


def test_names_of_other_files_are_their_own(tmp_path: Path, cache: Path) -> None:
    assert shown_name(tmp_path / "rank0.json") == "rank0.json"
    assert shown_name(cache / "odd" / "x" / "rank0.json") == "rank0.json"


def test_the_public_set_of_eight_ranks_may_stay_packed(foreign_traces: Path, tmp_path: Path) -> None:
    path = packed(
        tmp_path / "dlrm.tar.gz", lambda tar: tar.add(foreign_traces / "kineto" / "dlrm-8xv100", "dlrm-8xv100")
    )
    (run,) = find_runs([path])
    assert (run.info.name, sorted(run.ranks), run.caveats) == ("dlrm-8xv100", list(range(8)), ())
