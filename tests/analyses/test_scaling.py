"""Studies whose efficiencies follow from three numbers on paper."""

from dataclasses import replace

import numpy as np
import pytest

from scaleprof.align import LEAVES, RunView
from scaleprof.analyses import overview
from scaleprof.analyses.scaling import growth, scaling
from scaleprof.analyses.scaling.series import find_series
from scaleprof.analyses.scaling.study import ScalingOptions, scaled
from scaleprof.errors import OptionError
from scaleprof.models.scaling import karp_flatt
from tests.making import Made, make_view, regular_job

MS = 1_000_000


def weak(ranks: int, step_ms: int, *, compute_ms: int = 100, **info: object) -> RunView:
    """16 samples a rank; 2 ms of idle, the rest of the step blocked."""
    job = regular_job(
        ranks, step=step_ms * MS, compute=compute_ms * MS, blocked=(step_ms - compute_ms - 2) * MS, samples=16
    )
    return make_view(job, name=f"weak-{ranks}", **info)


STUDY = [weak(1, 102), weak(2, 120), weak(4, 160)]


def test_efficiency_speedup_and_karp_flatt_follow_from_the_step_times() -> None:
    [series], caveats = find_series(STUDY)
    assert (series.kind, series.label, list(series.sizes), caveats) == ("weak", "weak", [1, 2, 4], [])
    study = scaled(series, ScalingOptions())
    assert [size.efficiency.value for size in study.sizes if size.efficiency] == pytest.approx(
        [1, 102 / 120, 102 / 160], abs=1e-12
    )
    last = study.sizes[-1]
    assert last.speedup == pytest.approx(4 * 102 / 160)
    assert last.karp_flatt == pytest.approx(karp_flatt(4 / 160, 4, 1 / 102, 1))
    assert last.throughput.value == pytest.approx(16 * 4 / 0.160)
    assert study.reference == 1


def test_the_tree_times_sampling_is_the_measured_efficiency() -> None:
    study = scaled(find_series(STUDY)[0][0], ScalingOptions())
    for size in study.sizes:
        assert size.efficiency is not None and size.compute_share is not None
        assert size.compute_scalability is not None and size.sampling is not None
        reference = study.sizes[0].compute_share
        assert reference is not None
        product = size.compute_scalability * size.compute_share / reference * size.sampling
        assert product == pytest.approx(size.efficiency.value, rel=1e-12)


def test_growth_adds_up_exactly_and_names_the_class() -> None:
    result = growth.conclude(STUDY, ScalingOptions())
    assert result is not None
    table = result.tables["growth"]
    # ms per sample and rank at 4 ranks against 1: (160 - 102) / 16, all of it exposed communication.
    last = {name: column[-1] for name, column in table.columns.items()}
    assert last["growth_ms"] == pytest.approx(58 / 16, rel=1e-12)
    assert last["exposed_comm_growth_ms"] == pytest.approx(58 / 16, rel=1e-12)
    assert sum(last[f"{leaf}_growth_ms"] for leaf in LEAVES) == pytest.approx(last["growth_ms"], rel=1e-12)
    assert "exposed communication" in result.headline
    assert (
        result.charts[0].title == "Weak scaling: exposed communication goes from next to nothing to 36.2 % of the step"
    )


def test_a_rank_that_does_as_much_is_not_said_to_do_a_hair_less() -> None:
    even = scaling.conclude([weak(1, 102), weak(2, 102), weak(4, 102)], ScalingOptions())
    less = scaling.conclude(STUDY, ScalingOptions())
    assert even is not None and even.charts[0].title.startswith("Weak: a rank does as much at 4 as at 1")
    assert less is not None and less.charts[0].title.startswith("Weak: a rank does 36.3 % less at 4 than at 1")


def test_of_many_series_only_the_ends_are_spoken_of() -> None:
    views = [
        replace(view, info=replace(view.info, series=f"series {place}"))
        for place, last in enumerate((110, 120, 140, 180))
        for view in (weak(1, 102), weak(4, last))
    ]
    result = growth.conclude(views, ScalingOptions())
    assert result is not None
    assert result.headline == (
        "Of 4 series, series 3 grows most and series 0 least. series 3: a sample costs a rank 4.88 ms (76.5 %) more at 4 than at 1 rank, "
        "4.88 ms of it exposed communication. series 0: a sample costs a rank 0.5 ms (7.8 %) more at 4 than at 1 rank, "
        "0.5 ms of it exposed communication"
    )


