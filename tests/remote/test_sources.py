"""Analyses of what is elsewhere: the same report as of the same files here, but for their names; and what cannot be had is named."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaleprof.cli import main
from scaleprof.errors import NothingToRead
from scaleprof.pipeline import Demands, Options, analyze, check, compare, export
from scaleprof.remote import path_of, store
from scaleprof.results import Report
from tests.remote.servers import Web, ready_to_fetch, s3_environment, s3_server, upload, web_server

SAMPLES = Path(__file__).parents[2] / "sample_traces"
FOREIGN = {"kineto": "kineto/vendor-pairs", "horovod": "horovod", "jax": "jax"}
SERIAL = Options(engine="serial")


@pytest.fixture(scope="module", autouse=True)
def ready() -> Iterator[None]:
    with ready_to_fetch():
        yield


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as address, s3_environment(address):
        yield address


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAUSES_S", (0.0,) * len(store.PAUSES_S))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "web").mkdir()
    with web_server(tmp_path / "web") as server:
        yield server


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded study, one with a Horovod timeline, one of TensorFlow, and plain files of a profiler on GPUs."""
    folder = tmp_path_factory.mktemp("study") / "traces"
    for name in (
        "emulated-ddp-strong-n1",
        "emulated-ddp-strong-n2",
        "horovod-strong-n2",
        "tensorflow-mwms-n2",
        "jax-gpu",
    ):
        for run in SAMPLES.glob(f"{name}-*"):
            shutil.copytree(run, folder / run.name)
    return folder


def told(report: Report) -> str:
    """A report as data, without when it was made."""
    content = report.to_dict()
    del content["made_with"]
    return json.dumps(content)


def same(place: Any, local: Path) -> None:
    here, there = told(analyze([local], options=SERIAL)), told(analyze([place], options=SERIAL))
    assert there.replace(str(place).rstrip("/"), str(local)) == here


def test_a_bucket_gives_the_report_of_the_folder(s3: str, study: Path) -> None:
    upload(s3, study, "bucket/traces")
    same("s3://bucket/traces/", study)


def test_a_web_server_gives_the_report_of_the_folder(web: Web, study: Path) -> None:
    shutil.copytree(study, web.folder / "traces")
    same(f"{web.address}/traces", study)


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_traces_are_read_from_a_bucket(s3: str, foreign_traces: Path, kind: str) -> None:
    upload(s3, foreign_traces / FOREIGN[kind], f"foreign-{kind}/x/{Path(FOREIGN[kind]).name}")
    same(f"s3://foreign-{kind}/x/{Path(FOREIGN[kind]).name}", foreign_traces / FOREIGN[kind])


def test_single_files_and_folders_here_and_elsewhere_mix(s3: str, study: Path) -> None:
    upload(s3, study / "jax-gpu-n1", "mixed/jax-gpu-n1")
    report = analyze([study / "emulated-ddp-strong-n1-5eb3525c", "s3://mixed/jax-gpu-n1"], options=SERIAL)
    assert [run.info.world_size for run in report.runs] == [1, 1]


def test_a_pattern_chooses_files_of_a_bucket(s3: str, study: Path) -> None:
    upload(s3, study / "jax-gpu-n1", "chosen/jax-gpu-n1")
    options = Options(engine="serial", run_globs=(("mine", "s3://chosen/**/*.xplane.pb"),))
    assert [run.info.name for run in analyze(["s3://chosen/"], options=options).runs] == ["mine"]


def test_processes_read_a_bucket(s3: str, study: Path) -> None:
    upload(s3, study, "processes/traces")
    there = told(analyze(["s3://processes/traces"], options=Options(workers=2)))
    assert there.replace("s3://processes/traces", str(study)) == told(analyze([study], options=SERIAL))


def test_archives_are_unpacked_as_they_come(s3: str, web: Web, study: Path, tmp_path: Path) -> None:
    with tarfile.open(web.folder / "traces.tar.gz", "w:gz") as archive:
        archive.add(study, "traces")
    shutil.copy(web.folder / "traces.tar.gz", tmp_path / "traces.tar.gz")
    here = told(analyze([tmp_path / "traces.tar.gz"], options=SERIAL))
    web.breaks["traces.tar.gz"], web.after_bytes = 2, 50_000
    assert told(analyze([f"{web.address}/traces.tar.gz"], options=SERIAL)) == here
    upload(s3, web.folder / "traces.tar.gz", "archives")
    assert told(analyze(["s3://archives/traces.tar.gz"], options=SERIAL)) == here
    shutil.make_archive(str(web.folder / "traces"), "zip", study.parent, "traces")
    upload(s3, web.folder / "traces.zip", "archives")
    for ranges in (True, False):
        web.ranges = ranges
        assert told(analyze([f"{web.address}/traces.zip"], options=SERIAL)).replace(".zip", ".tar.gz") == here
    assert told(analyze(["s3://archives/traces.zip"], options=SERIAL)).replace(".zip", ".tar.gz") == here


