"""The critical path in the timeline: where it leads, when, and that it fills the step."""

from pathlib import Path

import numpy as np
import pytest

from scaleprof.analyses.timeline import timeline
from scaleprof.analyses.timeline.path import NAME
from scaleprof.analyses.timeline.slices import Row
from tests.analyses.making_graphs import late_rank, recorded, view_of

SAMPLES = Path(__file__).parents[2] / "sample_traces"


def test_it_leads_over_the_late_rank_on_paper() -> None:
    result = timeline.conclude(view_of([late_rank(0), late_rank(1)]), None)
    assert result is not None and result.timeline is not None
    drawn = result.timeline
    rows = [row for row, of in enumerate(drawn["row"]) if of == Row.PATH]
    found = [(drawn["rank"][row], drawn["start_ms"][row], drawn["dur_ms"][row], drawn["name"][row]) for row in rows]
    # Rank 1 computes 90 ms; the transfer of 60 ms, and what follows it, is as critical on rank 0.
    assert found == [(1, 0.0, 90.0, NAME), (0, 90.0, 110.0, NAME)]


@pytest.mark.parametrize(
    "name", ["emulated-ddp-n4", "emulated-fsdp2-n4", "emulated-pp-1f1b-n4", "nccl-late-timeline-n2"]
)
def test_it_fills_the_steps_of_a_recorded_run(name: str) -> None:
    [folder] = SAMPLES.glob(f"{name}-????????")
    result = timeline.conclude(recorded(folder), None)
    assert result is not None and result.timeline is not None
    drawn = {column: np.array(values, dtype=object) for column, values in result.timeline.columns.items()}
    on_path = drawn["row"] == Row.PATH
    assert on_path.any()
    for step in set(drawn["step"][on_path].tolist()):
        here = on_path & (drawn["step"] == step)
        start, dur = drawn["start_ms"][here].astype(float), drawn["dur_ms"][here].astype(float)
        order = np.argsort(start)
        assert (start[order][1:] >= (start + dur)[order][:-1] - 1e-3).all(), "it is at one place at a time"
        assert dur.sum() == pytest.approx((start + dur).max() - start.min(), rel=0.05)


def test_one_rank_has_no_line_for_it() -> None:
    [folder] = SAMPLES.glob("emulated-single-n1-????????")
    result = timeline.conclude(recorded(folder), None)
    assert result is not None and result.timeline is not None
    assert Row.PATH not in result.timeline["row"]
