"""Set algebra on integer ns, against counting every single ns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.intervals import EMPTY, Spans, clip, covered, intersect, length, partition, spans, subtract, union

PAIRS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(-2, 15)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=12
)
WINDOWS = st.lists(st.integers(0, 80), max_size=8, unique=True).map(sorted)


def points(of: Spans) -> set[int]:
    """Every ns that a span covers."""
    return {ns for start, end in zip(of.start.tolist(), of.end.tolist(), strict=True) for ns in range(start, end)}


def is_set(of: Spans) -> bool:
    """Sorted, disjoint, not touching, nothing empty."""
    return bool((of.end > of.start).all() and (of.start[1:] > of.end[:-1]).all())


def test_union_merges_what_overlaps_or_touches() -> None:
    found = union(spans([(5, 8), (0, 2)]), spans([(2, 3), (7, 9), (20, 20), (30, 25)]))
    assert found.start.tolist() == [0, 5]
    assert found.end.tolist() == [3, 9]
    assert length(found) == 7


def test_union_of_nothing_is_empty() -> None:
    assert len(union().start) == len(union(EMPTY, EMPTY).start) == length(EMPTY) == 0
    assert union(spans([(3, 3)])).start.dtype == np.int64


def test_a_span_inside_a_longer_one_does_not_shorten_it() -> None:
    assert union(spans([(0, 10), (2, 3), (4, 5)])).end.tolist() == [10]


def test_large_times_are_exact() -> None:
    start = 1_790_000_000_000_000_001
    assert length(union(spans([(start, start + 3)]), spans([(start + 2, start + 7)]))) == 7


def test_clip_keeps_what_lies_inside() -> None:
    found = clip(spans([(0, 4), (4, 6), (9, 12), (20, 30)]), 3, 10)
    assert list(zip(found.start.tolist(), found.end.tolist(), strict=True)) == [(3, 4), (4, 6), (9, 10)]


def test_covered_takes_windows_in_any_order() -> None:
    assert covered(spans([(0, 10), (20, 30)]), spans([(25, 40), (5, 25), (10, 20), (0, 100)])).tolist() == [
        5,
        10,
        0,
        20,
    ]


def test_partition_splits_by_who_is_active() -> None:
    compute, comm = spans([(0, 10), (20, 30)]), spans([(5, 25)])
    cells = partition([compute, comm], spans([(0, 20), (20, 40)]))
    assert cells.tolist() == [[0, 5, 10, 5], [10, 5, 0, 5]]


def test_partition_without_windows_has_no_rows() -> None:
    assert partition([EMPTY], EMPTY).shape == (0, 2)


@given(PAIRS, PAIRS)
def test_union_is_every_ns_of_both(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    found = union(spans(a), spans(b))
    assert is_set(found)
    assert points(found) == points(spans(a)) | points(spans(b))
    assert length(found) == len(points(found))


@given(PAIRS, PAIRS)
def test_intersection_and_difference_are_those_of_sets(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    one, other = union(spans(a)), union(spans(b))
    both, only = intersect(one, other), subtract(one, other)
    assert is_set(both) and is_set(only)
    assert points(both) == points(one) & points(other)
    assert points(only) == points(one) - points(other)
    assert length(both) + length(only) == length(one)


@given(PAIRS, st.lists(st.tuples(st.integers(-5, 80), st.integers(0, 30)), max_size=6))
def test_covered_counts_every_ns(a: list[tuple[int, int]], windows: list[tuple[int, int]]) -> None:
    one = union(spans(a))
    where = spans([(start, start + width) for start, width in windows])
    expected = [len(points(one) & set(range(start, start + width))) for start, width in windows]
    assert covered(one, where).tolist() == expected


@pytest.mark.parametrize("count", [1, 2, 3])
@given(data=st.data())
def test_partition_counts_every_ns_once(count: int, data: st.DataObject) -> None:
    classes = [union(spans(data.draw(PAIRS))) for _ in range(count)]
    edges = data.draw(WINDOWS)
    windows = spans(list(zip(edges[:-1:2], edges[1::2], strict=False)))
    cells = partition(classes, windows)
    assert cells.sum(axis=1).tolist() == (windows.end - windows.start).tolist()
    inside = [points(part) for part in classes]
    for row, (start, end) in enumerate(zip(windows.start.tolist(), windows.end.tolist(), strict=True)):
        for mask in range(1 << count):
            expected = sum(
                all((ns in part) == bool(mask >> bit & 1) for bit, part in enumerate(inside))
                for ns in range(start, end)
            )
            assert cells[row, mask] == expected
