"""Which run stands beside which, and what the first page says of several pairs."""

from dataclasses import replace

import pytest

from scaleprof.analyses.changes.changes import Change, ChangeOptions, change_of
from scaleprof.analyses.changes.pairs import MOST_TILES, Pairs, overview_of, paired, run_of
from scaleprof.errors import NotComparable
from scaleprof.results import RunReport
from scaleprof.run import Emulated
from tests.analyses.making_changes import INFO, run_of_steps


def run(name: str = "job", step_ms: float = 100.0, **of: object) -> RunReport:
    return run_of_steps(step_ms, info=replace(INFO, name=name, **of))  # type: ignore[arg-type]


def short(name: str = "short", **of: object) -> RunReport:
    return run_of_steps([100.0, 101.0, 99.0, 100.0, 100.5], info=replace(INFO, name=name, **of))  # type: ignore[arg-type]


def names(pairs: Pairs) -> list[tuple[list[str], list[str]]]:
    return [([one.info.name for one in pair.base], [one.info.name for one in pair.new]) for pair in pairs.pairs]


def test_runs_of_one_configuration_are_repeats_and_sizes_are_not() -> None:
    base = [run("a"), run("b", world_size=4), run("c")]
    new = [run("d", world_size=4), run("e"), run("f", world_size=4)]
    found = paired(base, new)
    assert names(found) == [(["a", "c"], ["e"]), (["b"], ["d", "f"])]
    assert (found.refused, found.alone) == ((), ())


@pytest.mark.parametrize(
    "other",
    [{"strategy": "fsdp2"}, {"world_size": 4}, {"global_batch": 64.0}, {"model": "resnet"}, {"precision": "bfloat16"}],
)
def test_other_configurations_have_no_partner(other: dict[str, object]) -> None:
    found = paired([run("a"), run("b", **other)], [run("c")])
    assert names(found) == [(["a"], ["c"])]
    assert found.alone == (f"b ({other.get('world_size', 2)} ranks) is in BASE alone",)


def test_a_batch_of_each_rank_is_one_of_the_job() -> None:
    each = {"global_batch": None, "local_batch": 16.0}
    assert names(paired([run("a"), run("b", world_size=4)], [run("c", **each), run("d", world_size=8, **each)])) == [
        (["a"], ["c"])
    ]


def test_what_was_changed_on_purpose_does_not_keep_runs_apart() -> None:
    base, new = (
        [run("a"), run("b", world_size=4)],
        [run("c", strategy="fsdp2"), run("d", strategy="fsdp2", world_size=4)],
    )
    with pytest.raises(NotComparable, match=r"nothing can be compared: a \(2 ranks\) is in BASE alone; b"):
        paired(base, new)
    assert names(paired(base, new, across=["strategy"])) == [(["a"], ["c"]), (["b"], ["d"])]
    # One of each can only mean each other, so that what differs is said.
    with pytest.raises(NotComparable, match=r"a \(2 ranks\) and c \(2 ranks\): different in the strategy"):
        paired(base[:1], new[:1])
    weak = [run("c", world_size=8, global_batch=128.0), run("d", world_size=8, model="resnet")]
    assert names(paired([run("a"), run("b", model="resnet")], weak, across=["ranks"])) == [
        (["a"], ["c"]),
        (["b"], ["d"]),
    ]


def test_another_name_of_the_series_is_no_obstacle_where_it_is_unambiguous() -> None:
    base = [run("a"), run("b", world_size=4)]
    assert names(paired(base, [run("c", series="new"), run("d", series="new", world_size=4)])) == [
        (["a"], ["c"]),
        (["b"], ["d"]),
    ]
    # Two series of NEW could stand beside each of BASE: none is taken.
    new = [run("c", series="x"), run("d", series="y"), run("e", series="x", world_size=4)]
    found = paired(base, new)
    assert names(found) == [(["b"], ["e"])]
    assert found.alone == ("a (2 ranks) is in BASE alone", "c (2 ranks) is in NEW alone", "d (2 ranks) is in NEW alone")
    # The same on the other side.
    found = paired(
        [run("a", series="x"), run("f", series="y"), run("b", world_size=4)], [run("c"), run("d", world_size=4)]
    )
    assert names(found) == [(["b"], ["d"])]


