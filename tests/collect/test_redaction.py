"""Redaction: nothing of host, user or paths is left, and what is left is still JSON."""

import getpass
import gzip
import json
import re
import socket
from pathlib import Path

import pytest

import scaleprof
from scaleprof.collect.written import redaction
from scaleprof.collect.written.redaction import Redaction
from scaleprof.run import RankInfo, RunInfo
from tests.collect.training import loop, only_rank


@pytest.fixture
def ada_on_turing(monkeypatch: pytest.MonkeyPatch) -> Redaction:
    monkeypatch.setattr(socket, "gethostname", lambda: "turing.example.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    return Redaction()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("cannot read /home/ada/data.bin", "cannot read <path>"),
        ("on turing.example.org:29500 and turing", "on <host>:29500 and <host>"),
        ("ada-gpt by ada, adam stays", "<user>-gpt by <user>, adam stays"),
        (r"C:\Users\ada\x is gone", "<path> is gone"),
        ("0.5 samples/s and 3/4", "0.5 samples/s and 3/4"),
        ("aten::add_ c10d::allreduce_", "aten::add_ c10d::allreduce_"),
    ],
)
def test_texts(ada_on_turing: Redaction, text: str, left: str) -> None:
    assert ada_on_turing.text(text) == left


def test_records_keep_our_own_words(ada_on_turing: Redaction) -> None:
    rank = RankInfo(0, 1, device="cpu", framework="pytorch", details={"ada": ["/tmp/ada/x"]}, warnings=("by ada",))
    left = ada_on_turing.record(rank)
    assert (left.device, left.details, left.warnings) == ("cpu", {"<user>": ["<path>"]}, ("by <user>",))
    assert ada_on_turing.record(RunInfo("ada-job", 1, tags={"who": "ada"})).tags == {"who": "<user>"}


def test_a_trace_stays_json(ada_on_turing: Redaction, tmp_path: Path) -> None:
    trace = {"host_name": "turing", "traceName": "/tmp/x.json", "traceEvents": [{"name": 'read /home/ada/a "b" \\n'}]}
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(trace))
    ada_on_turing.trace_file(file)
    assert json.loads(file.read_text())["host_name"] == "<redacted>"
    assert not re.search("ada|turing|tmp", file.read_text())


def test_a_host_without_a_user_name_is_redacted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert redaction._user() == ""
    assert Redaction().text("fine") == "fine"


def test_a_whole_recording_holds_nothing_personal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "adalovelace")

    def train() -> None:
        loop(8)
        raise RuntimeError(f"adalovelace on {socket.gethostname()} cannot read {tmp_path}/secret.bin")

    with pytest.raises(RuntimeError):
        scaleprof.profile(tmp_path, name="of-adalovelace", tags={"at": str(tmp_path)}, redact=True, sample_hz=50)(
            train
        )()
    rank = only_rank(tmp_path)
    assert "adalovelace" not in rank.parent.name
    personal = re.compile("|".join(map(re.escape, ("adalovelace", str(tmp_path), f'"{socket.gethostname()}"'))))
    assert any(path.name.startswith("trace-") for path in rank.iterdir())
    for path in [*rank.iterdir(), rank.parent / "run.json"]:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        assert not personal.search(text), path.name
