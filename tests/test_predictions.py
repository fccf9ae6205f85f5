"""The benchmark of predictions: which curves it finds, how it cuts them, and its own arithmetic."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import predictions
from benchmarks.curves import MORE_GPUS, MORE_NODES, PUBLISHED, Curve, curves_below
from benchmarks.predictions import Answer, Split, by_law, ours, score, splits_of, table, verdicts, wilson
from scaleprof.models.laws import AMDAHL, USL

SIZES = (1.0, 2.0, 4.0, 8.0, 16.0)
LINE = Curve("line", PUBLISHED, "weak", SIZES, tuple(n / (1 + 0.05 * n) for n in SIZES))


def test_every_published_curve_is_found_and_what_is_missing_is_said(foreign_traces: Path, tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    curves, missing = curves_below(foreign_traces.parent)
    assert missing == []
    names = {curve.name for curve in curves if curve.source == PUBLISHED}
    assert {"usl-raytracer", "mpt-7b-h100", "megatron_lm_sc21_table1", "mlperf_v5_0_llama31_405b gb200"} <= names
    assert {"extrap-one-parameter-1", "extrap-one-parameter-6 met2", "megatron-v1-weak"} <= names
    [raytracer] = [curve for curve in curves if curve.name == "usl-raytracer"]
    assert (raytracer.kind, len(raytracer.ranks), raytracer.throughput[0]) == ("strong", 11, 20)
    assert len([curve for curve in curves if curve.source == MORE_NODES]) > 100
    [bert] = [curve for curve in curves if curve.name == "bert, 1 GPUs a node, batch 12"]
    assert bert.ranks == bert.nodes == (1, 2, 3, 4, 6, 8, 12, 16)
    [same] = [curve for curve in curves if curve.name == "bert, 16 nodes, batch 12"]
    assert (same.source, set(same.nodes), same.ranks[-1]) == (MORE_GPUS, {16}, 64)
    assert len(curves_below(tmp_path)[1]) == 2


def test_curves_are_cut_after_the_third_size_and_later() -> None:
    splits = splits_of([LINE])
    assert [(list(one.sizes), list(one.asked)) for one in splits] == [
        ([1, 2, 4], [8, 16]),
        ([1, 2, 4, 8], [16]),
    ]
    assert splits_of([Curve("short", PUBLISHED, "weak", SIZES[:3], SIZES[:3])]) == []


def test_a_curve_that_obeys_a_law_is_predicted_by_it() -> None:
    split = splits_of([LINE])[1]
    for answer in (by_law(AMDAHL, split), by_law(USL, split), ours(split)):
        assert answer.values == pytest.approx(split.truth, rel=1e-6)
    found = score([split], [ours(split)])
    assert (found.inside_80, found.inside_95, found.refused) == ((1, 1), (1, 1), 0)


def test_ours_does_not_fit_across_a_break_and_refuses_where_too_little_is_left() -> None:
    rates = tuple(n / (1 + 0.05 * n) / (1 if n < 4 else 2) for n in SIZES)
    broken = Curve("broken", MORE_NODES, "weak", SIZES, rates, (1, 1, 2, 4, 8))
    first, second = (ours(split) for split in splits_of([broken]))
    assert first.refused
    assert second.values == pytest.approx(broken.throughput[4:], rel=1e-6)
    assert score(splits_of([broken])[:1], [first]).refused == 2


def test_errors_are_of_the_time_per_sample_and_refusals_count_apart() -> None:
    split = Split(LINE, 3)
    answer = Answer((split.truth[0] / 1.1, split.truth[1] / 0.8), ((0, 1), (0, 99)), ((0, 99), (0, 99)))
    found = score([split, split], [answer, Answer(refused="so")])
    assert found.errors == pytest.approx([0.1, 0.2])
    assert found.by_curve == pytest.approx([0.15])
    assert (found.refused, found.inside_80, found.inside_95) == (2, (1, 2), (2, 2))


def test_wilson_s_interval_is_the_published_one() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_extra_p_answers_or_our_reading_of_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Path:
        raise OSError("no network")

    monkeypatch.setattr(predictions, "_python_with_extra_p", fails)
    six = Curve("root", PUBLISHED, "weak", (*SIZES, 32.0), tuple(n / (1 + n**0.5) for n in (*SIZES, 32.0)))
    splits = splits_of([six])
    answers, said = predictions.extra_p(splits)
    assert [answer.refused for answer in answers] == ["fewer than 5 sizes", "fewer than 5 sizes", ""]
    assert answers[2].values == pytest.approx([six.throughput[5]])
    assert "no network" in said
    assert "scaleprof.models.pmnf" in said


def test_the_table_has_a_line_for_each_source_and_model() -> None:
    splits = splits_of([LINE])
    models = (*predictions.MODELS, *predictions.SAME_SIZES)
    answers = {model: [by_law(AMDAHL, split) for split in splits] for model in models}
    answers[predictions.OURS] = [ours(split) for split in splits]
    lines = table(splits, answers)
    assert len(lines) == 2 + 3 * len(predictions.MODELS)
    assert lines[2].startswith("| published curves | ScaleProf | 3 | 0 | 0.0 % |")
    assert "100.0 % (43.9 to 100.0)" in lines[2]
    assert verdicts(splits, answers)[0].startswith("- lowest median error of all: ")
    assert np.isfinite(score(splits, answers["Amdahl"]).errors).all()
