"""What `analyze` says of every real Horovod trace, in one table, against what is known of the jobs."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from scaleprof.analyses.account.sent import collectives
from scaleprof.pipeline import Options, analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.results import RunReport
from scaleprof.trace import Trace

FP32, FP16, TF = 1_597_480, 798_740, 1_593_344
"""Gradient bytes a step of the two models: 399,370 parameters, and those of the TensorFlow job."""
NO_COMPUTE = "compute, idle time and what of the communication they hide are not in it"
HIDDEN = "the response cache hides it for the others"
NO_RANKS = "no rank announced a tensor by name"
LOST = "were open when the timeline ended"
HEARD = "is when the coordinator heard of"
HUNG = "5 tensors waited for rank 1, which had not announced them"
JOINED = "was taken as the Horovod timeline of these ranks"
UNTOLD = "began on this rank nobody wrote down"


@dataclass(frozen=True)
class Known:
    """One row."""

    steps: int
    """That the trace holds."""
    operations: int
    """In all of these, on rank 0; a fused one counts once."""
    bytes: int | None
    """A step and rank."""
    ranks: tuple[int, ...] = (0,)
    matched: float | None = None
    late: int | None = None
    caveats: tuple[str, ...] = (NO_COMPUTE, HIDDEN)


KNOWN = {
    "np2_dynamic": Known(5, 11, FP32, caveats=(NO_COMPUTE, HIDDEN, NO_RANKS)),
    "np2_fp16": Known(8, 24, FP16),
    "np2_fp32": Known(8, 16, FP32, caveats=(NO_COMPUTE, HIDDEN, LOST)),
    "np2_fp32_marks": Known(8, 13, FP32),
    "np2_fp32_nocache": Known(8, 9, FP32, (0, 1), 1.0, caveats=(NO_COMPUTE, HEARD)),
    "np2_fp32_nofuse": Known(8, 48, FP32),
    "np2_fp32_torchprof": Known(8, 13, FP32),
    "np2_hang_snapshot": Known(1, 6, None, caveats=(NO_COMPUTE, HUNG)),
    "np2_sigkill1": Known(6, 10, FP32, caveats=(NO_COMPUTE, HIDDEN, LOST)),
    "np2_torchprof": Known(3, 4, FP32, (0, 1), 1.0, caveats=(JOINED, UNTOLD)),
    "np4_fp32": Known(6, 9, FP32),
    "np4_slow2_nocache": Known(6, 6, FP32, (0, 1, 2, 3), 1.0, 2, (NO_COMPUTE, HEARD)),
    "tf_fp32": Known(4, 5, TF, (0, 1), 1.0, caveats=(JOINED, UNTOLD)),
}


def of(foreign_traces: Path, name: str) -> RunReport:
    """The report on one of them: a timeline alone, or a timeline with the profiles of its ranks."""
    folder = foreign_traces / "horovod"
    paths = {
        "np2_torchprof": [folder / "np2_torchprof", folder / "np2_fp32_torchprof.json"],
        "tf_fp32": [folder / "tf_fp32"],
    }
    options = Options(engine="serial")
    if name == "np2_torchprof":  # the timeline lies beside the folder of the profiles, with ten of other runs
        (found,) = [run for run in analyze([folder], options=options).runs if run.info.name == name]
        return found
    (run,) = analyze(paths.get(name, [folder / f"{name}.json"]), options=options).runs
    return run


def first_rank(foreign_traces: Path, name: str) -> Trace:
    """The trace of rank 0."""
    folder = foreign_traces / "horovod"
    alone = folder / f"{name}.json"
    found = find_runs([alone if alone.exists() else folder])
    return read_rank(next(run for run in found if run.info.name.startswith(name)).ranks[0])


@pytest.mark.parametrize("name", KNOWN)
def test_the_report_says_what_is_known(foreign_traces: Path, name: str) -> None:
    if name == "tf_fp32":
        pytest.importorskip("google.protobuf", reason="XPlane needs protobuf")
    run, known = of(foreign_traces, name), KNOWN[name]
    values = {metric.id: metric for section in run.sections for metric in section.metrics}
    tables = {table: content for section in run.sections for table, content in section.tables.items()}
    assert run.ranks_read == known.ranks
    assert sum(step >= 0 for step in collectives(first_rank(foreign_traces, name))["step"]) == known.operations
    if known.bytes is None:
        assert "collectives.bytes" not in values
    else:
        assert values["collectives.bytes"].value == known.bytes
        assert len(tables["steps"]) == known.steps
    matched = values.get("collectives.matched_share")
    assert (matched.value if matched else None) == known.matched
    headline = next(section.headline for section in run.sections if section.name == "collectives")
    assert ("came last in" in headline) == (known.late is not None)
    if known.late is not None:
        assert f"rank {known.late} came last in" in headline
    assert [caveat for caveat in known.caveats if not any(caveat in said for said in run.caveats)] == []
