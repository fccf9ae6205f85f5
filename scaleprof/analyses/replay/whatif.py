"""What a change would bring: the steps of a run replayed with other links, ranks, gradients or hosts (`method` 7.4).

Each change is replayed alone, then all that helps jointly; gains are never added up. Answers are given beside the fidelity of the replay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from scaleprof.align import RunView
from scaleprof.analyses.base import Analysis, duration, many, percent, run_name
from scaleprof.analyses.replay.chain_nodes import Doing
from scaleprof.analyses.replay.critical import FIDELITY, NEEDS, caveats_of, fidelity_metric, fidelity_of
from scaleprof.analyses.replay.editor import Editor
from scaleprof.analyses.replay.edits import HALVED, NO_TRANSFER, PAUSES, Edit
from scaleprof.analyses.replay.micro_batches import change_ms
from scaleprof.analyses.replay.run_graph import run_graph
from scaleprof.analyses.replay.whatif_grid import LINKS, grid_of
from scaleprof.errors import InputError, OptionError
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table

TOGETHER = "together"
LEAST_EFFECT = 0.005
"""Of the step: what changes less is not listed."""
_SAME = "computation that slows down or speeds up because more or less communication runs beside it is not a part of a replay"


_SAID = {
    "no_transfer": "If links took no time",
    "no_stragglers": "If all ranks took as long as their mean",
    "overlap": "If nothing waited for communication before the end of a step",
    "half_gradients": "With half the bytes of gradients, coding them not counted",
    "no_input": "If input were there when it is asked for",
    "no_pauses": "Without garbage collection, compilation and checkpoints",
    "no_host_syncs": "If the host never waited for the device",
    "no_launches": "If the host launched a step at once, as CUDA graphs do",
    "no_syncbn": "Without SyncBatchNorm",
    "link_x2": "With links twice as fast",
    "link_x10": "With links ten times as fast",
    "latency_half": "With half the latency",
    TOGETHER: "With all of that together",
}
"""Scenarios in a sentence."""


@dataclass(frozen=True)
class Scenario:
    """One thing that could be otherwise."""

    name: str
    """Part of a metric's id."""
    label: str
    edit: Edit
    is_joint: bool = True
    """It is a part of the joint scenario; of two that are the same thing more or less, only one is."""

    @property
    def sentence(self) -> str:
        """`With links twice as fast`."""
        return _SAID.get(self.name, f"{self.label[0].upper()}{self.label[1:]}")


def conclude(view: RunView, options: None) -> Result | None:
    """Every change that has an effect, with the step that it leads to; None where the run has no graph."""
    run = run_graph(view)
    if run is None:
        return None
    editor = Editor(view, run)
    scenarios = with_joint(scenarios_of(editor))
    every = [one.edit for one in scenarios]
    base, *times = editor.step_ms([Edit(), *every])
    found = [(one, ms) for one, ms in zip(scenarios, times, strict=True) if abs(ms / base - 1) >= LEAST_EFFECT]
    if not found:
        return None
    found.sort(key=lambda pair: pair[1])
    metrics = [
        Metric(f"whatif.{one.name}.speedup", one.label, base / ms, "x", note=_saved(base, ms)) for one, ms in found
    ]
    best, best_ms = next(((one, ms) for one, ms in found if one.name != TOGETHER), found[0])
    words = (
        f"{best.sentence}: {duration(best_ms)} a step instead of {duration(base)}, {base / best_ms:.2f} times as fast"
    )
    low = abs(fidelity_of(run) - 1) > FIDELITY
    tables = {"whatif": _table(found, base)}
    grid = grid_of(editor, base, {one.name: ms for one, ms in found})
    if len(grid):
        tables["whatif_grid"] = grid
    charts = [_chart(found, base)]
    if editor.transfers.size:
        charts.append(_links_chart(editor, base))
    return Result(
        "whatif",
        "What if",
        words + (" (low fidelity)" if low else ""),
        (*metrics, fidelity_metric(run)),
        tables,
        tuple(charts),
        caveats=(*caveats_of(run), _SAME),
    )