def test_the_name_of_a_study_is_spelled_as_its_owner_did() -> None:
    views = [replace(view, info=replace(view.info, series="gPT-XL run")) for view in STUDY]
    result, added = scaling.conclude(views, ScalingOptions()), growth.conclude(views, ScalingOptions())
    assert result is not None and added is not None
    texts = [result.headline, added.headline, *(chart.title for chart in (*result.charts, *added.charts))]
    assert all(text.startswith("gPT-XL run") for text in texts)
    assert scaling.conclude(STUDY, ScalingOptions()).headline.startswith("Weak scaling keeps")  # type: ignore[union-attr]


def test_a_strong_study_keeps_its_global_batch_and_may_share_one_rank_with_the_weak_one() -> None:
    strong = [
        make_view(regular_job(n, step=t * MS, compute=100 // n * MS, blocked=MS, samples=16 / n), name=f"strong-{n}")
        for n, t in ((2, 60), (4, 40))
    ]
    found, caveats = find_series([*STUDY, *strong])
    assert [(series.label, list(series.sizes)) for series in found] == [("strong", [1, 2, 4]), ("weak", [1, 2, 4])]
    assert not caveats
    efficiency = scaled(found[0], ScalingOptions()).sizes[-1].efficiency
    assert efficiency is not None
    assert efficiency.value == pytest.approx((16 / 40 / 4) / (16 / 102), rel=1e-12)


def test_repeats_of_a_size_are_pooled_and_not_taken_as_sizes() -> None:
    again = replace(weak(4, 170), info=replace(weak(4, 170).info, repeat=1))
    [series], _ = find_series([*STUDY, again])
    assert len(series.sizes[4]) == 2
    efficiency = scaled(series, ScalingOptions()).sizes[-1].efficiency
    assert efficiency is not None and efficiency.low is not None and efficiency.high is not None
    assert efficiency.value == pytest.approx(102 / 165, rel=1e-12)
    assert efficiency.low <= 102 / 170 + 1e-9 and efficiency.high >= 102 / 160 - 1e-9


def starved(view: RunView, share: float) -> RunView:
    tables = {rank: replace_column(table, "runq_ns", share) for rank, table in view.facts["steps"].items()}
    return replace(view, facts={**view.facts, "steps": tables})


def replace_column(table: object, name: str, share: float) -> object:
    columns = dict(table.columns)  # type: ignore[attr-defined]
    columns[name] = (np.asarray(columns["time_ns"]) * share).astype(np.int64)
    return type(table)(columns)


def test_a_size_without_cores_gets_no_verdict_and_the_result_says_why() -> None:
    views = [STUDY[0], STUDY[1], starved(STUDY[2], 0.25)]
    result = scaling.conclude(views, ScalingOptions())
    assert result is not None
    table = result.tables["scaling"]
    assert table["efficiency"][2] is None
    assert table["efficiency"][1] == pytest.approx(102 / 120)
    assert "25.0 %" in table["note"][2]
    assert any("no efficiency verdict" in caveat and "4 ranks" in caveat for caveat in result.caveats)
    [metric] = [metric for metric in result.metrics if metric.id == "scaling.weak.efficiency"]
    assert metric.value == pytest.approx(102 / 120)


def test_a_starved_reference_gives_way_to_the_next_size_and_says_so() -> None:
    result = scaling.conclude([starved(STUDY[0], 0.5), *STUDY[1:]], ScalingOptions())
    assert result is not None
    assert result.tables["scaling"]["efficiency"] == [None, 1.0, pytest.approx(120 / 160)]
    assert any("2 ranks is the reference because 1 rank could not be judged" in caveat for caveat in result.caveats)


def test_many_runs_that_scale_with_none_for_one_reason_are_one_sentence() -> None:
    _, caveats = find_series([weak(1, 100 + number, model=f"Net-{number}") for number in range(2)])
    assert len(caveats) == 2
    alike = [
        make_view(regular_job(4, step=160 * MS, compute=MS, blocked=MS, samples=11), name=f"run-{number}")
        for number in range(5)
    ]
    _, caveats = find_series(alike)
    assert caveats == [
        "5 runs scale with no other run (run-0 (4 ranks), run-1 (4 ranks), run-2 (4 ranks) and 2 more): each has "
        "no other world size of the same model and precision"
    ]


def test_runs_that_do_not_scale_one_another_are_named_with_the_reason() -> None:
    other = weak(4, 160, model="Other")
    _, caveats = find_series([weak(1, 102, model="Net"), weak(2, 120, model="Net"), other])
    assert caveats == [
        "run weak-4 (4 ranks) scales with no other run: it has another model or precision (Other, unknown) than the other runs"
    ]
    odd = make_view(regular_job(4, step=160 * MS, compute=MS, blocked=MS, samples=11), name="odd")
    _, caveats = find_series([*STUDY[:2], odd])
    assert caveats == [
        "run odd (4 ranks) scales with no other run: it has neither the global nor the local batch of another size"
    ]


def test_unknown_samples_are_said_and_not_guessed() -> None:
    blind = make_view(regular_job(2, step=120 * MS, compute=MS, blocked=MS, samples=float("nan")), name="blind")
    series, caveats = find_series([STUDY[0], blind])
    assert not series
    assert caveats[0].startswith("samples per step are unknown in blind (2 ranks), so these runs join no scaling study")


def test_the_losses_sum_to_the_allocation() -> None:
    result = overview.conclude(STUDY, ScalingOptions())
    assert result is not None
    losses = result.tables["losses"]
    assert sum(losses["rank_equivalents"]) == pytest.approx(4, rel=1e-12)
    assert losses["rank_equivalents"][0] == pytest.approx(4 * 100 / 160, rel=1e-12)
    assert "63.7 % (weak scaling)" in result.headline or "63.8 % (weak scaling)" in result.headline


def test_one_run_has_an_overview_and_no_scaling() -> None:
    assert scaling.conclude([STUDY[2]], ScalingOptions()) is None
    result = overview.conclude([STUDY[2]], ScalingOptions())
    assert result is not None
    assert result.headline.startswith("On 4 ranks 62.5 % of the step is compute; exposed communication takes 36.2 %")


def test_ranks_that_were_not_read_are_not_spoken_for() -> None:
    view = STUDY[2]
    result = overview.conclude([replace(view, info=replace(view.info, world_size=64))], ScalingOptions())
    assert result is not None
    assert result.headline.startswith("On 4 of 64 ranks 62.5 % of the step is compute")
    assert result.charts[0].subtitle.endswith("Only 4 of 64 ranks were read.")
    [unused] = [metric for metric in result.metrics if metric.id == "losses.unused"]
    assert unused.note == "of 64, judged by 4 of them"


def test_nonsense_thresholds_are_refused() -> None:
    with pytest.raises(OptionError, match=r"scaling\.target"):
        ScalingOptions(target=1.5)


def test_a_run_without_steps_is_survived() -> None:
    assert overview.conclude([make_view([Made()])], ScalingOptions()) is not None


def many_series() -> list[RunView]:
    """Four series of one and four ranks, the later ones scaling worse."""
    return [
        replace(view, info=replace(view.info, series=f"series {place}"))
        for place, lasts in enumerate(((104, 110), (106, 120), (110, 140), (120, 180)))
        for view in (weak(1, 102), weak(2, lasts[0]), weak(4, lasts[1]))
    ]


def test_of_many_series_pictures_are_of_the_ends_and_the_others_have_theirs_when_selected() -> None:
    result = growth.conclude(many_series(), ScalingOptions())
    assert result is not None
    assert {chart.id.split(".")[1] for chart in result.charts} == {"series-3", "series-0"}
    assert [one.series for one in result.variants] == [f"series-{place}" for place in range(4)]
    for one in result.variants:
        assert {chart.id.split(".")[1] for chart in one.result.charts} == {one.series}


def test_of_many_series_what_one_rank_cannot_know_is_said_once() -> None:
    result = scaling.conclude(many_series(), ScalingOptions())
    assert result is not None
    [said] = [caveat for caveat in result.caveats if "communicates with nobody" in caveat]
    # Against two ranks: 104 / 110 and 120 / 180.
    assert said.endswith("the efficiency of 4 series is 66.7 % (series 3) to 94.5 % (series 0)")
    few = scaling.conclude(STUDY, ScalingOptions())
    assert few is not None
    assert (
        "series weak: one rank communicates with nobody; against 2 ranks the efficiency at 4 is 75.0 %" in few.caveats
    )


def test_the_first_page_of_a_selected_run_knows_of_no_larger_one() -> None:
    result = overview.conclude(STUDY, ScalingOptions())
    assert result is not None
    assert [one.run for one in result.variants] == [0, 1, 2]
    one, two, four = (variant.result for variant in result.variants)
    # 102 / 120 and 102 / 160.
    assert two.headline.startswith("weak-2: ") and "85.0 % (weak scaling)" in two.headline
    assert "63.8 %" in four.headline and "63.8 %" in result.headline
    assert "scaling)" not in one.headline
    [efficiency] = [metric for metric in two.metrics if metric.id == "scaling.weak.efficiency"]
    assert efficiency.value == pytest.approx(0.85)
    assert four.charts == result.charts
