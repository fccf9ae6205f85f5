"""The graph of a run: it gives every observed time again, its critical path divides the step, and what-ifs have the answers that stand on paper."""

from pathlib import Path

import numpy as np
import pytest

from scaleprof import analyze
from scaleprof.align import RunView
from scaleprof.analyses.replay import critical, whatif
from scaleprof.analyses.replay.chain_nodes import Doing
from scaleprof.analyses.replay.editor import Editor
from scaleprof.analyses.replay.edits import Edit
from scaleprof.analyses.replay.run_graph import RunGraph, run_graph
from scaleprof.errors import OptionError
from scaleprof.models.replay import critical_path
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from scaleprof.trace import Kind, Trace
from tests.analyses.making_graphs import MS, late_rank, ranked, recorded, view_of
from tests.making import HOST, WORKER

SAMPLES = Path(__file__).parents[2] / "sample_traces"
WITHOUT_GRAPH = ("emulated-tasks", "tensorflow", "nccl-ddp-light")
"""No waits were recorded, or no profiler ran."""
RECORDED = [
    folder for folder in sorted(SAMPLES.iterdir()) if folder.is_dir() and not folder.name.startswith(WITHOUT_GRAPH)
]


@pytest.fixture(scope="module")
def late() -> RunView:
    return view_of([late_rank(0), late_rank(1)])


def graph_of(view: RunView) -> RunGraph:
    run = run_graph(view)
    assert run is not None
    return run


def check_exact(run: RunGraph) -> None:
    """A replay with the observed delays gives every observed time, to the nanosecond."""
    assert (run.schedule.ends(run.exact_ns) == run.end_ns).all()
    assert (run.delay_ns >= 0).all()


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name.rsplit("-", 1)[0])
def test_a_replay_of_a_recorded_run_gives_every_time_again(folder: Path) -> None:
    view = recorded(folder)
    run = graph_of(view)
    check_exact(run)
    assert critical.fidelity_of(run) == pytest.approx(1, abs=0.03)
    path = critical_path(run.graph, run.start_ns, run.end_ns)
    assert path.length_ns == run.end_ns.max()
    assert run.contradicted == 0
    # No edit, no change.
    [again] = Editor(view, run).step_ms([Edit()])
    assert again == pytest.approx(float(run.step_ns(run.end_ns)) / 1e6, rel=1e-12)


@pytest.mark.parametrize("name", sorted(WITHOUT_GRAPH))
def test_a_run_whose_waits_nobody_recorded_has_no_graph(name: str) -> None:
    folder = next(iter(sorted(SAMPLES.glob(f"{name}*"))))
    assert run_graph(recorded(folder)) is None


@pytest.mark.parametrize("spec", [{"strategy": "ddp"}, {"strategy": "fsdp"}, {"tensor": 2}])
def test_a_replay_of_a_synthetic_job_gives_every_time_again(tmp_path: Path, spec: dict[str, str]) -> None:
    write_job(Spec(ranks=4, steps=6, **spec), tmp_path)  # type: ignore[arg-type]
    [folder] = [path for path in tmp_path.iterdir() if path.is_dir()]
    run = graph_of(recorded(folder))
    check_exact(run)
    assert critical.fidelity_of(run) == pytest.approx(1, abs=0.05)


