"""Which Horovod timeline belongs to which profiled ranks: one in their folder or above it, that ran at the same time as they did.

A timeline is written by rank 0 about all ranks, and says when it started in unix time, as torch.profiler and XPlane do: in a folder of many runs
their times tell which belong together. Where more than one could be meant, none is joined, and the timeline stays a run of its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaleprof.readers.base import FileFacts
from scaleprof.readers.finding.grouping import Found, foreign_run, missing_ranks
from scaleprof.readers.horovod.readiness import NEARLY_ALL
from scaleprof.readers.json_text.text import head_of, tail_of
from scaleprof.remote import AnyPath, is_below
from scaleprof.run import Run

TIMELINES = "horovod"
"""The reader of timelines alone."""
_JOINABLE = ("kineto", "xplane")
_HEAD_BYTES, _TAIL_BYTES = 1 << 20, 4 << 20
_BASE = re.compile(rb'"baseTimeNanoseconds"\s*:\s*([0-9]{1,19})')
_ANCHOR = re.compile(rb'"start_time_since_epoch_in_micros"\s*:\s*([0-9]{1,17})')
_TIMES = re.compile(rb'"ts"\s*:\s*"?([0-9]{1,17})')
_NEGOTIATIONS = re.compile(rb'"name"\s*:\s*"NEGOTIATE_')
_TICKS = re.compile(rb'"ph"\s*:\s*"X"')
_MOST_HEARD = 64
"""Ranks whose part is read from one timeline, each time the whole of it."""
_UNIX_US = 1e14
"""Times beyond this count from 1970, not from the start of a machine or a trace."""
_Span = tuple[float, float]


def with_timelines(runs: Sequence[Run], found: Sequence[Found]) -> list[Run]:
    """The runs, each timeline that belongs to profiled ranks joined to these."""
    runs = [_with_heard_ranks(run) for run in runs]
    timelines = [run for run in runs if all(files.reader == TIMELINES for files in run.ranks.values())]
    profiled = [run for run in runs if all(files.reader in _JOINABLE for files in run.ranks.values())]
    if not timelines or not profiled:
        return list(runs)
    facts = {one.facts.path: one.facts for one in found}
    spans: dict[int, _Span | None] = {id(run): _span_of_run(run, facts) for run in profiled}
    meant: dict[int, list[Run]] = {id(run): [] for run in profiled}
    for timeline in timelines:
        span = _span_of_timeline(timeline.ranks[0].traces[0])
        fits = [run for run in profiled if _is_below(run, timeline) and _overlap(span, spans[id(run)])]
        if len(fits) == 1:
            meant[id(fits[0])].append(timeline)
    taken: set[int] = set()
    joined: dict[int, Run] = {}
    for run in profiled:
        if len(meant[id(run)]) == 1:
            [timeline] = meant[id(run)]
            taken.add(id(timeline))
            joined[id(run)] = _joined(run, timeline)
    left = [joined.get(id(run), run) for run in runs if id(run) not in taken]
    return [_called_after_its_folder(run, left) if run.ranks[min(run.ranks)].timeline else run for run in left]


def named_run(name: str, found: Sequence[Found]) -> Run:
    """The run that the user says these files are; one timeline among them is that of its ranks, whatever the times say."""
    timelines = [one for one in found if one.reader == TIMELINES]
    others = [one for one in found if one.reader != TIMELINES]
    if len(timelines) != 1 or not others:
        return _with_heard_ranks(foreign_run(name, found))
    return _joined(foreign_run(name, others), foreign_run(name, timelines))


def _with_heard_ranks(run: Run) -> Run:
    """The run with every rank that a timeline speaks of, where it is one that speaks of all of them in nearly every negotiation."""
    if list(run.ranks) != [0] or run.ranks[0].reader != TIMELINES or not 1 < run.info.world_size <= _MOST_HEARD:
        return run
    head = head_of(run.ranks[0].traces[0], _HEAD_BYTES)
    wanted = len(_NEGOTIATIONS.findall(head)) * run.info.world_size
    if len(_TICKS.findall(head)) < NEARLY_ALL * wanted:
        return run
    ranks = {rank: replace(run.ranks[0], rank=rank) for rank in range(run.info.world_size)}
    missing = missing_ranks(run.ranks, run.info.world_size)
    return replace(run, ranks=ranks, caveats=tuple(caveat for caveat in run.caveats if caveat not in missing))


def _joined(run: Run, timeline: Run) -> Run:
    path = timeline.ranks[0].traces[0]
    ranks = {rank: replace(files, timeline=path) for rank, files in run.ranks.items()}
    world_size = max(run.info.world_size, timeline.info.world_size)
    info = replace(run.info, framework="horovod", world_size=world_size)
    kept = [caveat for caveat in run.caveats if caveat not in missing_ranks(run.ranks, run.info.world_size)]
    said = f"{path.name} was taken as the Horovod timeline of these ranks: it was written at the same time"
    return Run(run.path, info, ranks, (*kept, *missing_ranks(ranks, world_size), said))


def _called_after_its_folder(run: Run, runs: Sequence[Run]) -> Run:
    """The run without the number in its name that told it from the timeline, where nothing else is left in its folder."""
    name = run.path.resolve().name
    alone = sum(one.path == run.path for one in runs) == 1
    numbered = re.fullmatch(rf"{re.escape(name)}-\d+", run.info.name)
    return replace(run, info=replace(run.info, name=name)) if alone and numbered else run


def _is_below(run: Run, timeline: Run) -> bool:
    return is_below(run.path.resolve(), timeline.path.resolve())


def _overlap(one: _Span | None, other: _Span | None) -> bool:
    return one is not None and other is not None and max(one[0], other[0]) < min(one[1], other[1])


def _span_of_run(run: Run, facts: Mapping[AnyPath, FileFacts]) -> _Span | None:
    """From the first to the last time of its ranks, in us since 1970; None where one does not say."""
    spans = [_span_of_trace(path, facts.get(path)) for files in run.ranks.values() for path in files.traces[:1]]
    known = [span for span in spans if span is not None]
    if not known or len(known) < len(spans):
        return None
    return min(start for start, _ in known), max(end for _, end in known)


def _span_of_trace(path: AnyPath, facts: FileFacts | None) -> _Span | None:
    if facts is not None and facts.span_us is not None and facts.span_us[0] > _UNIX_US:
        return facts.whole_span_us()
    if not path.name.endswith((".json", ".json.gz")):
        return None
    head, tail = head_of(path, _HEAD_BYTES), tail_of(path, _TAIL_BYTES)
    base = _BASE.search(head) or _BASE.search(tail)
    return _span(head, tail, float(base[1]) / 1e3) if base else None


def _span_of_timeline(path: AnyPath) -> _Span | None:
    head = head_of(path, _HEAD_BYTES)
    anchor = _ANCHOR.search(head)
    return _span(head, tail_of(path, _TAIL_BYTES), float(anchor[1])) if anchor else None


def _span(head: bytes, tail: bytes, base_us: float) -> _Span | None:
    times = [float(time) for text in (head, tail) for time in _TIMES.findall(text)]
    return (base_us + min(times), base_us + max(times)) if times else None
