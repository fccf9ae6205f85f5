"""Rules on how a job is set up, on traces made by hand: each says its number, and stays silent on the other side of its threshold."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scaleprof.align import RunView, align
from scaleprof.analyses import ANALYSES
from scaleprof.analyses.findings import rules, rules_setup
from scaleprof.analyses.findings.findings import conclude
from scaleprof.analyses.findings.judged import Rule
from scaleprof.pipeline import RankFacts
from scaleprof.results import Finding, Table
from scaleprof.run import RankInfo, RunInfo
from scaleprof.trace import Kind, Trace
from tests.analyses.making_gaps import MAIN, US, gemm, launch, span, traced
from tests.making import Event, Made, Step

STEP_US = 10_000


def trace(
    *events: Event, rank: int = 0, ranks: int = 1, details: Mapping[str, Any] | None = None, **counters: Any
) -> Trace:
    """One step of 10 ms with one long kernel, and what a test adds."""
    made = Made(
        events=[launch(0, -10, 5), gemm(0, 0, 4000), *events],
        steps=[Step(0, STEP_US * US)],
        info=RankInfo(rank=rank, world_size=ranks, details=dict(details or {})),
        counters=counters,
    )
    return traced(made)


def view_of(*traces: Trace, **of_run: Any) -> RunView:
    needs = {name: measure for analysis in ANALYSES for name, measure in analysis.needs.items()}
    facts = {one.rank: RankFacts(one.info, {name: measure(one) for name, measure in needs.items()}) for one in traces}
    return align(RunInfo(name="run", world_size=len(traces), **of_run), facts)


def found(*traces: Trace, **of_run: Any) -> dict[str, Finding]:
    result = conclude(view_of(*traces, **of_run), None)
    return {finding.id: finding for finding in result.findings} if result is not None else {}


def many_small(count: int, *, from_us: int = 5000, each_us: int = 3) -> list[Event]:
    """So many kernels that last so long, launched by the optimizer one after the other."""
    events = [span(Kind.PHASE, "Optimizer.step#Adam.step", from_us, count * (each_us + 1))]
    for number in range(1, count + 1):
        at = from_us + (number - 1) * (each_us + 1)
        events += [launch(number, at, 1, lane=MAIN), gemm(number, at + 1, each_us)]
    return events


def test_an_optimizer_that_loops_over_parameters() -> None:
    """300 kernels of 3 us are 0.9 ms of a step of 10; 150 of them are not many, and 300 of 20 us are no small ones."""
    finding = found(trace(*many_small(300)))["optimizer"]
    assert finding.gain_share == pytest.approx(0.09)
    assert "300 kernels a step, 3.0 us each" in finding.text
    assert "optimizer" not in found(trace(*many_small(150)))
    assert "optimizer" not in found(trace(*many_small(210, each_us=20)))


def test_kernels_that_are_mostly_short() -> None:
    """1,000 kernels of 3 us beside a long one of 4 ms: 3 of 7; without the long one they are all there is."""
    assert "small-kernels" not in found(trace(*many_small(1000)))
    made = Made(events=[launch(0, -10, 5), gemm(0, 0, 9), *many_small(1000)], steps=[Step(0, STEP_US * US)])
    finding = found(traced(made))["small-kernels"]
    assert (finding.severity, finding.gain_share) == ("low", None)
    assert "100 %" in finding.text or "100.0 %" in finding.text


def test_unused_parameters_are_looked_for_by_several_ranks() -> None:
    details = {"ddp": {"find_unused_parameters": True}}
    both = [trace(rank=rank, ranks=2, details=details) for rank in (0, 1)]
    assert "unused-parameters" in found(*both)
    assert "unused-parameters" not in found(trace(details=details))
    assert "unused-parameters" not in found(*(trace(rank=rank, ranks=2) for rank in (0, 1)))


@pytest.mark.parametrize(
    ("held", "clock", "is_found"), [(1.0, 1200.0, True), (1.0, 1980.0, False), (0.0, 1200.0, False)]
)
def test_a_clock_that_is_held_down(held: float, clock: float, is_found: bool) -> None:
    """1200 of 1980 MHz on rank 1 while its kernels run for 4 of 10 ms: at most 0.4 x (1 - 1200 / 1980) of the step."""
    fast = trace(rank=0, ranks=2, gpu_throttled=[0.0, 0.0], gpu_sm_clock_mhz=[1980.0, 1980.0])
    slow = trace(rank=1, ranks=2, gpu_throttled=[held, held], gpu_sm_clock_mhz=[clock, clock])
    findings = found(fast, slow)
    assert ("throttled" in findings) == is_found
    if is_found:
        assert findings["throttled"].gain_share == pytest.approx(0.4 * (1 - 1200 / 1980))
        assert "rank 1 is 1200 MHz" in findings["throttled"].text


def judged(
    *, exposed: float = 0.2, sizes: Sequence[int] = (), details: Mapping[str, Any] | None = None, **info: Any
) -> Any:
    """What the rules see of a run of two ranks with one step of 100 ns, and all-reduces of these sizes of 1 ns each on either rank."""
    table = Table(
        {
            "step": np.zeros(len(sizes), dtype=np.int64),
            "op": ["all_reduce"] * len(sizes),
            "bytes": np.array(sizes, dtype=np.int64),
            "dur_ns": np.ones(len(sizes), dtype=np.int64),
        }
    )
    rank = SimpleNamespace(details=dict(details or {}))
    run = {"backend": "nccl", "device": "cuda", "strategy": "ddp", "parameters": None, "precision": "float32", **info}
    view = SimpleNamespace(ranks={0: rank, 1: rank}, info=SimpleNamespace(**run), fact=lambda _: {0: table, 1: table})
    leaves = SimpleNamespace(rows={"step": np.zeros(1, dtype=np.int64)}, window_ns=100, share=lambda _: exposed)
    return SimpleNamespace(view=view, leaves=leaves, exposed_share=exposed, steps="0")


def gain(rule: Rule, of: Any) -> float | None:
    finding = rule(of)
    return finding.gain_share if finding is not None else None


def test_a_sync_can_gain_no_more_than_the_device_computes() -> None:
    """60 % of the step behind a call that waits, 80 % idle in all: the host would be ahead by the 20 % that are computed."""
    of: Any = SimpleNamespace(
        idle_share=lambda _: 0.6, leaves=SimpleNamespace(share=lambda _: 0.8), idle=None, steps="0", view=None
    )
    assert gain(rules._synced, of) == pytest.approx(0.2)
    of.leaves.share = lambda _: 0.3
    assert gain(rules._synced, of) == pytest.approx(0.6)


def test_gpus_that_talk_over_gloo_may_gain_all_that_is_exposed() -> None:
    assert gain(rules_setup._gloo_on_gpus, judged(backend="gloo")) == 0.2
    assert gain(rules_setup._gloo_on_gpus, judged(backend="cpu:gloo,cuda:nccl")) is None
    assert gain(rules_setup._gloo_on_gpus, judged(backend="gloo", device="cpu")) is None
    assert gain(rules_setup._gloo_on_gpus, judged(backend="gloo", exposed=0.0)) is None


def test_many_small_messages_may_gain_their_part_of_the_exposed_transfer() -> None:
    """150 of 1 kB and 50 of 1 MB, all of the same length: three quarters of what is exposed."""
    assert gain(rules_setup._messages, judged(sizes=[1000] * 150 + [10**6] * 50)) == pytest.approx(0.15)
    assert gain(rules_setup._messages, judged(sizes=[1000] * 90)) is None, "that is not many"
    assert gain(rules_setup._messages, judged(sizes=[1000] * 150, exposed=0.02)) is None, "they cost little"


def test_gradients_reduced_after_each_of_four_micro_batches_are_three_times_too_many() -> None:
    """1,000 parameters are 4,000 bytes of gradients."""
    four = {"micro_batches": 4}
    assert gain(
        rules_setup._every_micro_batch, judged(sizes=[4000] * 4, parameters=1000, details=four)
    ) == pytest.approx(0.15)
    assert gain(rules_setup._every_micro_batch, judged(sizes=[4000], parameters=1000, details=four)) is None
    assert gain(rules_setup._every_micro_batch, judged(sizes=[4000] * 4, parameters=1000)) is None
