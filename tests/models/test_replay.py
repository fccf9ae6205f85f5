"""Replay of graphs: answers on paper, and any graph against a plain walk over its nodes."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.intervals import Ints
from scaleprof.models.replay import NEVER, Graph, critical_path, reversed_graph, schedule, slack


def made(
    lanes: Sequence[Sequence[int]],
    edges: Sequence[tuple[int, int, int]] = (),
    *,
    lags: dict[int, int] | None = None,
    releases: dict[int, int] | None = None,
) -> Graph:
    """Lanes of durations; edges (source, target, lag) between nodes counted over all lanes."""
    count = sum(map(len, lanes))
    lag, release = np.zeros(count, dtype=np.int64), np.full(count, NEVER, dtype=np.int64)
    for node, value in (lags or {}).items():
        lag[node] = value
    for node, value in (releases or {}).items():
        release[node] = value
    ends = np.array(edges, dtype=np.int64).reshape(-1, 3)
    return Graph(
        lane=np.repeat(np.arange(len(lanes)), [len(lane) for lane in lanes]),
        dur_ns=np.array([dur for lane in lanes for dur in lane], dtype=np.int64),
        lag_ns=lag,
        release_ns=release,
        source=ends[:, 0],
        target=ends[:, 1],
        edge_lag_ns=ends[:, 2],
    )


def walked(graph: Graph, dur: Ints, edge_lag: Ints | None = None) -> list[int]:
    """When nodes end, one after another."""
    lags = graph.edge_lag_ns if edge_lag is None else edge_lag
    end: dict[int, int] = {}
    while len(end) < len(graph):
        for node in range(len(graph)):
            edges = zip(graph.source, graph.target, lags, strict=True)
            before = [(int(source), int(lag)) for source, target, lag in edges if target == node]
            if not graph.is_first[node]:
                before.append((node - 1, int(graph.lag_ns[node])))
            if node not in end and all(source in end for source, _ in before):
                ready = max([int(graph.release_ns[node]), 0, *(end[source] + lag for source, lag in before)])
                end[node] = ready + int(dur[node])
    return [end[node] for node in range(len(graph))]


# Two ranks that compute, meet and go on: rank 1 is late; nodes 0-2 and 3-5, the exchange is 6.
MEETING = made([[10, 0, 4], [30, 0, 4], [5]], [(0, 6, 0), (3, 6, 0), (6, 1, 2), (6, 4, 2)])


def test_who_waits_begins_when_the_last_has_come() -> None:
    # 30 + 5, then 2 on the way, then 4.
    assert schedule(MEETING).ends(MEETING.dur_ns).tolist() == [10, 37, 41, 30, 37, 41, 35]


def test_the_critical_path_leads_over_the_late_rank_and_divides_the_time() -> None:
    end = schedule(MEETING).ends(MEETING.dur_ns)
    path = critical_path(MEETING, end - MEETING.dur_ns, end)
    assert path.node.tolist() == [3, 6, 1, 2]
    assert path.gap_ns.tolist() == [0, 0, 2, 0]
    assert path.dur_ns.tolist() == [30, 5, 0, 4]
    assert path.length_ns == 41


def test_slack_is_what_a_node_may_take_longer() -> None:
    # Rank 0 comes 20 early; everything else holds somebody up.
    assert slack(MEETING, MEETING.dur_ns).tolist() == [20, 0, 0, 0, 0, 0, 0]


def test_a_delay_that_nothing_explains_is_a_gap_on_the_path() -> None:
    graph = made([[10, 5]])
    end = np.array([10, 22])  # the second node began 7 late
    path = critical_path(graph, end - graph.dur_ns, end)
    assert (path.node.tolist(), path.gap_ns.tolist(), path.length_ns) == ([0, 1], [0, 7], 22)


def test_a_node_that_is_released_late_begins_a_path_of_its_own() -> None:
    graph = made([[10, 5], [3]], releases={1: 40})
    end = schedule(graph).ends(graph.dur_ns)
    path = critical_path(graph, end - graph.dur_ns, end)
    assert end.tolist() == [10, 45, 3]
    assert (path.node.tolist(), path.gap_ns.tolist(), path.edge.tolist()) == ([1], [40], [-2])


def test_scenarios_are_worked_out_side_by_side() -> None:
    faster = MEETING.dur_ns.copy()
    faster[3] = 10  # rank 1 is no longer late
    both = schedule(MEETING).ends(np.array([MEETING.dur_ns, faster]))
    assert both.max(axis=1).tolist() == [41, 21]
    cut = np.array([MEETING.edge_lag_ns, [NEVER, 0, 2, 2]])
    assert schedule(MEETING).ends(np.array([MEETING.dur_ns] * 2), cut).max(axis=1).tolist() == [41, 41]
    cut[1] = [0, NEVER, 2, 2]
    assert schedule(MEETING).ends(np.array([MEETING.dur_ns] * 2), cut).tolist()[1] == [10, 17, 21, 30, 30, 34, 15]


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        schedule(made([[1, 1], [1, 1]], [(1, 2, 0), (3, 0, 0)]))


def test_an_empty_graph_takes_no_time() -> None:
    empty = made([])
    assert len(schedule(empty).ends(empty.dur_ns)) == 0
    assert critical_path(empty, empty.dur_ns, empty.dur_ns).length_ns == 0


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    lanes = draw(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1, max_size=5))
    count = sum(map(len, lanes))
    # Edges lead from what was drawn to begin earlier to what begins later, so that there is no circle; lanes keep their order.
    when = draw(st.permutations(range(count)))
    times = []
    taken = 0
    for lane in lanes:
        times += sorted(when[taken : taken + len(lane)])
        taken += len(lane)
    pairs = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=12))
    lane_of = [number for number, lane in enumerate(lanes) for _ in lane]
    edges = [(a, b, draw(st.integers(0, 9))) for a, b in pairs if times[a] < times[b] and lane_of[a] != lane_of[b]]
    lags = {node: draw(st.integers(0, 5)) for node in range(count)}
    releases = {node: draw(st.integers(0, 200)) for node in draw(st.lists(st.integers(0, count - 1), max_size=3))}
    return made(lanes, edges, lags=lags, releases=releases)


@given(graphs(), st.integers(0, 2**31))
def test_any_graph_gives_what_a_walk_over_its_nodes_gives(graph: Graph, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dur = rng.integers(0, 100, (3, len(graph)))
    lags = rng.integers(0, 30, (3, len(graph.source)))
    found = schedule(graph).ends(dur, lags)
    assert found.tolist() == [walked(graph, *pair) for pair in zip(dur, lags, strict=True)]
    assert schedule(graph).ends(graph.dur_ns).tolist() == walked(graph, graph.dur_ns)


@given(graphs())
def test_ready_times_and_durations_give_the_ends_again(graph: Graph) -> None:
    end = schedule(graph).ends(graph.dur_ns)
    assert (np.maximum(graph.ready(end), 0) + graph.dur_ns).tolist() == end.tolist()


@given(graphs())
def test_a_critical_path_has_no_slack_and_divides_the_whole_time(graph: Graph) -> None:
    end = schedule(graph).ends(graph.dur_ns)
    path = critical_path(graph, end - graph.dur_ns, end)
    assert path.length_ns == end.max()
    assert (path.gap_ns >= 0).all()
    free = made([[0]])
    assert schedule(reversed_graph(reversed_graph(free))).ends(free.dur_ns).tolist() == [0]
    if (graph.release_ns == NEVER).all():
        left = slack(graph, graph.dur_ns)
        assert (left >= 0).all()
        assert (left[path.node] == 0).all()
        longer = graph.dur_ns.copy()
        for node in range(len(graph)):
            longer[node] += left[node] + 1
            assert schedule(graph).ends(longer).max() == end.max() + 1
            longer[node] -= left[node] + 1
