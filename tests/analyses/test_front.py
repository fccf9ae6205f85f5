"""The front on paper: who beats whom, ties and overlapping intervals included."""

from scaleprof.analyses.strategies.configurations import Configuration
from scaleprof.analyses.strategies.front import beaten_by, front_of, is_on_front
from scaleprof.models.statistics import Interval


def made(
    name: str, rate: float, memory: float | None, *, half: float | None = 1.0, joules: float | None = None
) -> Configuration:
    """A configuration with a throughput of rate ± half and so many MB."""
    ends = (rate - half, rate + half) if half is not None else (None, None)
    energy = Interval(joules, joules * 0.9, joules * 1.1) if joules is not None else None
    return Configuration(
        name,
        name,
        (),
        Interval(1e3 / rate, None, None),
        Interval(rate, *ends),
        None,
        memory and memory * 1e6,
        energy,
        None,
    )


def names(*members: Configuration) -> list[str]:
    return [one.name for one in front_of(members)]


def test_more_memory_must_buy_throughput() -> None:
    fast, lean, both = made("fast", 100, 300), made("lean", 60, 200), made("worse", 50, 250)
    assert names(fast, both, lean) == ["lean", "fast"]
    assert beaten_by(both, [fast, lean, both]) == lean, "fast needs more memory"
    assert beaten_by(fast, [fast, lean, both]) is None


def test_where_intervals_overlap_nobody_is_beaten() -> None:
    assert names(made("a", 100, 200), made("b", 98.5, 300)) == ["a", "b"]
    assert names(made("a", 100, 200), made("b", 97.9, 300)) == ["a"]
    # The ends touch: that is no difference.
    assert names(made("a", 100, 200), made("b", 98, 300)) == ["a", "b"]


def test_equals_are_both_on_the_front() -> None:
    assert names(made("a", 100, 200), made("b", 100, 200)) == ["a", "b"]


def test_memory_within_one_percent_is_the_same() -> None:
    # A little more memory does not save the slower one, and is no reason to be spared by a faster one.
    assert names(made("fast", 100, 202), made("slow", 50, 200)) == ["fast"]
    assert names(made("fast", 100, 203), made("slow", 50, 200)) == ["slow", "fast"]


def test_what_is_unknown_is_neither_on_the_front_nor_off_it() -> None:
    blind, short, known = made("blind", 10, None), made("short", 10, 400, half=None), made("known", 100, 200)
    members = [blind, short, known]
    assert [is_on_front(one, members) for one in members] == [None, None, True]
    assert names(*members) == ["known"]
