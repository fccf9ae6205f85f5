"""What a Horovod timeline does not say, or says in part only, one sentence each; what a reader must know first comes first."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from scaleprof.readers.horovod.fusion import Groups, latest_before
from scaleprof.readers.horovod.timeline import Timeline
from scaleprof.remote import AnyPath
from scaleprof.trace import UNKNOWN

_FEW_TENSORS = 3
_MANY_RANKS = 8


def caveats_of(timeline: Timeline, groups: Groups, path: AnyPath) -> Iterator[str]:
    """The sentences about one file."""
    ticks, negotiations = timeline.ticks, timeline.negotiations
    negotiation = latest_before(ticks.tensor, ticks.begun, negotiations.tensor, negotiations.begun)
    yield from about_the_end(timeline)
    yield from _about_losses(timeline, path)
    yield (
        "a Horovod timeline is what rank 0 saw of the communication: compute, idle time and what of the communication they hide are not in it"
    )
    if len(groups.rounds.start):
        yield "the timeline marks no steps: a step here is one round of the same tensors, from its first announcement to that of the next round"
    else:
        yield "the timeline marks no steps, and no tensor comes twice: it is taken as one step"
    ranks = len(np.unique(ticks.rank))
    if ranks:
        yield f"the world size is not in the timeline: {_many(ranks, 'rank')} announced tensors and {'is' if ranks == 1 else 'are'} taken to be all"
    else:
        yield "the world size is not in the timeline, and no rank announced a tensor by name: it stands as 1"
    unknown = Counter(op for op, size in zip(groups.op, groups.bytes.tolist(), strict=True) if size == UNKNOWN)
    if unknown:
        ops = ", ".join(f"{count:,} {op}" for op, count in unknown.most_common())
        yield f"the sizes of {unknown.total():,} of {len(groups):,} operations are not in the timeline ({ops})"
    agreed = np.flatnonzero(~negotiations.open)
    told = int(np.isin(agreed, negotiation).sum())
    if told < len(agreed):
        yield (
            f"which rank came last is recorded for {told:,} of {len(agreed):,} negotiations: the response cache hides it for the others, "
            "with HOROVOD_CACHE_CAPACITY=0 all have it"
        )


def about_the_end(timeline: Timeline) -> Iterator[str]:
    """For whom the job waited when the file ended, and what was open."""
    ticks, negotiations, operations = timeline.ticks, timeline.negotiations, timeline.operations
    ranks = ticks.rank
    negotiation = latest_before(ticks.tensor, ticks.begun, negotiations.tensor, negotiations.begun)
    still = (negotiation >= 0) & np.append(negotiations.open, False)[negotiation]
    heard: dict[int, set[int]] = {}
    for one, rank in zip(negotiation[still].tolist(), ranks[still].tolist(), strict=True):
        heard.setdefault(one, set()).add(rank)
    everyone = set(ranks.tolist())
    of_tensors = list(heard.values())
    # A rank may have announced one tensor and not yet the next: who announced none of them is the one to look at.
    absent = everyone.difference(*of_tensors) or everyone - everyone.intersection(*of_tensors)
    if heard and absent:
        there = f", as {_ranks(everyone - absent)} had" if everyone - absent else ""
        yield (
            f"when the timeline ended, {_many(len(heard), 'tensor')} waited for {_ranks(absent)}, which had not announced "
            f"{'it' if len(heard) == 1 else 'them'}{there}: if the job hung, look there"
        )
    for what, spans in (("operations", operations), ("negotiations", negotiations)):
        tensors = [timeline.tensors[tensor] for tensor in spans.tensor[spans.open].tolist()]
        if tensors:
            some = _listed(tensors, _FEW_TENSORS)
            yield f"the {what} of {_many(len(tensors), 'tensor')} ({some}) were open when the timeline ended: they are closed there"


def _about_losses(timeline: Timeline, path: AnyPath) -> Iterator[str]:
    if timeline.cut_off:
        yield f"{path.name} is cut off inside an event: what came later is missing"
    if lost := timeline.counts["events_lost"]:
        yield f"{_many(lost, 'event')} could not be decoded and were left out"
    if alone := timeline.counts["activities_without_operation"]:
        yield f"{alone:,} activities stand in no operation and were left out: the timeline began inside theirs"
    if not timeline.anchored:
        yield "the timeline does not say when it started: its times count from an unknown origin"


def _ranks(ranks: set[int]) -> str:
    return ("rank " if len(ranks) == 1 else "ranks ") + _listed(sorted(ranks), _MANY_RANKS)


def _listed(items: Sequence[object], most: int) -> str:
    return ", ".join(str(item) for item in items[:most]) + (", ..." if len(items) > most else "")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
