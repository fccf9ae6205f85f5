import os

import pytest

from scaleprof.engine import cores, map_processes, map_serial


def double(item: int) -> int:
    if item == 13:
        raise ValueError("unlucky")
    return 2 * item


def pid(item: int) -> int:
    return os.getpid()


def test_answers_come_with_the_index_of_their_item() -> None:
    assert sorted(map_serial(double, [3, 1, 2])) == [(0, 6), (1, 2), (2, 4)]
    assert sorted(map_processes(double, [3, 1, 2], workers=2)) == [(0, 6), (1, 2), (2, 4)]


def test_processes_are_other_processes() -> None:
    assert os.getpid() not in {answer for _, answer in map_processes(pid, [1], workers=1)}
    assert cores() >= 1


def test_a_failing_item_raises_here() -> None:
    with pytest.raises(ValueError, match="unlucky"):
        list(map_processes(double, [1, 13], workers=1))
