"""Small real trainings that the recorder's tests record, and what their recordings say."""

import gzip
import json
from pathlib import Path
from typing import Any

import torch

from scaleprof.run import RankInfo, RunInfo, read_rank_info, read_run_info


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))


def loop(steps: int, *, stop: int | None = None, fail: int | None = None) -> str:
    """Plain training; returns early or raises where asked to."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(steps):
        if number == fail:
            raise ValueError("boom")
        if number == stop:
            return "early"
        optimizer.zero_grad()
        model(torch.randn(4, 16)).mean().backward()
        optimizer.step()
    return "done"


def runs(folder: Path) -> list[Path]:
    """Run folders, in order of recording."""
    return sorted(folder.glob("*/"), key=lambda run: (run / "run.json").stat().st_mtime_ns)


def only_rank(folder: Path) -> Path:
    """The folder of the only rank of the only run."""
    [rank] = folder.glob("*/rank-*")
    return rank


def lines(path: Path) -> list[dict[str, Any]]:
    """A stream's lines; none where it does not exist."""
    if not path.exists():
        return []
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines()]


def steps_of(folder: Path) -> list[dict[str, Any]]:
    return lines(only_rank(folder) / "steps.jsonl")


def info_of(folder: Path) -> RankInfo:
    return read_rank_info(only_rank(folder) / "rank.json")


def run_of(folder: Path) -> RunInfo:
    return read_run_info(only_rank(folder).parent / "run.json")


def spans(rank: Path) -> list[dict[str, Any]]:
    """Every complete event of a rank's windows."""
    found: list[dict[str, Any]] = []
    for path in sorted(rank.glob("trace-*.json.gz")):
        with gzip.open(path, "rt") as file:
            found += [event for event in json.load(file)["traceEvents"] if event["ph"] == "X"]
    return found