def gpu_trace(foreign_traces: Path) -> Path:
    """The largest file of a pair of GPUs."""
    return max(
        (foreign_traces / "kineto" / "vendor-pairs" / "h100").rglob("*.json.gz"), key=lambda file: file.stat().st_size
    )


@pytest.mark.parametrize("ranges", [True, False], ids=["parts", "whole files only"])
def test_a_connection_that_breaks_changes_nothing(web: Web, foreign_traces: Path, tmp_path: Path, ranges: bool) -> None:
    source = gpu_trace(foreign_traces)
    for folder in (web.folder / "here", tmp_path / "here"):
        folder.mkdir()
        shutil.copy(source, folder / "rank0.json.gz")
    size = source.stat().st_size
    web.ranges, web.after_bytes = ranges, size // 2
    web.breaks["rank0.json.gz"] = 3
    same(f"{web.address}/here/rank0.json.gz", tmp_path / "here" / "rank0.json.gz")
    assert web.breaks["rank0.json.gz"] == 0


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence that a command says which fails."""
    assert main(["analyze", *words, "--engine", "serial", "-q"]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    return said.removeprefix("scaleprof: ").rstrip()


def test_what_cannot_be_had_is_named(s3: str, web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    del s3
    said = refused(["s3://no-such-bucket/traces"], capsys)
    assert said.startswith("s3://no-such-bucket/traces does not exist: check the spelling")
    said = refused([f"{web.address}/nothing.json"], capsys)
    assert said.startswith(f"{web.address}/nothing.json does not exist: check the spelling")
    (web.folder / "a.json").write_text("{}")
    for status, words in (
        (403, "access was refused (403 Forbidden): are credentials set"),
        (500, "the server says 500"),
    ):
        web.says["a.json"] = [status]
        assert refused([f"{web.address}/a.json"], capsys).startswith(f"{web.address}/a.json: {words}")
    (web.folder / "empty").mkdir()
    said = refused([f"{web.address}/empty/"], capsys)
    assert said == f"{web.address}/empty: the server lists no files there: give the addresses of the files themselves"
    said = refused(["http://127.0.0.1:9/a.json"], capsys)
    assert re.match(
        r"http://127.0.0.1:9/a.json: .*Cannot connect to host 127.0.0.1:9 .*5 times: check the connection", said
    )


def test_a_rank_that_cannot_be_had_costs_itself(web: Web, study: Path) -> None:
    run = next(study.glob("emulated-ddp-strong-n2-*"))
    shutil.copytree(run, web.folder / "run")
    trace = next((web.folder / "run/rank-00001").glob("trace-*.json.gz"))
    web.breaks[trace.name], web.after_bytes, web.ranges = 10_000, 100, False
    report = analyze([f"{web.address}/run"], options=SERIAL)
    caveats = " ".join(report.runs[0].caveats)
    assert trace.name in caveats or "is missing" in caveats
    assert "5 times: check the connection" in caveats


def test_nothing_that_lets_others_in_is_written_anywhere(web: Web, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "jax-gpu-n1", web.folder / "secrets")
    web.wants = "Basic bWU6aHVzaGh1c2g="  # me:hushhush
    (file,) = (web.folder / "secrets").rglob("*.pb")
    place = web.address.replace("//", "//me:hushhush@") + f"/{file.relative_to(web.folder)}?X-Amz-Signature=5igned"
    outputs = ["--json", "r.json", "-o", "r.html", "--markdown", "r.md"]
    command = [sys.executable, "-m", "scaleprof", "analyze", place, "--run", f"mine={place}", "-v", *outputs]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    web.wants = "Basic nobody"
    failed = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert failed.returncode == 1
    assert "access was refused" in failed.stderr
    texts = [
        done.stdout,
        done.stderr,
        failed.stderr,
        *((tmp_path / name).read_text() for name in ("r.json", "r.html", "r.md")),
    ]
    assert not [text[:80] for text in texts if "hushhush" in text or "5igned" in text]
    assert "127.0.0.1" in (tmp_path / "r.json").read_text(), "but the address is"


def test_two_buckets_and_a_saved_report_on_a_web_server_are_compared(s3: str, web: Web, tmp_path: Path) -> None:
    base, new = SAMPLES / "emulated-ddp-n4-7c256481", SAMPLES / "on-50mbit-ddp-n4-fedc7419"
    upload(s3, base, "before/run")
    upload(s3, new, "after/run")
    here = compare(base, new, options=SERIAL)
    there = compare("s3://before/run", "s3://after/run", options=SERIAL)
    assert there.verdict == here.verdict
    assert there.title == "before/run \N{RIGHTWARDS ARROW} after/run"
    analyze([base], options=SERIAL).save(web.folder / "base.json")
    saved = compare(f"{web.address}/base.json", "s3://after/run", options=SERIAL)
    assert saved.verdict == here.verdict
    gate = check(["s3://after/run"], Demands(baseline=path_of(f"{web.address}/base.json")), options=SERIAL)
    assert gate.answer == "fails", gate.outcomes
    with pytest.raises(NothingToRead, match=re.escape("s3://nowhere/run does not exist")):
        compare("s3://nowhere/run", new, options=SERIAL)
    web.says["base.json"] = [403]
    with pytest.raises(NothingToRead, match=re.escape(f"{web.address}/base.json: access was refused")):
        compare(f"{web.address}/base.json", new, options=SERIAL)


def test_a_bucket_is_exported_as_its_folder(s3: str, tmp_path: Path, study: Path) -> None:
    run = next(study.glob("emulated-ddp-strong-n2-*"))
    upload(s3, run, f"exported/{run.name}")
    [here] = export([run], tmp_path / "here.json", options=SERIAL)
    [there] = export([f"s3://exported/{run.name}"], tmp_path / "there.json", options=SERIAL)
    assert here.path.read_bytes() == there.path.read_bytes()


def test_every_command_that_reads_takes_addresses(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, there in (("emulated-ddp-n4", "base"), ("on-50mbit-ddp-n4", "new")):
        [run] = SAMPLES.glob(f"{name}-*")
        shutil.copytree(run, web.folder / there)
    (web.folder / "sizes.csv").write_text("ranks,step_ms\n1,10\n2,11\n4,13\n8,17\n")
    base, new, out = f"{web.address}/base/", f"{web.address}/new/", str(tmp_path / "out")
    commands = (
        ["export", base, "-o", f"{out}.json.gz", "--tables", out],
        ["compare", base, new, "-o", f"{out}.html"],
        ["check", base, "--min-efficiency", "0.01"],
        ["check", base, "--baseline", base],
        ["whatif", base, "--link", "2", "-o", f"{out}.html"],
        ["predict", f"{web.address}/sizes.csv", "--kind", "strong", "-o", f"{out}.html"],
    )
    codes = {" ".join(words[:2]): main([*words, "-q"]) for words in commands}
    assert set(codes.values()) == {0}, (codes, capsys.readouterr())
    assert gzip.decompress(Path(f"{out}.json.gz").read_bytes()).startswith(b'{"displayTimeUnit"')


def test_redaction_covers_buckets_and_hosts(s3: str, web: Web, study: Path) -> None:
    upload(s3, study / "jax-gpu-n1", "secretive/jax-gpu-n1")
    shutil.copytree(study / "jax-gpu-n1", web.folder / "shrouded")
    options = Options(engine="serial", redact=True, command=f"scaleprof analyze s3://secretive/ {web.address}/shrouded")
    text = json.dumps(analyze(["s3://secretive/", f"{web.address}/shrouded"], options=options).to_dict())
    assert "secretive" not in text
    assert "127.0.0.1" not in text
    assert "shrouded" not in text


def test_what_was_read_before_is_not_fetched_again(
    web: Web, foreign_traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALEPROF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("scaleprof.cache.FEWEST_BYTES", 1)
    source = gpu_trace(foreign_traces)
    file = web.folder / "rank0.json.gz"
    shutil.copy(source, file)
    os.utime(file, (1e9, 1e9))
    fetched = []
    for changed in (False, False, True):
        if changed:
            os.utime(file, (1.1e9, 1.1e9))
        web.sent_bytes = 0
        analyze([f"{web.address}/rank0.json.gz"], options=SERIAL)
        fetched.append(web.sent_bytes)
    first, second, third = fetched
    assert second < first
    assert third == first


def test_tables_are_read_from_elsewhere(s3: str, web: Web, tmp_path: Path, foreign_traces: Path) -> None:
    (web.folder / "t.csv").write_text("ranks,throughput\n1,10\n2,19\n4,36\n8,66\n16,120\n")
    assert main(["predict", f"{web.address}/t.csv", "--json", str(tmp_path / "p.json"), "-q"]) == 0
    assert Report.load(tmp_path / "p.json").title == "t"
    (table, *_) = sorted((foreign_traces / "stragglers").rglob("trace-*.parquet"))
    for file in table.parent.glob(f"*{table.stem.removeprefix('trace-')}*"):
        upload(s3, file, "tables")
    assert main(["stragglers", f"s3://tables/{table.name}", "--json", str(tmp_path / "s.json"), "-q"]) == 0
    assert main(["stragglers", str(table), "--json", str(tmp_path / "h.json"), "-q"]) == 0
    assert told(Report.load(tmp_path / "s.json")) == told(Report.load(tmp_path / "h.json"))
