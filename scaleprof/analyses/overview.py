"""The first page: the verdict in one sentence, the numbers one asks for first, and what became of the machines (the losses)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import conclude as conclude_steps
from scaleprof.analyses.account.time import Leaves, leaves_of, spoken
from scaleprof.analyses.account.time import conclude as conclude_time
from scaleprof.analyses.base import LEAF_COLORS, MOST_IN_A_SENTENCE, Comparison, leaf_labels, many, percent
from scaleprof.analyses.scaling.series import find_series
from scaleprof.analyses.scaling.study import Scaled, ScalingOptions, scaled
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table, Variant


def conclude(views: Sequence[RunView], options: ScalingOptions) -> Result | None:
    """Verdict, tiles and losses: of the study with the largest judged size, else of the largest run."""
    if not views:
        return None
    studies = [scaled(series, options) for series in find_series(views)[0]] if len(views) > 1 else []
    judged = [study for study in studies if study.largest is not None]
    main = max(judged, key=_most_telling) if judged else None
    subject = main.largest.views[-1] if main and main.largest else max(views, key=_telling)
    leaves = leaves_of(subject)
    whole = _about(subject, leaves, main, judged)
    if main is None and len(views) > 1:
        missing = "no world size was found twice with the same work, so there is no scaling efficiency"
        whole = replace(whole, headline=_verdict_of_one(subject, leaves, len(views)), caveats=(missing,))
    variants = [Variant(_selected(view, studies), run=place) for place, view in enumerate(views)]
    return replace(whole, variants=tuple(variants) if len(views) > 1 else ())


def _about(subject: RunView, leaves: Leaves | None, main: Scaled | None, judged: Sequence[Scaled]) -> Result:
    """What is said of one run, and of the studies it is the largest of."""
    return Result(
        name="overview",
        title="Overview",
        headline=_verdict(subject, leaves, main, judged),
        metrics=tuple(_tiles(subject, main, judged)),
        tables={"losses": _losses_table(subject, leaves)} if leaves is not None else {},
        charts=(_losses(subject, leaves),) if leaves is not None else (),
    )


def _selected(view: RunView, studies: Sequence[Scaled]) -> Result:
    """The first page for one run: its studies end with its size, whatever larger ones there are."""
    ended = [
        replace(study, sizes=tuple(size for size in study.sizes if size.ranks <= view.info.world_size))
        for study in studies
        if any(view is one for size in study.sizes for one in size.views)
    ]
    judged = [study for study in ended if study.largest and study.largest.ranks == view.info.world_size]
    about = _about(view, leaves_of(view), judged[0] if judged else None, judged)
    return replace(about, headline=f"{view.info.name}: {about.headline}")


def _telling(view: RunView) -> tuple[bool, int]:
    """Among runs that do not scale one another the largest one with a time account speaks for itself."""
    return leaves_of(view) is not None, view.info.world_size


def _most_telling(study: Scaled) -> tuple[int, float]:
    largest = study.largest
    assert largest is not None and largest.efficiency is not None
    return largest.ranks, -largest.efficiency.value


def _verdict(subject: RunView, leaves: Leaves | None, main: Scaled | None, judged: Sequence[Scaled]) -> str:
    loss = ""
    if leaves is not None:
        labels = leaf_labels(leaves.by_leaf_ns)
        losses = {leaf: leaves.share(leaf) for leaf in labels if leaf != "compute"}
        worst = max(losses, key=lambda leaf: losses[leaf])
        if losses[worst] >= 0.01:
            loss = f"{spoken(labels[worst])} takes {percent(losses[worst])} of the step"
    if main is not None and main.largest is not None and main.largest.efficiency is not None:
        alike = [
            (study.largest.efficiency.value, study)
            for study in sorted(judged, key=lambda study: study is not main)
            if study.largest is not None
            and study.largest.efficiency is not None
            and study.largest.ranks == main.largest.ranks
        ]
        kept = " and ".join(f"{percent(value)} ({study.series.kind} scaling)" for value, study in alike)
        if len(alike) > MOST_IN_A_SENTENCE:
            (least, worst_of), (most, best_of) = min(alike, key=lambda one: one[0]), max(alike, key=lambda one: one[0])
            kept = f"{percent(least)} ({worst_of.series.label}) to {percent(most)} ({best_of.series.label})"
            loss = f"in {main.series.label} {loss}" if loss else loss
        sentence = f"{subject.info.model or 'The job'} keeps {kept} of perfect efficiency on {many(main.largest.ranks, 'rank')}"
        return f"{sentence}; {loss}." if loss else f"{sentence}, and no single loss takes 1 % of the step."
    size = f"On {_ranks_of(subject)}"
    if leaves is None:
        return f"{size}: nothing here says where the time goes."
    sentence = f"{size} {percent(leaves.share('compute'))} of the step is compute"
    return f"{sentence}; {loss}." if loss else f"{sentence}, and no single loss takes 1 % of it."


def _ranks_of(view: RunView) -> str:
    """`4 ranks`, `2 of 128 ranks`."""
    size = many(view.info.world_size, "rank")
    return size if len(view.ranks) >= view.info.world_size else f"{len(view.ranks)} of {size}"


def _verdict_of_one(subject: RunView, leaves: Leaves | None, runs: int) -> str:
    sentence = _verdict(subject, leaves, None, [])
    return f"{runs} runs that do not scale one another; the largest is {subject.info.name}: {sentence[0].lower()}{sentence[1:]}"


def _named_in_tiles(judged: Sequence[Scaled]) -> Sequence[Scaled]:
    """All series if they are few, else the least and the most efficient one."""
    if len(judged) <= MOST_IN_A_SENTENCE:
        return judged
    with_value = [
        (study.largest.efficiency.value, study) for study in judged if study.largest and study.largest.efficiency
    ]
    ends = (min(with_value, key=lambda one: one[0]), max(with_value, key=lambda one: one[0])) if with_value else ()
    return [study for _, study in ends]


def _tiles(subject: RunView, main: Scaled | None, judged: Sequence[Scaled]) -> list[Metric]:
    """The same numbers as in the sections, with the scope in the note."""
    scope = _ranks_of(subject)
    if main is not None:
        scope = f"{main.series.label}, {scope}"
    found: dict[str, Metric] = {}
    for section in (conclude_steps(subject, None), conclude_time(subject, None)):
        found |= {metric.id: metric for metric in (section.metrics if section else ())}
    tiles = []
    if "step.throughput" in found:
        trend = tuple(size.throughput.value for size in main.sizes) if main else ()
        tiles.append(replace(found["step.throughput"], note=scope, trend=trend))
    for study in _named_in_tiles(judged):
        if study.largest is not None and study.largest.efficiency is not None:
            value = study.largest.efficiency
            tiles.append(
                Metric(
                    f"scaling.{study.series.id}.efficiency",
                    f"Efficiency, {study.series.label}",
                    value.value,
                    "share",
                    value.low,
                    value.high,
                    f"{study.largest.ranks} against {many(study.reference or 1, 'rank')}",
                    "higher",
                    tuple(size.efficiency.value for size in study.sizes if size.efficiency),
                )
            )
    if "step.time_ms" in found:
        trend = tuple(size.step_ms.value for size in main.sizes) if main else ()
        tiles.append(replace(found["step.time_ms"], note=scope, trend=trend))
    if "time.exposed_comm_share" in found:
        tiles.append(replace(found["time.exposed_comm_share"], note=_with_parts(scope, found)))
    if "time.overlap_ratio" in found:
        tiles.append(replace(found["time.overlap_ratio"], note=f"of the communication; {scope}"))
    if "time.compute_share" in found:
        size = subject.info.world_size
        unused = size * (1 - float(found["time.compute_share"].value))
        tiles.append(
            Metric(
                "losses.unused",
                "GPUs not computing" if _machine(subject) == "GPU" else "Ranks not computing",
                unused,
                note=f"of {size}" + (f", judged by {len(subject.ranks)} of them" if len(subject.ranks) < size else ""),
                better="lower",
            )
        )
    return tiles[:6]


def _with_parts(scope: str, found: Mapping[str, Metric]) -> str:
    """The scope, and what exposed communication consists of: `4 ranks; transfer 9.1 %, bubble 26.6 %`."""
    words = {
        "exposed_transfer": "transfer",
        "exposed_wait": "waiting",
        "bubble": "bubble",
        "exposed_untold": "not told apart",
    }
    shares = {word: found.get(f"time.{part}_share") for part, word in words.items()}
    parts = [f"{word} {percent(float(one.value))}" for word, one in shares.items() if one is not None and one.value]
    return f"{scope}; {', '.join(parts)}" if parts else scope


def _machine(view: RunView) -> str:
    return "GPU" if view.info.device not in (None, "cpu") and not view.info.emulated else "rank"


def _losses_table(view: RunView, leaves: Leaves) -> Table:
    size = view.info.world_size
    labels = leaf_labels(leaves.by_leaf_ns)
    rows = [[label, size * leaves.share(leaf), leaves.share(leaf)] for leaf, label in labels.items()]
    return Table.of_rows(("class", "rank_equivalents", "share"), rows)


def _losses(view: RunView, leaves: Leaves) -> Chart:
    size = view.info.world_size
    labels = leaf_labels(leaves.by_leaf_ns)
    lost = [leaf for leaf in labels if leaf != "compute"]
    worst = max(lost, key=leaves.share)
    work = size * leaves.share("compute")
    machine = _machine(view)
    title = f"Of {many(size, machine)}, {work:.3g} {'does' if size == 1 else 'do'} useful work"
    if size * leaves.share(worst) >= 0.005 * size:
        title += f"; {spoken(labels[worst])} costs {size * leaves.share(worst):.2g}"
    names = [f"{many(size, machine)} paid for", *(labels[leaf] for leaf in lost), "Useful work"]
    values = [float(size), *(-size * leaves.share(leaf) for leaf in lost), work]
    return Chart(
        id="overview.losses",
        kind="waterfall",
        title=title,
        subtitle=f"Run {view.info.name}, in {machine} equivalents: each class's share of the step times the {machine}s. It adds up exactly."
        + (f" Only {_ranks_of(view)} were read." if len(view.ranks) < size else ""),
        x=Axis("", scale="category"),
        y=Axis(f"{machine} equivalents", from_zero=True),
        layers=(
            Layer(
                f"{machine} equivalents",
                names,
                values,
                text=["total", *(LEAF_COLORS[leaf] for leaf in lost), "compute"],
            ),
        ),
        how="Share of each class in the time of all ranks over the accounted steps, times the number of ranks.",
    )


OVERVIEW = Comparison("overview", conclude, ScalingOptions)
