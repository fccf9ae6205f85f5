"""Reports on runs that lack something: concluded by every analysis from traces made by hand, or from recordings."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import scaleprof
from scaleprof.align import RankFacts, align
from scaleprof.analyses import ANALYSES
from scaleprof.results import Report, RunReport
from scaleprof.run import RunInfo
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from scaleprof.trace import Kind
from tests.making import HOST, Event, Made, make_trace, regular_job

MS = 1_000_000
PATTERNS = 16
"""Of a made job of many ranks so many differ; the others repeat them."""
SAMPLES = Path(__file__).parents[2] / "sample_traces"


def made_run(ranks: int, steps: int) -> RunReport:
    """A job whose ranks compute, then block, concluded from facts: no file of it is written or read."""
    patterns = [
        regular_job(1, step=100 * MS, compute=(70 + place) * MS, blocked=(25 - place) * MS, samples=64.0, steps=steps)
        for place in range(min(PATTERNS, ranks))
    ]
    return _concluded([made for [made] in patterns], ranks)


def _concluded(patterns: list[Made], ranks: int) -> RunReport:
    traces = [make_trace(one) for one in patterns]
    tables = [
        {fact: measure(one) for analysis in ANALYSES for fact, measure in analysis.needs.items()} for one in traces
    ]
    infos = [replace(traces[rank % len(traces)].info, rank=rank, world_size=ranks) for rank in range(ranks)]
    facts = {rank: RankFacts(info, tables[rank % len(tables)]) for rank, info in enumerate(infos)}
    info = RunInfo(name=f"made-{ranks}", world_size=ranks, synthetic=True)
    view = align(info, facts)
    results = [one.conclude(view, one.options() if one.options else None) for one in ANALYSES]
    return RunReport(info, tuple(view.ranks), tuple(result for result in results if result is not None))


def report_of(run: RunReport) -> Report:
    """A report on one run."""
    return Report(run.info.name, f"{run.info.name}: made for a test.", (run,))


def many_ranks() -> Report:
    """1,024 ranks."""
    return report_of(made_run(1_024, 12))


def no_steps() -> Report:
    """One rank that computes outside any step, and nothing else."""
    events = [Event(HOST, Kind.COMPUTE, start * MS, MS // 2, step=-1) for start in range(20)]
    return report_of(_concluded([Made(events=events)], 1))


def no_samples() -> Report:
    """Four ranks without hardware samples and without communication that anybody saw."""
    return report_of(made_run(4, 12))


def one_rank() -> Report:
    """One run of one rank, recorded."""
    return scaleprof.analyze(sorted(SAMPLES.glob("emulated-ddp-strong-n1-*")))


def no_communication() -> Report:
    """One process that never communicates, recorded."""
    return scaleprof.analyze(sorted(SAMPLES.glob("emulated-single-n1-*")))


def one_run() -> Report:
    """One run of four ranks, recorded."""
    return scaleprof.analyze(sorted(SAMPLES.glob("emulated-fsdp2-n4-*")))


def synthetic() -> Report:
    """A job of two hosts that never ran, its files written and read."""
    with TemporaryDirectory() as folder:
        return scaleprof.analyze([write_job(Spec(ranks=4, ranks_per_host=2, steps=8), Path(folder))])


ODD: dict[str, Callable[[], Report]] = {
    "one run": one_run,
    "one rank": one_rank,
    "no communication": no_communication,
    "no steps": no_steps,
    "no samples": no_samples,
    "1,024 ranks": many_ranks,
    "synthetic": synthetic,
}
