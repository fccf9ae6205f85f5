"""Which run of one side stands beside which of the other, and the first page of a comparison of several."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from scaleprof.analyses.base import many, percent, some
from scaleprof.analyses.changes.changes import NOTHING, Change, Pair
from scaleprof.analyses.changes.comparable import comparable
from scaleprof.analyses.changes.rows import is_enough, step_times
from scaleprof.errors import NotComparable
from scaleprof.models.statistics import FEWEST_FOR_INTERVAL
from scaleprof.results import Axis, Chart, Layer, Result, RunReport, Table, Variant
from scaleprof.run import RunInfo, replicas_of

MOST_NAMED = 4
MOST_TILES = 6
"""Numbers of the first page; the section on the pair has all."""
_Key = tuple[object, ...]


@dataclass(frozen=True)
class Pairs:
    """What is compared, and what is not."""

    pairs: tuple[Pair, ...]
    refused: tuple[str, ...]
    """Sentences on what would be compared if it could be: pairs that differ in too much, runs with too few steps."""
    alone: tuple[str, ...]
    """Sentences on the runs of one side that have no partner, or whose repeats stand for them."""


def paired(
    base: Sequence[RunReport], new: Sequence[RunReport], *, across: Collection[str] = (), anyway: bool = False
) -> Pairs:
    """Runs of the same series, strategy, size and batch, each configuration with its repeats; where each side has one, these two.

    NotComparable, with every reason, where nothing can be compared.
    """
    sides = []
    short: list[tuple[RunReport, str]] = []
    for name, runs in (("BASE", base), ("NEW", new)):
        timed = [run for run in runs if is_enough(step_times(run))]
        few = [run for run in runs if not is_enough(step_times(run))]
        short += [(run, f"{run.label} of {name} has {_too_few(run)}") for run in few]
        if not timed:
            why = some([said for _, said in short[-len(runs) :]], most=MOST_NAMED) if runs else "it holds no run"
            raise NotComparable(f"{name} cannot be compared: {why}")
        sides.append(_configurations(timed, across))
    ours, theirs = sides
    matched = list(_matched(ours, theirs, across))
    found, refused = [], []
    for before, after in matched:
        judged = comparable(before[0].info, after[0].info, across=across, anyway=anyway)
        if judged.refusals:
            refused.append(f"{_named(before, after)}: different in {'; '.join(judged.refusals)}")
        else:
            found.append(Pair(tuple(before), tuple(after), judged))
    used = {id(run) for before, after in matched for run in (*before, *after)}
    alone = [
        f"{runs[0].label} is in {name} alone"
        for name, side in (("BASE", ours), ("NEW", theirs))
        for runs in side.values()
        if id(runs[0]) not in used
    ]
    said = [words for _, words in short]
    if not found:
        raise NotComparable("nothing can be compared: " + "; ".join([*refused, *said, *alone][:MOST_NAMED]))
    keys = {_key(run.info, across) for pair in found for run in (*pair.base, *pair.new)}
    alone += [words for run, words in short if _key(run.info, across) in keys]  # other repeats stand for it
    refused += [words for run, words in short if _key(run.info, across) not in keys]
    return Pairs(tuple(found), tuple(refused), tuple(alone))


def _too_few(run: RunReport) -> str:
    return f"{many(len(step_times(run)), 'steady step')}: too few to be compared ({FEWEST_FOR_INTERVAL} are needed)"


def _named(before: Sequence[RunReport], after: Sequence[RunReport]) -> str:
    return before[0].label if before[0].label == after[0].label else f"{before[0].label} and {after[0].label}"


def _key(info: RunInfo, across: Collection[str]) -> _Key:
    replicas = replicas_of(info)
    batch = info.global_batch or (round(info.local_batch * replicas, 6) if info.local_batch and replicas else None)
    parts = {
        "series": info.series,
        "strategy": info.strategy,
        "ranks": info.world_size,
        "batch": None if "ranks" in across else batch,
        "model": info.model,
        "precision": info.precision,
    }
    return tuple(None if name in across else part for name, part in parts.items())


def _configurations(runs: Sequence[RunReport], across: Collection[str]) -> dict[_Key, list[RunReport]]:
    """Runs by configuration: those of one are repeats of one another."""
    found: dict[_Key, list[RunReport]] = {}
    for run in runs:
        found.setdefault(_key(run.info, across), []).append(run)
    return found


def _matched(
    ours: dict[_Key, list[RunReport]], theirs: dict[_Key, list[RunReport]], across: Collection[str]
) -> Iterator[tuple[list[RunReport], list[RunReport]]]:
    """The configurations of both sides; then those that differ in the name of the series alone, if that is unambiguous."""
    if len(ours) == len(theirs) == 1:
        yield next(iter(ours.values())), next(iter(theirs.values()))
        return
    left, right = dict(ours), dict(theirs)
    for key in [key for key in left if key in right]:
        yield left.pop(key), right.pop(key)
    for key in list(left):
        others = [other for other in right if other[1:] == key[1:]]
        if len(others) == 1 and sum(1 for one in left if one[1:] == key[1:]) == 1:
            yield left.pop(key), right.pop(others[0])


def run_of(change: Change) -> RunReport:
    """A pair as a report shows it, in place of a run."""
    before, after = change.pair.base[0].info, change.pair.new[0].info
    name = after.name if before.name == after.name else f"{before.name} \N{RIGHTWARDS ARROW} {after.name}"
    emulated, synthetic = after.emulated or before.emulated, after.synthetic or before.synthetic
    info = replace(after, name=name, repeat=0, emulated=emulated, synthetic=synthetic)
    return RunReport(info, change.pair.new[0].ranks_read, change.sections)


def overview_of(changes: Sequence[Change], alone: Sequence[str], labels: Sequence[str]) -> Result:
    """The verdict, and with several pairs where each of them stands."""
    if len(changes) == 1:
        words, opening = changes[0].words, changes[0].sections[0]
        opening = replace(opening, name="overview", title="Overview", headline=f"{words}.", charts=opening.charts[:1])
        return replace(opening, metrics=opening.metrics[:MOST_TILES], tables={}, caveats=tuple(alone))
    most = max(changes, key=_telling)
    place = [one is most for one in changes].index(True)
    variants = [
        Variant(_selected(one.sections[0], f"{label}: {one.words}."), run=number)
        for number, (one, label) in enumerate(zip(changes, labels, strict=True))
    ]
    return Result(
        name="overview",
        title="Overview",
        headline=_verdict(changes, most, labels[place]),
        metrics=most.sections[0].metrics[:MOST_TILES],
        tables={"change_by_pair": _table(changes, labels)},
        charts=(_chart(changes, labels),),
        caveats=tuple(alone),
        variants=tuple(variants),
    )


def _selected(opening: Result, headline: str) -> Result:
    shown = replace(opening, name="overview", headline=headline, metrics=opening.metrics[:MOST_TILES])
    return replace(shown, tables={}, caveats=())


def _telling(change: Change) -> tuple[bool, float]:
    return change.verdict in ("slower", "faster"), abs(change.contrast.ratio.value)


def _verdict(changes: Sequence[Change], most: Change, label: str) -> str:
    words = {"slower": "slower", "faster": "faster", "same": "without a change", "inconclusive": "inconclusive"}
    counts = {word: sum(1 for one in changes if one.verdict == verdict) for verdict, word in words.items()}
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    if not _telling(most)[0]:
        return f"Of {len(changes)} pairs {said}: none is shown to have changed."
    return f"Of {len(changes)} pairs {said}. {label}: {most.words}."


def _table(changes: Sequence[Change], labels: Sequence[str]) -> Table:
    columns = (
        "pair", "verdict", "base_ms", "new_ms", "change_share", "change_low_share", "change_high_share", "p", "base_samples", "new_samples", "mostly",
    )  # fmt: skip
    rows = [
        [
            label, one.verdict, one.contrast.base, one.contrast.new,
            one.contrast.ratio.value, one.contrast.ratio.low, one.contrast.ratio.high, one.contrast.p, *one.contrast.samples,
            one.cause.words if one.cause and one.verdict in ("slower", "faster") else "",
        ]
        for label, one in zip(labels, changes, strict=True)
    ]  # fmt: skip
    return Table.of_rows(columns, rows)


def _chart(changes: Sequence[Change], labels: Sequence[str]) -> Chart:
    values = [one.contrast.ratio for one in changes]
    worst = max(range(len(values)), key=lambda place: abs(values[place].value))
    word = "slower" if values[worst].value > 0 else "faster"
    doubt = ", which is inconclusive" if changes[worst].verdict == "inconclusive" else ""
    title = f"{labels[worst]} changes most: {percent(abs(values[worst].value))} {word}{doubt}"
    return Chart(
        id="change.pairs",
        kind="bars",
        title=title if abs(values[worst].value) >= NOTHING else "No pair changes",
        subtitle="Step time of NEW against BASE, below zero is faster; the table below has the intervals.",
        x=Axis("", scale="category"),
        y=Axis("change of the step time", "share", from_zero=True),
        layers=(
            Layer(
                "change", list(labels), [one.value for one in values],
                [one.low if one.low is not None else one.value for one in values],
                [one.high if one.high is not None else one.value for one in values],
                color="series-1",
            ),
        ),
        how="Mean step time of NEW over that of BASE, less 1. Intervals from a moving-block bootstrap, or from repeats where there are any. Each "
        "pair is judged by itself: of twenty pairs without any change, one may look changed.",
    )  # fmt: skip