# ---- two ranks on paper ----
def test_arrivals_meet_at_the_last_one(late: RunView) -> None:
    run = graph_of(late)
    check_exact(run)
    sends = np.flatnonzero(run.is_transfer)
    assert [
        (int(run.rank[node]), int(run.start_ns[node]) // MS, int(run.graph.dur_ns[node]) // MS) for node in sends
    ] == [(0, 90, 60), (1, 90, 60)]
    arrives = np.flatnonzero((run.kind == Doing.OPERATION) & ~run.is_transfer)
    assert sorted((int(run.rank[node]), int(run.start_ns[node]) // MS) for node in arrives) == [
        (-1, 90),
        (0, 50),
        (1, 90),
    ]


def test_the_critical_path_leads_over_the_late_rank(late: RunView) -> None:
    result = critical.conclude(late, None)
    assert result is not None
    # 90 + 40 of compute, 60 of transfer, 10 at the end.
    assert result.tables["critical_path"].rows() == [
        ["Compute", 130.0, 0.65], ["Transfer", 60.0, 0.3], ["Host", 10.0, 0.05],
    ]  # fmt: skip
    values = {metric.id: metric.value for metric in result.metrics}
    assert values["critical_path.compute_share"] == pytest.approx(0.65)
    assert values["replay.fidelity"] == 1.0
    slack = {row[0]: row for row in result.tables["slack"].rows()}
    # Of the four computations two are on the path; the first of rank 0 may take 40 ms more.
    assert slack["compute"][1:4] == [4.0, 220.0, 130.0]


@pytest.mark.parametrize(
    ("edit", "ms"),
    [
        (Edit(), 200),
        (Edit(link=2), 170),
        (Edit(link=0.5), 260),
        (Edit(compress=0.5), 170),
        # Both ranks compute 70 ms before they meet.
        (Edit(no_stragglers=True), 180),
        # Rank 1 computes 50 ms, as the other does; rank 0 would then take 90.
        (Edit(normal_rank=1), 160),
        (Edit(normal_rank=0), 200),
        # Jointly: 70 + 30 + 40 + 10.
        (Edit(no_stragglers=True, link=2), 150),
        # Nothing waits but the last wait of a step.
        (Edit(overlap=True), 200),
        (Edit(kernels={"comp*": 2.0}), 200 - 45 - 20),
    ],
)
def test_what_ifs_have_the_answers_on_paper(late: RunView, edit: Edit, ms: float) -> None:
    assert Editor(late, graph_of(late)).step_ms([edit]) == pytest.approx([ms])


def test_gains_are_replayed_jointly_and_do_not_add_up(late: RunView) -> None:
    editor = Editor(late, graph_of(late))
    base, link, level, both = editor.step_ms(
        [Edit(), Edit(link=1e9), Edit(no_stragglers=True), Edit(link=1e9, no_stragglers=True)]
    )
    assert (base, link, level, both) == pytest.approx((200, 145, 180, 130))
    assert Edit(link=2, no_stragglers=True).parts == [Edit(link=2), Edit(no_stragglers=True)]


def test_what_does_not_exist_is_named(late: RunView) -> None:
    editor = Editor(late, graph_of(late))
    with pytest.raises(OptionError, match="no rank 7; there are: 0, 1"):
        editor.applied(Edit(normal_rank=7))
    with pytest.raises(OptionError, match="no kernel of this run is called 'gemm"):
        editor.applied(Edit(kernels={"gemm*": 2}))
    with pytest.raises(OptionError, match="of group 'tp'; there are: 0"):
        editor.applied(Edit(link=2, group="tp"))
    with pytest.raises(OptionError, match="positive"):
        Edit(link=0)
    with pytest.raises(OptionError, match="latency"):
        Edit(latency=-1)


def test_stages_of_a_pipeline_are_not_made_alike() -> None:
    stages = {0: {"pp": 0}, 1: {"pp": 1}}
    view = view_of([late_rank(0), late_rank(1)], stages)
    assert Editor(view, graph_of(view)).step_ms([Edit(no_stragglers=True)]) == pytest.approx([200])


def four_sizes(rank: int) -> Trace:
    """Four operations, one after another, that take 2 ms and 1 ms for each MB: 1, 2, 4 and 8 of them."""
    issued, sizes = [10, 20, 30, 40], [1, 2, 4, 8]
    events = [(WORKER, Kind.COLLECTIVE, at, 2 + size) for at, size in zip(issued, sizes, strict=True)]
    waits = [(at, at + 2 + size, "Work.wait", row) for row, (at, size) in enumerate(zip(issued, sizes, strict=True))]
    return ranked(rank, events, issued=issued, waits=waits, length=60, bytes=[size * 1_000_000 for size in sizes])


def test_a_faster_link_leaves_its_latency() -> None:
    view = view_of([four_sizes(0), four_sizes(1)])
    editor = Editor(view, graph_of(view))
    assert editor.knows_latency
    # Of 15 ms for bytes half go; of four times 2 ms of latency half go.
    assert editor.step_ms([Edit(link=2), Edit(latency=0.5), Edit(link=2, latency=0.5)]) == pytest.approx(
        [52.5, 56, 48.5], abs=0.01
    )


def test_buckets_that_are_sent_as_one_pay_latency_once() -> None:
    view = view_of([four_sizes(0), four_sizes(1)])
    times = Editor(view, graph_of(view)).step_ms([Edit(merge=2), Edit(merge=4), Edit(merge=8)])
    assert times == pytest.approx([60 - 4, 60 - 6, 60 - 6], abs=0.01)


def two_buckets(rank: int, *, took: int, last: bool = True) -> Trace:
    """Gradients are there at 20 and 40 ms, of as many bytes; the wait is over when the second are reduced, and the step 8 ms later."""
    first = 20 + took
    second = max(40, first) + took if last else first
    events = [(HOST, Kind.COMPUTE, 0, 20), (HOST, Kind.COMPUTE, 20, 20), (WORKER, Kind.COLLECTIVE, 20, took)]
    if last:
        events.append((WORKER, Kind.COLLECTIVE, max(40, first), took))
    waits = [(40, max(second, 41), "backward_tail", int(last))]
    return ranked(rank, events, issued=[20, 40][: 1 + last], waits=waits, length=max(second, 41) + 8)


@pytest.mark.parametrize(
    ("took", "split", "saved"),
    [
        (
            12,
            2,
            6,
        ),  # of the second bucket one half is there at 30 and is sent by 36, the other at 40, and sent by 46 in place of 52
        (12, 4, 9),  # the last quarter is there at 40, and the others are sent by then
        (30, 2, 10),  # the link is never free: it begins at 10 in place of 20
        (30, 1, 0),
    ],
)
def test_smaller_buckets_are_sent_as_soon_as_their_gradients_are_there(took: int, split: int, saved: int) -> None:
    view = view_of([two_buckets(0, took=took), two_buckets(1, took=took)])
    whole, [divided] = graph_of(view), Editor(view, graph_of(view)).step_ms([Edit(split=split)])
    assert Editor(view, whole).step_ms([Edit()]) == pytest.approx([max(40, 20 + took) + took + 8])
    assert divided == pytest.approx(max(40, 20 + took) + took + 8 - saved)


def test_smaller_buckets_pay_latency_more_often() -> None:
    view = view_of([four_sizes(0), four_sizes(1)])
    # Between them 7, 6 and 4 ms are computed for 2, 4 and 8 MB, so 17 / 14 ms for the first MB. Halved, each takes a latency of 2 ms more, and
    # begins earlier by half of what it is computed in or half of what it then takes: 17 / 28 of 5, 3 of 6, 3 of 8 and 2 of 12 ms.
    [divided] = Editor(view, graph_of(view)).step_ms([Edit(split=2)])
    assert divided == pytest.approx(60 + (2 - 17 / 28) + (2 - 3) + (2 - 3) + (2 - 2), abs=0.01)


def test_a_single_bucket_is_not_said_to_begin_earlier() -> None:
    view = view_of([two_buckets(0, took=30, last=False), two_buckets(1, took=30, last=False)])
    editor = Editor(view, graph_of(view))
    assert editor.step_ms([Edit(split=4)]) == editor.step_ms([Edit()])


# ---- a shared link ----
def sharing(rank: int) -> Trace:
    """Two operations at once, of 60 ms and of 40 ms alone: they take turns on the link from 10 ms on, and end at 90 and 110 ms."""
    events = [(WORKER, Kind.COLLECTIVE, 10, 80), (WORKER, Kind.COLLECTIVE, 10, 100)]
    return ranked(rank, events, issued=[10, 10], waits=[(20, 110, "backward_tail", 1)], length=120)


def test_operations_that_share_a_link_take_turns_on_it() -> None:
    view = view_of([sharing(0), sharing(1)])
    run = graph_of(view)
    check_exact(run)
    # On the wire from 10 to 90 and from 90 to 110: 100 ms in all, which is what a link twice as fast halves.
    assert Editor(view, run).step_ms([Edit(link=2)]) == pytest.approx([120 - 50])


def behind(rank: int) -> Trace:
    """A few bytes that are sent while many are on their way: both end at 100 ms, or so."""
    events = [(WORKER, Kind.COLLECTIVE, 10, 92), (WORKER, Kind.COLLECTIVE, 30, 70)]
    waits = [(32, 100, "Work.wait", 1), (101, 102, "backward_tail", 0)]
    return ranked(rank, events, issued=[10, 30], waits=waits, length=120, bytes=[8_000_000, 64])


def test_a_few_bytes_wait_behind_many() -> None:
    view = view_of([behind(0), behind(1)])
    run = graph_of(view)
    check_exact(run)
    # The 92 ms are those of the many bytes: half of them are 46, and nobody waits longer.
    half, small = Editor(view, run).step_ms([Edit(link=2), Edit(compress=0.5)])
    assert half == pytest.approx(small)
    assert half == pytest.approx(120 - 46, abs=2.1)


# ---- the section ----
def test_the_section_ranks_changes_by_what_they_bring(late: RunView) -> None:
    result = whatif.conclude(late, None)
    assert result is not None
    values = {metric.id: metric.value for metric in result.metrics}
    assert values["whatif.link_x2.speedup"] == pytest.approx(200 / 170)
    # Rank 0 then ends at 140 ms; rank 1, which does 10 ms more before it waits, at 150.
    assert values["whatif.no_transfer.speedup"] == pytest.approx(200 / 145, rel=1e-4)
    assert values["whatif.no_stragglers.speedup"] == pytest.approx(200 / 180)
    assert result.headline.startswith("If links took no time: 145 ms a step instead of 200 ms, 1.38 times as fast")
    # 70 ms of compute, no transfer, 10 ms, 40 ms and 10 ms.
    assert values["whatif.together.speedup"] == pytest.approx(200 / 130, rel=1e-4)
    steps = result.tables["whatif"]["step_ms"]
    assert steps[0] == pytest.approx(200)
    assert steps[1:] == sorted(steps[1:])
    links = next(chart for chart in result.charts if chart.id == "whatif.links")
    assert dict(zip(links.layers[0].x, links.layers[0].y, strict=True))[0.5] == pytest.approx(260)


def test_the_grid_holds_every_combination(late: RunView) -> None:
    result = whatif.conclude(late, None)
    assert result is not None
    grid = {tuple(row[:-1]): row[-1] for row in result.tables["whatif_grid"].rows()}
    columns = tuple(result.tables["whatif_grid"].columns)
    assert columns == ("link", "no_stragglers", "half_gradients", "step_ms")
    assert len(grid) == 11 * 4
    # As measured; on paper; and both at once: 70 + 15 + 50.
    assert (grid[1.0, 0, 0], grid[2.0, 0, 0], grid[2.0, 1, 0], grid[2.0, 1, 1]) == pytest.approx((200, 170, 150, 135))


def test_a_report_has_both_sections() -> None:
    report = analyze([next(SAMPLES.glob("emulated-ddp-n2-*"))])
    names = [section.name for section in report.runs[0].sections]
    assert {"critical_path", "whatif"} <= set(names)


def test_slower_edits_never_make_a_run_faster(late: RunView) -> None:
    editor = Editor(late, graph_of(late))
    times = editor.step_ms([Edit(link=link) for link in (8, 4, 2, 1, 0.5, 0.25)])
    assert times == sorted(times)
