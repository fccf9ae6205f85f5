"""What the section on ranks says of the clocks of their hosts."""

from dataclasses import replace

from scaleprof.analyses.stragglers import ranks
from scaleprof.clock import ClockOffset, HostClock
from scaleprof.results import Result
from tests.making import Made, Step, make_view


def section(*clocks: HostClock | None) -> Result:
    """Of ranks that all do the same, with these clocks."""
    steps = [Step(100 * n, 100 * n + 100, blocked=10, input=0) for n in range(8)]
    made = [Made(steps=steps) for _ in clocks]
    made = [
        replace(one, info=replace(one.info, host=f"host-{number}", clock=clock))
        for number, (one, clock) in enumerate(zip(made, clocks, strict=True))
    ]
    result = ranks.conclude(make_view(made), None)
    assert result is not None
    return result


def measured(*offsets: ClockOffset) -> HostClock:
    return HostClock("b", "a", offsets)


EARLY, LATE = ClockOffset(10**9, 10**9, 5_000, 40_000), ClockOffset(2 * 10**9, 2 * 10**9, 6_000, 70_000)


def test_the_largest_error_of_a_measured_clock_is_a_metric() -> None:
    result = section(HostClock("a", "a"), measured(EARLY, LATE))
    assert [(metric.id, metric.value, metric.unit) for metric in result.metrics] == [
        ("clock.bound_us", 70.0, "us"),
        ("clock.half_width_us", 70.0, "us"),
    ], "without collectives the bound is all there is"
    assert result.tables["clocks"]["offset_ms"] == [0.0, 0.005]
    assert not result.caveats


def test_a_clock_that_was_measured_once_or_never_is_said() -> None:
    result = section(HostClock("a", "a"), measured(EARLY), HostClock("c", "a"))
    assert result.metrics[0].value == 40.0
    assert result.caveats == (
        "the clock of rank 2 was never compared with rank 0's, by no collective and by no measurement: times there are not set against "
        "those of rank 0",
        "clocks measured only once may drift by up to 100 µs a second, beyond their bound",
    )


def test_where_nobody_compared_clocks_nothing_is_said_of_them() -> None:
    result = section(None, None)
    assert not result.metrics + result.caveats
    assert not section(HostClock("a", "a"), HostClock("a")).metrics, "one clock has no error"
