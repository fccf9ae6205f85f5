"""What is said of many is said once, with a count; what is about one thing each stays as it is."""

from scaleprof.render.folding import folded
from scaleprof.render.remarks import caveats_of, methods_of
from scaleprof.results import Axis, Chart, Layer, Report, Result, RunReport, SeriesOfRuns, Variant
from scaleprof.run import RunInfo

NAMES = ("a", "b+c", "d", "e")


def texts(*sentences: str) -> list[str]:
    return [text for text, _ in folded(sentences, NAMES)]


def test_the_same_of_several_series_is_one_sentence_that_names_them() -> None:
    said = [
        f"series {name}: 4 ranks take {off} % less, see the law"
        for name, off in zip(NAMES, (3, 11, 7.5, 4), strict=True)
    ]
    assert folded(["first", *said, "last"], NAMES) == [
        ("first", [0]),
        ("4 series (a, b+c, d and 1 more): 4 ranks take 3 to 11 % less, see the law", [1, 2, 3, 4]),
        ("last", [5]),
    ]


def test_two_that_are_alike_stay_two() -> None:
    said = ("series a: 3 % less", "series d: 4 % less")
    assert texts(*said) == list(said)


def test_only_measures_become_a_range() -> None:
    ranks = ("rank 3 was not read", "rank 5 was not read", "rank 9 was not read")
    assert texts(*ranks) == list(ranks)
    assert texts("in 3 % of 8 steps", "in 12.5 % of 8 steps", "in 1,000 % of 8 steps") == ["in 3 to 1,000 % of 8 steps"]
    assert texts("in 3 % of 8 steps", "in 4 % of 8 steps", "in 5 % of 9 steps") == [
        "in 3 % of 8 steps",
        "in 4 % of 8 steps",
        "in 5 % of 9 steps",
    ]


def test_where_too_much_differs_nothing_is_folded() -> None:
    said = tuple(f"{one} % of it, {2 * one} ms long, {3 * one} MB large" for one in (1, 2, 3))
    assert texts(*said) == list(said)


def test_operations_that_the_same_is_said_of_are_listed() -> None:
    head = "too few different sizes to tell latency from bandwidth here"
    assert texts(f"{head}: x over 2", f"{head}: x over 4; y over 2", f"{head}: y over 2; z over 8") == [
        f"{head}: x over 2; x over 4; y over 2 and 1 more"
    ]


def test_the_list_of_all_that_may_be_wrong_is_folded_over_runs() -> None:
    runs = tuple(
        RunReport(
            RunInfo(f"run-{share}", 2),
            (0,),
            (Result("c", "Collectives", "", caveats=(f"in {share} % they disagree",)),),
        )
        for share in (5, 9, 7)
    )
    series = (SeriesOfRuns("a", "a", (0, 1, 2)),)
    assert caveats_of(Report("r", "", runs, series=series)) == [
        ("In 5 to 9\u00a0% they disagree.", ["Collectives (run-5, run-9, run-7)"])
    ]


def test_of_methods_that_begin_alike_the_one_that_tells_most_is_listed() -> None:
    def section(how: str) -> Result:
        chart = Chart("c", "lines", "t", "", Axis("x"), Axis("efficiency"), (Layer("l", [1], [1.0]),), how=how)
        return Result("scaling", "Scaling", "", charts=(chart,))

    start = "E is the throughput of a rank over that of a rank of the reference."
    variants = (
        Variant(section(f"{start} The law is Amdahl's."), series="a"),
        Variant(section("Something else."), series="b"),
    )
    whole = section(start)
    report = Report("r", "", (), (Result("scaling", "Scaling", "", charts=whole.charts, variants=variants),))
    assert sorted(text for _, _, text in methods_of(report)) == [f"{start} The law is Amdahl's.", "Something else."]
