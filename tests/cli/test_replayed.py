"""`scaleprof whatif`: what is asked on the command line is what is replayed, and what makes no sense is said."""

import json
from pathlib import Path

import pytest

from scaleprof.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recording() -> str:
    [folder] = (ROOT / "sample_traces").glob("emulated-ddp-n2-*")
    return str(folder)


def asked(recording: str, path: Path, *words: str) -> dict[str, float]:
    """Change by name to step time."""
    assert main(["whatif", recording, *words, "--json", str(path), "-q"]) == 0
    [run] = json.loads(path.read_text())["runs"]
    table = run["sections"][0]["tables"]["whatif"]
    return (
        {row[0]: row[1] for row in table["data"]}
        if isinstance(table["data"][0], list)
        else dict(zip(*table["data"][:2], strict=True))
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--link", "2"], "links 2 times as fast"),
        (["--link", "2", "--group", "0"], "links of group 0 2 times as fast"),
        (["--latency", "0.5", "--no-stragglers"], "0.5 times the latency, no stragglers"),
        (["--normal-rank", "1"], "rank 1 as fast as the median of the others"),
        (["--compress", "fp16"], "0.5 times the bytes of gradients"),
        (["--compress", "0.1", "--encode-gbps", "1"], "0.1 times the bytes of gradients"),
        (["--ranks", "8"], "8 ranks (local batch as it is)"),
        (["--ranks", "8", "--global-batch"], "8 ranks (global batch as it is)"),
        (["--merge-buckets", "4"], "4 buckets sent as one"),
        (["--no-input", "--no-pauses"], "no waiting for input or garbage collection or compilation or checkpoints"),
        (["--kernel", "scaleprof::*=2"], "kernels scaleprof::* 2 times as fast"),
    ],
)
def test_what_is_asked_is_what_is_replayed(recording: str, tmp_path: Path, words: list[str], said: str) -> None:
    table = asked(recording, tmp_path / "x.json", *words)
    assert [name for name in table if name not in ("nothing, as measured", "all of it")] == said.split(", ")


def test_encoding_costs_what_is_said(recording: str, tmp_path: Path) -> None:
    free = asked(recording, tmp_path / "free.json", "--compress", "fp16")
    slow = asked(recording, tmp_path / "slow.json", "--compress", "fp16", "--encode-gbps", "0.01")
    # 6.4 MB of gradients at 10 MB/s; a part of it goes where the first message had waited for the wire.
    [name] = [one for one in free if one.startswith("0.5")]
    assert 300 < slow[name] - free[name] < 640


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "nothing is changed"),
        (["--link", "0"], 2, "link must be a positive number"),
        (["--link", "nan"], 2, "link must be a positive number"),
        (["--link", "fast"], 2, "'fast' is not a valid float"),
        (["--compress", "zip"], 2, "'zip' is neither fp16 nor bf16 nor a number"),
        (["--encode-gbps", "0", "--compress", "fp16"], 2, "--encode-gbps must be positive"),
        (["--kernel", "gemm"], 2, "is not of the form PATTERN=K"),
        (["--kernel", "gemm=much"], 2, "'much' is no number of times"),
        (["--kernel", "gemm=2"], 2, "no kernel of this run is called 'gemm'"),
        (["--normal-rank", "5"], 2, "there is no rank 5; there are: 0, 1"),
        (["--micro-batches", "4"], 2, "is no pipeline"),
        (["--ranks", "0"], 2, "ranks must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_said(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["whatif", recording, *words, "--json", str(tmp_path / "x.json"), "-q"]) == code
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "x.json").exists()


def test_a_folder_without_traces_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", str(tmp_path), "--link", "2"]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_the_answer_has_a_page_and_a_summary(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, text = tmp_path / "x.html", tmp_path / "x.md"
    assert main(["whatif", recording, "--link", "2", "--no-stragglers", "-o", str(page), "--markdown", str(text)]) == 0
    said = capsys.readouterr().out
    assert "Speedup" in said and "Only no stragglers" in said
    assert said.strip().endswith(str(page))
    assert "links 2 times as fast" in page.read_text() and "links 2 times as fast" in text.read_text()