def answer_to(view: RunView, edit: Edit) -> Result:
    """What one change, or several together, would bring: each alone, all without it, and all jointly.

    InputError where the run has no graph; OptionError for what the run does not have, or where nothing is changed.
    """
    run = run_graph(view)
    if run is None:
        raise InputError(f"run {view.info.name} cannot be replayed: {_why_not(view)}")
    parts = edit.parts
    if not parts:
        raise OptionError("nothing is changed: say what would be otherwise, as in --link 2")
    editor = Editor(view, run)
    left = [edit.without_part(part) for part in parts] if len(parts) > 1 else []
    base, joint, *times = steps_ms(editor, [Edit(), edit, *parts, *left])
    alone, others = times[: len(parts)], times[len(parts) :] or [base]
    rows = [["nothing, as measured", base, 1.0, None]]
    for part, ms, without in zip(parts, alone, others, strict=True):
        rows.append([part.words, ms, base / ms, without])
    if left:
        rows.append(["all of it", joint, base / joint, base])
    low = abs(fidelity_of(run) - 1) > FIDELITY
    said = ", ".join(part.words for part in parts)
    return Result(
        "whatif",
        "What if",
        f"{run_name(view.info)}: {duration(joint)} a step instead of {duration(base)}, {base / joint:.3f} times as fast, with {said}"
        + (" (low fidelity)" if low else ""),
        (
            Metric("whatif.step_ms", "Step then", joint, "ms", note=f"{duration(base)} as measured", better="lower"),
            Metric("whatif.speedup", "Speedup", base / joint, "x", better="higher"),
            *(
                Metric(
                    f"whatif.{part.name}.speedup",
                    f"Only {part.words}",
                    base / ms,
                    "x",
                    note=f"{duration(ms)} a step",
                    better="higher",
                )
                for part, ms in zip(parts, alone if left else (), strict=False)
            ),
            fidelity_metric(run),
        ),
        {"whatif": Table.of_rows(("change", "step_ms", "speedup", "all_but_this_ms"), rows)},
        caveats=(*caveats_of(run), *_of_links(editor, edit), _SAME),
    )


def steps_ms(editor: Editor, edits: Sequence[Edit]) -> list[float]:
    """How long a step takes with each of the edits: replayed, but for the number of micro-batches, which has a closed form."""
    times = editor.step_ms(edits)
    changes = [change_ms(editor, one.micro_batches) if one.micro_batches is not None else 0.0 for one in edits]
    return [ms + change for ms, change in zip(times, changes, strict=True)]


def _why_not(view: RunView) -> str:
    """In words, why a run has no graph."""
    if len(view.ranks) < view.info.world_size:
        return f"{view.info.world_size - len(view.ranks)} of its {many(view.info.world_size, 'rank')} were not read"
    if not any(len(table) for table in view.fact("chains").values()):
        return "no profiler saw a whole step, or its waits were not recorded"
    return "its ranks share no profiled step, or their clocks cannot be compared"


def _of_links(editor: Editor, edit: Edit) -> list[str]:
    if edit.link >= 1 or editor.knows_latency:
        return []
    return [
        "the sizes of its operations do not tell the latency of its links from their bandwidth: what a slower link costs is then a ceiling"
    ]


def _saved(base: float, ms: float) -> str:
    return f"{duration(ms)} a step, {percent(abs(1 - ms / base))} {'less' if ms <= base else 'more'}"