def test_a_pair_that_differs_in_too_much_is_refused_apart_from_what_is_alone() -> None:
    base, new = [run("a"), run("b", world_size=4)], [run("a", device_name="H200"), run("d", world_size=4)]
    base[0] = run("a", device_name="H100")
    found = paired(base, new)
    assert names(found) == [(["b"], ["d"])]
    assert found.refused == (
        "a (2 ranks): different in the device's name (H100 in BASE, H200 in NEW): if that is what was changed, --across device",
    )
    assert found.alone == ()
    assert names(paired(base, new, anyway=True)) == [(["a"], ["a"]), (["b"], ["d"])]
    with pytest.raises(NotComparable, match=r"a \(2 ranks\) and c \(2 ranks\): different in the device's name"):
        paired(base[:1], [run("c", device_name="H200")])


def test_runs_with_too_few_steps_are_refused_unless_repeats_stand_for_them() -> None:
    said = "short (4 ranks) of NEW has 5 steady steps: too few to be compared (6 are needed)"
    found = paired([run("a"), run("b", world_size=4)], [run("c"), short(world_size=4)])
    assert names(found) == [(["a"], ["c"])]
    assert (found.refused, found.alone) == ((said,), ("b (4 ranks) is in BASE alone",))
    found = paired([run("a"), run("b", world_size=4)], [run("c"), short(world_size=4), run("d", world_size=4)])
    assert names(found) == [(["a"], ["c"]), (["b"], ["d"])]
    assert (found.refused, found.alone) == ((), (said,))


def test_a_side_without_a_usable_run_says_why() -> None:
    with pytest.raises(NotComparable, match=r"^NEW cannot be compared: short \(2 ranks\) of NEW has 5 steady steps"):
        paired([run("a"), short()], [short()])
    with pytest.raises(NotComparable, match=r"^BASE cannot be compared: it holds no run$"):
        paired([], [run("a")])


def change(base: RunReport, new: RunReport) -> Change:
    [pair] = paired([base], [new], anyway=True).pairs
    return change_of(pair, ChangeOptions())


def test_a_pair_is_called_by_both_names() -> None:
    assert run_of(change(run("a", repeat=2), run("a", repeat=3))).label == "a (2 ranks)"
    found = run_of(change(run("a", emulated=Emulated()), run("b", synthetic=True)))
    assert found.label == "a \N{RIGHTWARDS ARROW} b (2 ranks)"
    assert found.info.synthetic, "what is computed on one side is not real on both"
    assert found.info.emulated is not None


def test_one_pair_is_its_own_overview() -> None:
    one = change(run(step_ms=100.0), run(step_ms=110.0))
    found = overview_of([one], ["b is in NEW alone"], ["job"])
    assert found.headline == f"{one.words}."
    assert found.headline.startswith("NEW is 10.0 % slower (95 %: ")
    assert (found.name, found.caveats, found.tables) == ("overview", ("b is in NEW alone",), {})
    assert len(found.metrics) == MOST_TILES < len(one.sections[0].metrics)
    assert found.charts == one.sections[0].charts[:1]


def test_several_pairs_are_counted_and_the_largest_that_is_sure_is_told() -> None:
    noisy = [40.0, 160.0] * 8
    changes = [
        change(run("slower", 100.0), run("slower", 110.0)),
        change(run("faster", 100.0), run("faster", 80.0)),
        change(run("same", 100.0), run("same", 100.0)),
        change(run_of_steps(noisy), run_of_steps([2 * ms for ms in noisy[::-1]])),
    ]
    labels = ["one", "two", "three", "four"]
    changes[3] = replace(changes[3], verdict="inconclusive")  # the largest change, of which nobody is sure
    found = overview_of(changes, (), labels)
    assert found.headline.startswith(
        "Of 4 pairs 1 slower, 1 faster, 1 without a change, 1 inconclusive. two: NEW is 20.0 % faster"
    )
    table = found.tables["change_by_pair"]
    assert list(table["pair"]) == labels
    assert list(table["verdict"]) == ["slower", "faster", "same", "inconclusive"]
    assert list(table["change_share"]) == pytest.approx([0.1, -0.2, 0.0, 1.0])
    assert list(table["base_samples"]) == [16] * 4
    [chart] = found.charts
    assert chart.title == "four changes most: 100.0 % slower, which is inconclusive"
    drawn = chart.layers[0]
    assert drawn.low == [one.contrast.ratio.low for one in changes]
    assert drawn.high == [one.contrast.ratio.high for one in changes]
    assert [variant.run for variant in found.variants] == [0, 1, 2, 3]
    assert found.variants[1].result.headline.startswith("two: NEW is 20.0 % faster")
    still = overview_of(changes[2:3] * 2, (), ["three", "four"])
    assert still.headline == "Of 2 pairs 2 without a change: none is shown to have changed."
    assert still.charts[0].title == "No pair changes"
