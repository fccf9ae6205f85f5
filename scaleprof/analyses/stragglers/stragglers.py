"""Who makes the others wait, what that costs, whether it is chance, and why they come late (`method` 2.5)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.align.matching import SYNCHRONISING
from scaleprof.analyses.account.time import NEEDS as TIME_NEEDS
from scaleprof.analyses.account.time import leaves_of
from scaleprof.analyses.account.work import work
from scaleprof.analyses.base import Analysis, listed, many, percent, severity_of
from scaleprof.analyses.communication.exchange import MOST_DISAGREEING
from scaleprof.analyses.remedies import REMEDIES
from scaleprof.analyses.stragglers.arrivals import arrivals
from scaleprof.analyses.stragglers.delays import Delays, Seen
from scaleprof.analyses.stragglers.lateness import COVERAGE, Lateness, causes_of
from scaleprof.columns import coded_of, is_one_of
from scaleprof.intervals import Ints, Spans, covered, union
from scaleprof.models.blame import Blame, Blaming, heaped, persistent
from scaleprof.models.blame import delays as delays_of
from scaleprof.results import Axis, Chart, Finding, Layer, Metric, Result, Table
from scaleprof.trace import UNKNOWN

TWICE = 2.0
"""A rank is named a straggler only where it costs more than so many fair shares of all waiting; of few ranks, which have large shares each, more than
half way from the fair share to all of it."""
WORTH = 0.01
"""Share of the time of all other ranks that a straggler must cost to be named."""
FEWEST_STEPS = 3
"""The collectives of a step depend on one another, so that each step is one sample of who comes last."""


@dataclass(frozen=True)
class Straggler:
    """One rank that came last somewhere."""

    rank: int
    last: int
    """In how many steps it came last in the costliest collective that it took part in."""
    chance: float | None
    """How likely that is if all ranks are alike; None where that is likely enough."""
    cost_share: float
    """Of the time of all ranks: by how much waiting for it put off the others."""
    gain_share: float
    """Of the step: a ceiling of what it would save if this rank came with the next to last."""
    is_named: bool


def conclude(view: RunView, options: None) -> Result | None:
    """Cost by rank, the test for persistence, and causes."""
    leaves = leaves_of(view)
    if leaves is None or len(view.ranks) < 2:
        return None
    steps = np.unique(leaves.rows["step"])
    seen, blame = seen_in(view, steps)
    if not len(seen.step):
        return None
    delays = Delays(view, seen, blame)
    total = leaves.window_ns
    found = stragglers_of(seen, rooted(blame, delays), total, len(view.ranks))
    named = [one for one in found if one.is_named]
    asked = dict.fromkeys(one.rank for one in (*named, *found[:_MOST_RANKS]))
    causes = {rank: causes_of(view, seen, blame, delays, rank) for rank in asked}
    trusted = view.exchange.disagreeing is None or view.exchange.disagreeing <= MOST_DISAGREEING
    waited = int(blame.cost_ns.sum()) / total
    headline = _headline(named, causes, waited, _samples(seen), trusted=trusted)
    metrics = [
        Metric(
            "straggler.wait_share",
            "Waiting for a last rank",
            waited,
            "share",
            note="by how much waiting put the ranks off, of the time of all; hidden waiting counts where it puts off what follows",
            better="lower",
        )
    ]
    if named:
        worst = named[0]
        metrics += [
            Metric("straggler.rank", "Straggler", worst.rank, note=f"came last in {worst.last} of {_samples(seen)} steps"),
            Metric("straggler.cost_share", "What it costs", worst.cost_share, "share", note="of the time of all ranks", better="lower"),
            Metric("straggler.gain_share", "What curing it could save", worst.gain_share, "share", note="of the step, at most"),
            Metric("straggler.cause", "Why", cause_in_words(causes[worst.rank], trusted=trusted)),
        ]  # fmt: skip
    return Result(
        name="stragglers",
        title="Stragglers",
        headline=headline,
        metrics=tuple(metrics),
        tables={"stragglers": _table(view, found, causes, trusted=trusted)},
        charts=(_chart(found, headline),) if found else (),
        findings=tuple(_finding(view, one, causes[one.rank], steps, trusted=trusted) for one in named[:_MOST_FINDINGS]),
        caveats=tuple(_caveats(view, named, causes, trusted=trusted)),
    )


_MOST_RANKS, _MOST_FINDINGS = 8, 3
_MOST_ROOTED = 2_000
_UNKNOWN_CAUSE = "not established"


def named_stragglers(view: RunView) -> list[int]:
    """The ranks that the section names, the costliest first."""
    leaves = leaves_of(view)
    if leaves is None or len(view.ranks) < 2:
        return []
    seen, blame = seen_in(view, np.unique(leaves.rows["step"]))
    if not len(seen.step):
        return []
    found = stragglers_of(seen, rooted(blame, Delays(view, seen, blame)), leaves.window_ns, len(view.ranks))
    return [one.rank for one in found if one.is_named]


def seen_in(view: RunView, steps: Ints) -> tuple[Seen, Blame]:
    """The split collectives of these steps, and who came last in each; rank by rank, so that what is known of operations is all that is kept."""
    matching, count = view.matching, len(view.matching.groups)
    of_row: dict[int, NDArray[np.int32]] = {}
    step_of, blaming = np.full(count, UNKNOWN), Blaming(count)
    put_off_ns: dict[int, Ints] = {}
    for rank, operations in view.fact("collectives").items():
        number, step, wait = matching.of_row[rank], np.asarray(operations["step"]), view.exchange.wait_ns[rank]
        keep = (number != UNKNOWN) & (wait != UNKNOWN) & np.isin(step, steps)
        keep &= is_one_of(operations, (*SYNCHRONISING, "unknown"))
        mine = number[keep]
        cost = put_off(view, rank)[keep]
        blaming.see(rank, mine, wait[keep], cost)
        put_off_ns[rank] = np.zeros(len(steps), dtype=np.int64)
        np.add.at(put_off_ns[rank], np.searchsorted(steps, step[keep]), cost)
        fresh = step_of[mine] == UNKNOWN
        step_of[mine[fresh]] = step[keep][fresh]
        of_row[rank] = np.where(keep, number, UNKNOWN).astype(np.int32)
    seen = np.flatnonzero(blaming.count)
    new = np.full(count + 1, UNKNOWN, dtype=np.int32)
    new[seen] = np.arange(len(seen))
    groups, blame = [matching.groups[number] for number in seen.tolist()], blaming.blame
    members = {id(group): tuple(sorted(group.ranks)) for group in groups}
    return Seen(
        {rank: new[of] for rank, of in of_row.items()},
        step_of[seen],
        tuple(group.name for group in groups),
        np.array([len(group.ranks) for group in groups], dtype=np.int64),
        tuple(members[id(group)] for group in groups),
        blaming.count[seen],
        steps,
        put_off_ns,
    ), Blame(blame.last[seen], blame.cost_ns[seen], blame.gain_ns[seen])


def put_off(view: RunView, rank: int) -> Ints:
    """For each operation of a rank by how much its waiting put off the rank, in ns: that of a burst, shared out by waiting."""
    operations, ready = view.fact("collectives")[rank], view.fact("arrivals").get(rank)
    segments = view.fact("segments").get(rank)
    start, dur = np.asarray(operations["start_ns"]), np.asarray(operations["dur_ns"])
    transfer, wait = view.exchange.transfer_ns[rank], view.exchange.wait_ns[rank]
    cost = np.zeros(len(start), dtype=np.int64)
    synchronises = is_one_of(operations, (*SYNCHRONISING, "unknown"))
    rows = np.flatnonzero((transfer != UNKNOWN) & synchronises)
    if ready is None or segments is None or not len(segments) or not len(rows):
        return cost
    lanes = _lanes(operations, rows)
    rows = rows[np.lexsort((start[rows], lanes))]
    lane = np.sort(lanes)
    end, ready_ns = start[rows] + dur[rows], np.asarray(ready["ready_ns"])[rows]
    alone = np.ones(len(rows), dtype=np.bool_)
    alone[1:] = (lane[1:] != lane[:-1]) | (ready_ns[1:] > end[:-1])
    burst = np.cumsum(alone) - 1
    first = np.flatnonzero(alone)
    last = np.append(first[1:], len(rows)) - 1
    bare = union(Spans(np.asarray(segments["start_ns"]), np.asarray(segments["end_ns"])))
    exposed = covered(bare, Spans(start[rows][first], end[last]))
    delay = delays_of(burst, ready_ns, transfer[rows], end, exposed)
    waited = np.add.reduceat(wait[rows], first)
    share = wait[rows] / np.maximum(waited, 1)[burst]
    cost[rows] = (share * np.minimum(delay, waited)[burst]).astype(np.int64)
    return cost


def _lanes(operations: Table, rows: Ints) -> Ints:
    """A number for what the operations of a rank queue up in: a stream of a device, else a group (gloo's threads take turns)."""
    on_device = np.asarray(operations["on_device"])[rows]
    groups, group = coded_of(operations, "group")
    stream = np.unique(np.asarray(operations["stream"])[rows], return_inverse=True)[1]
    lanes: Ints = np.where(on_device, len(groups) + stream, group[rows])
    return np.unique(lanes, return_inverse=True)[1]


def rooted(blame: Blame, delays: Delays) -> Blame:
    """The blame of the costliest operations passed back to those for whom their last ranks waited themselves."""
    last = blame.last.copy()
    worst = np.argsort(-blame.cost_ns, kind="stable")[:_MOST_ROOTED]
    for number in worst[blame.cost_ns[worst] > 0].tolist():
        last[number] = delays.root(number)
    return Blame(last, blame.cost_ns, blame.gain_ns)


def stragglers_of(seen: Seen, blame: Blame, total_ns: int, ranks: int) -> list[Straggler]:
    """Every rank that others waited for, the costliest first.

    Collectives of one step depend on one another: the costliest one that a rank took part in is its sample of the step.
    """
    operation, rank_of = _sampled(seen, blame)
    often = Counter(rank_of[blame.last[operation] == rank_of].tolist())
    chance = 1 / seen.size[operation]
    chances_of = {rank: chance[rank_of == rank].tolist() for rank in np.unique(rank_of).tolist()}
    chances = persistent(often, chances_of, heaped=_heaped(seen, blame, list(chances_of)))
    waited = int(blame.cost_ns.sum())
    fair = waited / max(ranks, 1)
    much = min(TWICE * fair, (waited + fair) / 2)
    steps = len(np.unique(seen.step))
    found = []
    for rank in np.unique(blame.last[blame.last >= 0]).tolist():
        mine = blame.last == rank
        cost = int(blame.cost_ns[mine].sum())
        step_ns = total_ns / (steps * max(ranks, 1))
        gain_share = min(_gain_ns(seen, blame, rank) / steps / step_ns, 1.0)
        # A rank that makes all others wait for 1 % of the step costs less than 1 % of the time of all: it does not wait itself.
        worth = cost * ranks >= WORTH * total_ns * (ranks - 1)
        named = rank in chances and cost > much and worth
        found.append(Straggler(rank, often[rank], chances.get(rank), cost / total_ns, gain_share, named))
    return sorted(found, key=lambda one: (-one.cost_share, one.rank))


def _gain_ns(seen: Seen, blame: Blame, rank: int) -> int:
    """What the steps would save, at most, if a rank were never last.

    It keeps several groups waiting at once: in each step the one counts that would gain most. Ranks that go from step to step together all save the
    same, so none of them more than waiting put them off in the mean.
    """
    mine = blame.last == rank
    group = np.unique(np.array(seen.group, dtype=object)[mine].astype(str), return_inverse=True)[1]
    numbers, step = np.unique(seen.step[mine], return_inverse=True)
    gains = np.zeros((int(step.max()) + 1, int(group.max()) + 1), dtype=np.int64)
    np.add.at(gains, (step, group), blame.gain_ns[mine])
    others = np.array([of_rank for one, of_rank in seen.put_off_ns.items() if one != rank])[
        :, np.searchsorted(seen.steps, numbers)
    ]
    most = others.sum(axis=0) / np.maximum((others > 0).sum(axis=0), 1)
    return int(np.minimum(gains.max(axis=1), most).sum())


def _heaped(seen: Seen, blame: Blame, ranks: Sequence[int]) -> dict[int, float]:
    """By rank how likely it is that so much of the cost heaps up on it."""
    known = np.flatnonzero(np.isin(blame.last, ranks))
    place = {rank: number for number, rank in enumerate(ranks)}
    steps, step = np.unique(seen.step, return_inverse=True)
    cost = np.zeros((len(ranks), len(steps)))
    at = np.array([place[rank] for rank in blame.last[known].tolist()], dtype=np.int64)
    np.add.at(cost, (at, step[known]), blame.cost_ns[known])
    return dict(zip(ranks, heaped(cost).tolist(), strict=True))


def _sampled(seen: Seen, blame: Blame) -> tuple[Ints, Ints]:
    """For each rank and step the costliest operation that it took part in: operations, and the ranks."""
    found = []
    for rank, of_row in seen.of_row.items():
        mine = np.unique(of_row[of_row != UNKNOWN])
        step = seen.step[mine]
        mine = mine[np.lexsort((-blame.cost_ns[mine], step))]
        found.append((mine[np.unique(seen.step[mine], return_index=True)[1]], rank))
    nothing = np.zeros(0, dtype=np.int64)
    return (
        np.concatenate([nothing, *(mine for mine, _ in found)]),
        np.concatenate([nothing, *(np.full(len(mine), rank) for mine, rank in found)]),
    )


def _samples(seen: Seen) -> int:
    return len(np.unique(seen.step))


def cause_in_words(lateness: Lateness, *, trusted: bool) -> str:
    """The cause, or that none is established."""
    if not trusted:
        return f"{_UNKNOWN_CAUSE}: the clocks contradict the durations"
    if lateness.cause is None or lateness.share < COVERAGE:
        return _UNKNOWN_CAUSE
    return lateness.words


def _headline(
    named: Sequence[Straggler], causes: Mapping[int, Lateness], waited: float, steps: int, *, trusted: bool
) -> str:
    if not named:
        if waited < WORTH:
            return f"No rank makes the others wait: {percent(waited)} of the time"
        if steps < FEWEST_STEPS:
            return f"{percent(waited)} of the time is waiting for a last rank; {many(steps, 'step')} cannot tell a straggler from chance"
        return (
            f"{percent(waited)} of the time is waiting for a last rank, but no rank is it more often than chance has it"
        )
    worst = named[0]
    why = cause_in_words(causes[worst.rank], trusted=trusted)
    also = f", and {many(len(named) - 1, 'more straggler')}" if len(named) > 1 else ""
    return f"Rank {worst.rank} makes the others wait for {percent(worst.cost_share)} of the time of all ranks; cause: {why}{also}"


def _table(view: RunView, found: Sequence[Straggler], causes: Mapping[int, Lateness], *, trusted: bool) -> Table:
    rows = []
    for one in found:
        lateness = causes.get(one.rank)
        said = cause_in_words(lateness, trusted=trusted) if lateness is not None else ""
        shares = (
            ", ".join(f"{name} {percent(share)}" for name, share in lateness.shares.items())
            if lateness is not None
            else ""
        )
        host = view.ranks[one.rank].host if one.rank in view.ranks else None
        rows.append(
            [one.rank, host or "", one.last, one.chance, one.cost_share, one.gain_share, one.is_named, said, shares]
        )
    names = ("rank", "host", "times_last", "chance", "cost_share", "gain_share", "straggler", "cause", "delay_by_doing")
    return Table.of_rows(names, rows)


def _chart(found: Sequence[Straggler], title: str) -> Chart:
    shown = found[:32]
    return Chart(
        id="stragglers.cost",
        kind="bars",
        title=title,
        subtitle="By how much the rank that came last put off the others, as a share of the time of all ranks.",
        x=Axis("rank", scale="category"),
        y=Axis("share of all ranks' time", "share", from_zero=True),
        layers=(
            Layer(
                "waited for",
                [f"rank {one.rank}" for one in shown],
                [one.cost_share for one in shown],
                color="exposed_wait",
            ),
        ),
        how="In each collective the rank with the shortest duration came last. What the others waited put off the end of their queue of collectives, "
        "as far as nothing hid it: that is its cost. A rank is named where it came last more often than chance allows (binomial over "
        "steps, or as much cost on one rank; Benjamini-Hochberg at 1 %), costs more than twice its fair share, and the others at least 1 % of "
        "their time. The cause: what it did more of than the others since they last set out together.",
    )


def _finding(view: RunView, one: Straggler, lateness: Lateness, steps: Ints, *, trusted: bool) -> Finding:
    why = cause_in_words(lateness, trusted=trusted)
    host = view.ranks[one.rank].host if one.rank in view.ranks else None
    return Finding(
        id="straggler",
        title=f"Rank {one.rank} is a straggler",
        severity=severity_of(one.gain_share),
        text=f"The other ranks wait for it for {percent(one.cost_share)} of the time of all ranks. Cause: {why}.",
        evidence=f"rank {one.rank}{f' on {host}' if host else ''} came last {one.last} times in steps {listed(steps.tolist())}"
        + (f" (chance: {one.chance:.1g})" if one.chance is not None else ""),
        gain_share=one.gain_share,
        gain_kind="ceiling",
        remedy=REMEDIES["late"] if why.startswith(_UNKNOWN_CAUSE) else lateness.remedy,
        see="stragglers",
        rank=one.rank,
    )


def _caveats(view: RunView, named: Sequence[Straggler], causes: Mapping[int, Lateness], *, trusted: bool) -> list[str]:
    caveats = []
    for one in named:
        lateness = causes.get(one.rank)
        if lateness is not None and trusted and lateness.share < COVERAGE:
            caveats.append(
                f"rank {one.rank}: no cause explains {percent(COVERAGE)} of what it costs; the nearest is {lateness.words or 'unknown'} "
                f"with {percent(lateness.share)}"
            )
    return caveats


STRAGGLERS = Analysis("stragglers", {**TIME_NEEDS, "arrivals": arrivals, "work": work}, conclude)