def scenarios_of(editor: Editor) -> list[Scenario]:
    """What can be asked of this run: only what it has anything of."""
    run, kinds = editor.run, set(editor.run.kind.tolist())
    found = []
    if len(run.ranks) > 1 and len(editor.transfers):
        found += [
            Scenario("link_x2", "links twice as fast", Edit(link=2), is_joint=False),
            Scenario("link_x10", "links ten times as fast", Edit(link=10), is_joint=False),
            Scenario("no_transfer", "links take no time", NO_TRANSFER),
            Scenario("latency_half", "half the latency", Edit(latency=0.5), is_joint=False),
            Scenario("no_stragglers", "no stragglers", Edit(no_stragglers=True)),
            Scenario("overlap", "nothing waits early", Edit(overlap=True), is_joint=False),
        ]
        if editor.is_gradient.any():
            found.append(
                Scenario(
                    "half_gradients",
                    "half the gradient bytes",
                    Edit(compress=HALVED),
                    is_joint=False,
                )
            )
        if len(run.ranks) > 2:
            found += [
                Scenario(
                    f"rank_{rank}_normal",
                    f"rank {rank} like the others",
                    Edit(normal_rank=rank),
                    is_joint=False,
                )
                for rank in _suspects(editor)
            ]
    if Doing.SYNC_BATCH_NORM in kinds:
        found.append(Scenario("no_syncbn", "no SyncBatchNorm", Edit(no_sync_batch_norm=True)))
    if Doing.INPUT in kinds:
        found.append(Scenario("no_input", "input always there", Edit(without=frozenset(("input",)))))
    if kinds & {Doing[one.upper()] for one in PAUSES}:
        found.append(
            Scenario(
                "no_pauses",
                "no pauses",
                Edit(without=PAUSES),
            )
        )
    if Doing.LAUNCH in kinds:
        found += [
            Scenario("no_host_syncs", "no host syncs", Edit(no_host_syncs=True)),
            Scenario("no_launches", "launched at once", Edit(no_launches=True)),
        ]
    return found


def with_joint(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """The scenarios, and all that are no less of another, together, where there are several."""
    parts = [one.edit for one in scenarios if one.is_joint]
    if len(parts) < 2:
        return list(scenarios)
    joint = reduce(Edit.also, parts)
    return [*scenarios, Scenario(TOGETHER, "all of it", joint)]


def _suspects(editor: Editor, *, most: int = 3) -> list[int]:
    """Ranks whose own work takes longest."""
    run = editor.run
    own = editor.stretches >= 0
    total = {rank: int(run.graph.dur_ns[own & (run.rank == rank)].sum()) for rank in run.ranks}
    return sorted(sorted(total, key=lambda rank: -total[rank])[:most])


def _table(found: Sequence[tuple[Scenario, float]], base: float) -> Table:
    rows: list[list[object]] = [[one.label, ms, base - ms, base / ms] for one, ms in found]
    return Table.of_rows(
        ("change", "step_ms", "saved_ms", "speedup"), [["nothing, as measured", base, 0.0, 1.0], *rows]
    )


def _chart(found: Sequence[tuple[Scenario, float]], base: float) -> Chart:
    best, ms = next(((one, value) for one, value in found if one.name != TOGETHER), found[0])
    labels = [one.label for one, _ in found]
    return Chart(
        "whatif",
        "bars",
        _title(best, ms / base),
        f"a step as measured takes {duration(base)}",
        Axis("change", scale="category"),
        Axis("time a step", "ms", from_zero=True),
        (
            Layer("replayed", labels, [value for _, value in found], color="series-1", text=[f"{base / value:.2f}×" for _, value in found]),
        ),
        how="The graph of what waited for what, replayed with the durations that the change leads to; everything else stays as it was observed, "
        "so that no change gives the measured step. Each bar is one change alone: gains do not add up.",
    )  # fmt: skip


def _title(best: Scenario, share: float) -> str:
    if share >= 1:
        return "No change makes the step shorter"
    return f"{best.sentence}, a step would be {percent(1 - share)} shorter"


def _links_chart(editor: Editor, base: float) -> Chart:
    times = editor.step_ms([Edit(link=times) for times in LINKS])
    limit = editor.step_ms([NO_TRANSFER])[0]
    double = times[LINKS.index(2.0)]
    return Chart(
        "whatif.links",
        "lines",
        f"Links twice as fast make a step {percent(1 - double / base)} shorter; no link makes it more than {percent(1 - limit / base)} shorter",
        "bandwidth of all links, times that of today; latency as it is",
        Axis("bandwidth", "x", scale="log2"),
        Axis("time a step", "ms", from_zero=True),
        (
            Layer("replayed", list(LINKS), times, color="series-1"),
            Layer("links take no time", [LINKS[0], LINKS[-1]], [limit, limit], style="reference"),
        ),
        how="Of each transfer what the latency of its link takes stays, the rest is divided; threads that share a link take turns on it.",
    )


WHATIF = Analysis("whatif", NEEDS, conclude)
