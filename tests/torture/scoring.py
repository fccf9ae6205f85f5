"""One job written, analysed and held against its truth."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaleprof.align import LEAVES, RankFacts, RunView, align
from scaleprof.analyses.account.steps import steady_steps
from scaleprof.analyses.account.time import TIME
from scaleprof.analyses.communication.links import LINKS, LinkOptions
from scaleprof.analyses.stragglers.stragglers import STRAGGLERS
from scaleprof.models.communication import bus_factor
from scaleprof.readers import find_runs, read_rank
from scaleprof.run import TRUTH_FILE
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import BEGIN_NS
from scaleprof.synth.writing import write_job
from tests.torture.cases import FAULTS, NO_FAULT, SAID, Case

UNKNOWN_CAUSE = "not established"
_NEEDS = {**STRAGGLERS.needs, **TIME.needs, **LINKS.needs}
TOLD = tuple(leaf for leaf in LEAVES if leaf != "exposed_untold")


@dataclass(frozen=True)
class Outcome:
    """What was said of a job, and how far off the numbers are."""

    case: Case
    named: int | None
    """The rank said to be a straggler."""
    cause: str
    """In the words of the report; empty where nobody is named."""
    gain: float
    """Of the step, what its cure is said to save at most; 0 where nobody is named."""
    shares: dict[str, float]
    """By leaf: the share shown less the true one, over the same steps."""
    offsets_us: tuple[float, ...]
    """By other host, at the start, the middle and the end: how far the clock is off."""
    bandwidths: tuple[float, ...]
    """By kind and size of operation: relative error of the bus bandwidth."""

    @property
    def is_right_rank(self) -> bool:
        """Whether the late rank is named."""
        return self.case.fault != NO_FAULT and self.named == self.case.late_rank

    @property
    def is_right_cause(self) -> bool:
        """Whether also its cause is."""
        return self.is_right_rank and self.cause == SAID[FAULTS[self.case.fault]["late_cause"]]

    @property
    def is_wrong(self) -> bool:
        """Whether somebody is blamed who did nothing, or for what he did not do."""
        return self.named is not None and not (
            self.is_right_cause or (self.is_right_rank and self.cause == UNKNOWN_CAUSE)
        )

    @property
    def is_failed(self) -> bool:
        """Whether it is wrong, or silent where it must not be."""
        return self.is_wrong or (self.case.must_be_found and not self.is_right_cause)


def outcome(case: Case) -> Outcome:
    """Write the job of a case, analyse it, score it."""
    case.must_be_found  # noqa: B018 - computed here, in the worker
    with tempfile.TemporaryDirectory() as folder:
        path = write_job(case.spec, Path(folder))
        truth = json.loads((path / TRUTH_FILE).read_text())
        view = view_of(path)
    found = STRAGGLERS.conclude(view, None)
    said = {metric.id: metric.value for metric in found.metrics} if found else {}
    named = said.get("straggler.rank")
    return Outcome(
        case,
        None if named is None else int(named),
        str(said.get("straggler.cause", "")),
        float(said.get("straggler.gain_share", 0.0)),
        share_errors(view, truth),
        tuple(_offset_errors_us(view, case.spec)),
        tuple(_bandwidth_errors(view, case.spec)),
    )


def view_of(path: Path) -> RunView:
    """A run as conclusions see it, with the facts that the scored sections need."""
    [run] = find_runs([path])
    facts = {}
    for rank, files in run.ranks.items():
        trace = read_rank(files)
        facts[rank] = RankFacts(trace.info, {name: fact(trace) for name, fact in _NEEDS.items()})
    return align(run.info, facts)


def share_errors(view: RunView, truth: dict[str, Any]) -> dict[str, float]:
    """By leaf: the share that the section on time shows less the true share, over the steps that it counts."""
    result = TIME.conclude(view, None)
    assert result is not None
    shown = {metric.id: float(metric.value) for metric in result.metrics}
    steps = {name: np.array(column) for name, column in truth["steps"].items()}
    counted = np.isin(steps["step"], steady_steps(view))
    window = steps["window_ns"][counted].sum()
    true = {leaf: float(steps[f"{leaf}_ns"][counted].sum() / window) for leaf in TOLD}
    return {leaf: shown.get(f"time.{leaf}_share", 0.0) - share for leaf, share in true.items()}


def _offset_errors_us(view: RunView, spec: Spec) -> list[float]:
    found = []
    for rank in range(spec.ranks_per_host, spec.ranks, spec.ranks_per_host):
        clock, host = view.clocks.of_rank[rank], rank // spec.ranks_per_host
        offset = 1e6 * spec.clock_offset_ms[host] if host < len(spec.clock_offset_ms) else 0.0
        drift = 1e-6 * spec.clock_drift_ppm[host] if host < len(spec.clock_drift_ppm) else 0.0
        times = np.asarray(view.fact("collectives")[rank]["start_ns"])
        for shown in (int(times.min()), int(np.median(times)), int(times.max())):
            said = clock.offset_at(shown)
            true = offset + (shown - offset - BEGIN_NS) * drift / (1 + drift)
            found.append(abs(said - true) / 1e3 if said is not None else float("inf"))
    return found


def _bandwidth_errors(view: RunView, spec: Spec) -> list[float]:
    result = LINKS.conclude(view, LinkOptions())
    if result is None:
        return [1.0]
    found = []
    for op, _, ranks, _, size, _, _, busbw in result.tables["link_sizes"].rows():
        true = size * bus_factor(op, ranks) / spec.cost_ns(op, size, ranks)
        found.append(abs(busbw / true - 1))
    return found
