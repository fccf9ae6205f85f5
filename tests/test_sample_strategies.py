"""The recorded study of strategies has known answers too: compute, bubbles and bytes follow from arithmetic."""

from pathlib import Path

import pytest

from scaleprof import Report, analyze
from scaleprof.launch.strategies import SIZES
from scaleprof.results import RunReport

SAMPLES = Path(__file__).parent.parent / "sample_traces"
RECORDED = {
    "single": "single", "ddp": "ddp", "ddp-fp16": "ddp+fp16", "ddp-powersgd": "ddp+powersgd", "ddp-syncbn": "ddp+syncbn", "fsdp2": "fsdp2",
    "tp": "tp", "fsdp2-tp": "fsdp2+tp", "pp-gpipe": "pp-gpipe", "pp-1f1b": "pp-1f1b", "tasks": "tasks",
}  # fmt: skip
RUNS = [(strategy, size) for strategy, sizes in SIZES.items() for size in sizes]
MICRO_BATCHES, COMPUTE_MS = 8, 1600.0
PAYLOAD_MBIT = 190.0


@pytest.fixture(scope="module")
def report() -> Report:
    """All strategies in one report."""
    folders = [path for path in SAMPLES.glob("emulated-*") if "-strong-" not in path.name and "-weak-" not in path.name]
    return analyze(sorted(folders))


@pytest.fixture(scope="module")
def runs(report: Report) -> dict[tuple[str, int], RunReport]:
    """Every run by strategy and size."""
    return {(run.info.name.removeprefix("emulated-"), run.info.world_size): run for run in report.runs}


def value(run: RunReport, id: str) -> float:
    metric = run.metric(id)
    assert metric is not None, f"{run.label} has no {id}"
    return float(metric.value)


@pytest.mark.parametrize(("strategy", "size"), RUNS)
def test_the_strategy_was_found_and_every_rank_read(
    runs: dict[tuple[str, int], RunReport], strategy: str, size: int
) -> None:
    run = runs[strategy, size]
    assert run.info.strategy == RECORDED[strategy]
    assert run.ranks_read == tuple(range(size))
    assert run.info.global_batch == (2 * size if strategy == "tasks" else 16)


@pytest.mark.parametrize(("strategy", "size"), RUNS)
def test_compute_is_what_was_emulated(runs: dict[tuple[str, int], RunReport], strategy: str, size: int) -> None:
    run = runs[strategy, size]
    true_ms = 200.0 if strategy == "tasks" else COMPUTE_MS / size
    assert run.info.emulated is not None
    assert run.info.emulated.compute_ms_per_step == true_ms
    assert value(run, "step.time_ms") * value(run, "time.compute_share") == pytest.approx(true_ms, rel=0.02)


@pytest.mark.parametrize(("strategy", "size"), [(name, size) for name in ("pp-gpipe", "pp-1f1b") for size in (2, 4)])
def test_bubbles_are_those_of_the_formula(runs: dict[tuple[str, int], RunReport], strategy: str, size: int) -> None:
    """(p - 1) / (m + p - 1) of a step of equal stages (`method` 6.4); the rest of the waiting is transfer and the host."""
    expected = (size - 1) / (MICRO_BATCHES + size - 1)
    assert value(runs[strategy, size], "time.bubble_share") == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize(("strategy", "size"), [run for run in RUNS if run[0] not in ("single", "tasks")])
def test_everything_that_was_sent_is_matched_and_told_apart(
    runs: dict[tuple[str, int], RunReport], strategy: str, size: int
) -> None:
    run = runs[strategy, size]
    assert value(run, "collectives.matched_share") == 1
    told = [
        metric.value
        for metric in map(run.metric, (f"time.{part}_share" for part in ("exposed_transfer", "exposed_wait", "bubble")))
        if metric
    ]
    exposed = value(run, "time.exposed_comm_share")
    assert exposed * 0.8 - 0.005 <= sum(map(float, told)) <= exposed + 1e-9


@pytest.mark.parametrize("size", [2, 4])
def test_half_the_bytes_take_half_the_time(runs: dict[tuple[str, int], RunReport], size: int) -> None:
    whole, half = (value(runs[name, size], "collectives.bytes") for name in ("ddp", "ddp-fp16"))
    assert half == pytest.approx(whole / 2, rel=0.01)
    low_rank = value(runs["ddp-powersgd", size], "collectives.bytes")
    assert low_rank < whole / 50


@pytest.mark.parametrize("size", [2, 4])
def test_sharding_sends_half_as_much_again(runs: dict[tuple[str, int], RunReport], size: int) -> None:
    """Parameters are gathered twice and gradients scattered: 3 (n - 1) / n of them on the wire, where an all-reduce sends 2 (n - 1) / n."""
    sharded, reduced = (value(runs[name, size], "collectives.bytes") for name in ("fsdp2", "ddp"))
    assert sharded == pytest.approx(3 * reduced, rel=0.01)


def test_every_strategy_is_a_series_of_its_own_from_the_same_one_rank(report: Report) -> None:
    names = {row[0] for row in report.comparison[1].tables["scaling"].rows()}
    parallel = {name for name in RECORDED.values() if name not in ("single", "tasks")}
    assert names == {f"strategies {name}" for name in parallel} | {"strategies-tasks"}
    for name in parallel:
        metric = report.metric(f"scaling.strategies-{name.replace('+', '-')}.efficiency")
        assert 0.2 < float(metric.value) < 0.9


def test_a_sentence_about_many_series_names_the_ends(report: Report) -> None:
    scaling = next(section for section in report.comparison if section.name == "scaling")
    assert scaling.headline.startswith("10 series: strategies-tasks keeps the most efficiency, 100")
    assert "strategies fsdp2 the least, 30" in scaling.headline
    assert len(scaling.charts[0].title) < 160
