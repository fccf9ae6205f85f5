"""A redacted report: none of the names of hosts, users, folders and files is in any of its outputs, and it still tells hosts and ranks apart."""

import base64
import gzip
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from scaleprof.cli import main
from scaleprof.pipeline import Options, analyze
from scaleprof.redaction import Redaction
from scaleprof.results import Report
from scaleprof.run import RANK_FILE, RUN_FILE

SECRETS = ("zorblatt", "quuxnode", "frobfolder", "grumblefile", "wibblelab")
USER, HOST, FOLDER, FILE, DOMAIN = SECRETS


@pytest.fixture
def telling(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording and foreign traces whose hosts, user and folders cannot be overlooked."""
    monkeypatch.setenv("LOGNAME", USER)
    folder = tmp_path / "home" / USER / FOLDER
    for place, run in enumerate(sorted((repository / "sample_traces").glob(f"nccl-late-timeline-*/{RUN_FILE}"))):
        here = folder / f"{FOLDER}-{place}"
        shutil.copytree(run.parent, here)
        about = json.loads((here / RUN_FILE).read_text())
        about["tags"] = {"owner": USER, "script": f"/home/{USER}/train.py", "on": f"{HOST}0"}
        (here / RUN_FILE).write_text(json.dumps(about))
        for rank, file in enumerate(sorted(here.rglob(RANK_FILE))):
            of_rank = json.loads(file.read_text())
            of_rank["host"] = f"{HOST}{rank}.{DOMAIN}.example"
            of_rank["warnings"] = [f"{HOST}{rank}: /scratch/{USER}/{FILE}.json is missing, says {USER}"]
            file.write_text(json.dumps(of_rank))
    foreign = folder / f"{FOLDER} plain"
    foreign.mkdir()
    for rank in (0, 1):
        content = {
            "distributedInfo": {"rank": rank, "world_size": 2, "backend": "nccl"},
            "host_name": f"{HOST}7",
            "traceEvents": [
                _event(f"ProfilerStep#{step}", "user_annotation", 1000 * step, 900) for step in range(4)
            ] + [_event(f"load /home/{USER}/x.py", "cpu_op", 1000 * step + 10, 500) for step in range(4)],
        }  # fmt: skip
        (foreign / f"{FILE}{rank}.json").write_text(json.dumps(content))
    (foreign / f"{DOMAIN} {FILE}.json").write_text("")
    return folder


def _event(name: str, category: str, start: int, dur: int) -> dict[str, object]:
    return {"ph": "X", "name": name, "cat": category, "pid": 1, "tid": 1, "ts": start, "dur": dur, "args": {}}


def inflated(page: str) -> str:
    """The page with everything that lies in it compressed."""
    islands = re.findall(r">(H4sI[A-Za-z0-9+/=\s]+)<", page)
    assert islands
    return page + "".join(gzip.decompress(base64.b64decode(island)).decode() for island in islands)


def outputs(folder: Path, *options: str) -> dict[str, str]:
    """HTML, JSON and Markdown as the command line writes them."""
    files = [folder / "out.html", folder / "out.json", folder / "out.md"]
    words = ["-o", str(files[0]), "--json", str(files[1]), "--markdown", str(files[2]), *options]
    words = ["analyze", str(folder), *words, "-q", "--engine", "serial"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["scaleprof", *words])
        assert main(words) == 0
    html, data, markdown = (file.read_text() for file in files)
    return {"html": inflated(html), "json": data, "markdown": markdown}


def test_no_name_is_in_any_output(telling: Path) -> None:
    said = outputs(telling, "--redact")
    for name, text in said.items():
        low = text.lower()
        found = [text[at - 60 : at + 60] for secret in SECRETS if (at := low.find(secret)) >= 0]
        assert not found, f"{name}: {found}"
        assert str(telling.parent) not in text
    report = Report.load(telling / "out.json")
    assert report.made_with["command"].startswith("scaleprof analyze path-")
    assert {"host-1", "host-2"} <= set(re.findall(r"host-\d+", said["json"]))


def test_without_it_the_names_are_there(telling: Path) -> None:
    said = outputs(telling)
    assert all(secret in said["json"] for secret in (USER, HOST, FOLDER, FILE))
    assert HOST in said["html"]


def test_numbers_and_ranks_stay_as_they_are(telling: Path) -> None:
    plain, redacted = (
        analyze([telling], options=Options(engine="serial", use_cache=False, redact=redact)) for redact in (False, True)
    )
    assert plain.verdict.partition(":")[2] == redacted.verdict.partition(":")[2]
    for one, other in zip(plain.runs, redacted.runs, strict=True):
        assert one.ranks_read == other.ranks_read
        assert [[metric.value for metric in section.metrics] for section in one.sections] == [
            [metric.value for metric in section.metrics] for section in other.sections
        ]
    recorded, foreign = redacted.runs
    assert recorded.info.name == plain.runs[0].info.name, "the name that the training gave"
    assert foreign.info.name == "run-2"
    assert redacted.grouping["files"][-1] == "file-2"
    assert redacted.grouping["files"][0].startswith("trace-"), "the recorder's own names say nothing"
    assert any(caveat.startswith("file-3 was left out") for run in redacted.runs for caveat in run.caveats)


@pytest.mark.parametrize("kind", ["json", "pftrace"])
def test_no_name_is_in_an_export(telling: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(telling), "--format", kind, "--no-cache"]
    said: dict[str, str] = {}
    for option in ("--redact", "--no-cache"):
        out, tables = tmp_path / f"merged{option}", tmp_path / f"tables{option}"
        assert main([*words, option, "-o", str(out), "--tables", str(tables)]) == 0
        shown = capsys.readouterr().err
        content = b"".join(unpacked(file) for folder in (out, tables) for file in sorted(folder.iterdir()))
        said[option] = (content.decode("latin-1") + shown + "".join(path.name for path in out.iterdir())).lower()
    assert not [secret for secret in SECRETS if secret in said["--redact"]]
    assert "host-1" in said["--redact"]
    assert {USER, HOST, FOLDER} == {secret for secret in (USER, HOST, FOLDER) if secret in said["--no-cache"]}


def unpacked(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def test_the_same_name_is_always_the_same_short_one() -> None:
    redaction = Redaction(["/data/set one/traces", "plain"], [])
    assert redaction.host("n1") == redaction.host("n1") == "host-1"
    assert redaction.host("gpu7.site.example") == "host-2"
    said = "n1, gpu7 and gpu7.site.example: /data/set one/traces/a.json, plain/b, plain words, samples/s, 3/4, n10"
    assert redaction.text(said) == (
        "host-1, host-2 and host-2: path-1, path-2, plain words, samples/s, 3/4, n10"
    )  # fmt: skip
    assert redaction.text("https://pytorch.org/docs/stable") == "https://pytorch.org/docs/stable"
    assert redaction.text("</b></script> a//b") == "</b></script> a//b"
    assert (
        redaction.text("run.json, trace-000003-000011.timeline.json.gz")
        == "run.json, trace-000003-000011.timeline.json.gz"
    )


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("scaleprof analyze a/b -o c.html --workers 2", "scaleprof analyze path-1 -o path-2 --workers 2"),
        ("scaleprof analyze a --json=b.json --set scaling.target=0.9", "scaleprof analyze path-1 --json=path-2 --set scaling.target=0.9"),
        ("scaleprof analyze a --run 'two=x/*.json' --redact", "scaleprof analyze path-1 --run two=path-2 --redact"),
        ("scaleprof analyze -oc.html 'a", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_command_keeps_what_names_no_file(command: str, shown: str) -> None:
    report = Redaction([], []).report(Report("t", "v", (), made_with={"command": command}))
    assert report.made_with["command"] == shown
