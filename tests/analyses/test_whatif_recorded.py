"""What-ifs on recorded runs against recorded runs that were really changed so, and the gains of findings that come from them."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.whatif import RECORDED, SAMPLES, Pair, compared
from scaleprof import analyze
from scaleprof.analyses.findings.gains import with_replayed_gains
from scaleprof.analyses.replay.critical import caveats_of, unexplained_share
from scaleprof.analyses.replay.editor import Editor
from scaleprof.analyses.replay.edits import Edit
from scaleprof.analyses.replay.micro_batches import micro_batches_of, stages_ms, step_ms
from scaleprof.analyses.replay.run_graph import run_graph
from scaleprof.errors import InputError, OptionError
from scaleprof.pipeline import what_if
from scaleprof.results import Finding, Result
from tests.analyses.making_graphs import late_rank, recorded, view_of

FAR = {
    ("on-50mbit-ddp-n4", "emulated-ddp-n4"): 0.12,
    ("emulated-tp-n2", "emulated-tp-n4"): 0.25,
    ("gpu-gc-n1", "gpu-plain-n1"): 0.15,
}
"""Pairs that miss by more than the others: small messages on cores that four ranks share; pauses that cost more than their own time."""
NEAR = 0.08


def folder_of(name: str) -> Path:
    [folder] = SAMPLES.glob(f"{name}-????????")
    return folder


@pytest.mark.parametrize("pair", RECORDED, ids=lambda pair: f"{pair.before} to {pair.after}")
def test_a_predicted_step_is_near_the_one_that_was_recorded(pair: Pair) -> None:
    before, predicted, measured, fidelity = compared(folder_of(pair.before), folder_of(pair.after), pair.edit)
    near = FAR.get((pair.before, pair.after), NEAR)
    assert predicted == pytest.approx(measured, rel=near)
    assert fidelity == pytest.approx(1, abs=0.03)
    # Better than to say that nothing changes.
    assert abs(predicted - measured) < abs(before - measured)


def test_a_finding_says_what_its_remedy_really_brings() -> None:
    report = analyze([folder_of(name) for name in ("gpu-input-n1", "gpu-plain-n1", "gpu-module-n1")])
    starved, plain, module = report.runs
    [found] = [one for section in starved.sections for one in section.findings if one.id == "starved"]
    own, without = starved.metric("step.time_ms"), plain.metric("step.time_ms")
    assert own is not None and own.value and without is not None and without.value
    assert found.gain_kind == "replayed"
    assert found.gain_share == pytest.approx(1 - without.value / own.value, abs=0.03)
    # Kernels that are used for the first time are in no graph: their ceiling stays.
    [loading] = [one for section in module.sections for one in section.findings if one.id == "compilation"]
    assert loading.gain_kind == "ceiling"


def test_a_remedy_that_brings_nothing_by_itself_says_so() -> None:
    view = view_of([late_rank(0), late_rank(1)])
    punctual = Finding("straggler", "Rank 0", "high", "It is late.", "", 0.3, "ceiling", rank=0)
    late = Finding("straggler", "Rank 1", "low", "It is late.", "", 0.3, "ceiling", rank=1)
    healthy = Finding("fine", "Fine", "healthy", "", "")
    [section] = with_replayed_gains(view, [Result("stragglers", "", "", findings=(healthy, punctual, late))])
    one, other, last = section.findings
    # Without its 40 ms the step of 200 ms takes 160.
    assert (one.title, one.gain_share, one.severity) == ("Rank 1", pytest.approx(0.2), "high")
    assert (other.title, other.gain_share, other.severity) == ("Rank 0", 0.0, "low")
    assert other.text == "It is late. Replayed, this alone brings nothing: something else then holds the step up."
    assert last.severity == "healthy"


# ---- micro-batches ----
def test_the_closed_form_of_a_pipeline() -> None:
    # Four stages of 80 ms and 8 ms of host, 8 micro-batches: (8 + 3) (10 + 1); with 16, (16 + 3) (5 + 1).
    alike = [80.0] * 4, [8.0] * 4
    assert step_ms(*alike, now=8, then=8) == pytest.approx(121)
    assert step_ms(*alike, now=8, then=16) == pytest.approx(114)
    # One stage of 160 ms: 8 times 21, and once each of the others.
    uneven = [80.0, 160.0, 80.0, 80.0], [8.0] * 4
    assert step_ms(*uneven, now=8, then=8) == pytest.approx(8 * 21 + 3 * 11)


@pytest.mark.parametrize(
    "name", ["emulated-pp-1f1b-n2", "emulated-pp-1f1b-n4", "emulated-pp-gpipe-n2", "emulated-pp-gpipe-n4"]
)
def test_the_form_gives_the_recorded_step(name: str) -> None:
    view = recorded(folder_of(name))
    run = run_graph(view)
    assert run is not None
    editor = Editor(view, run)
    assert micro_batches_of(editor) == 8
    compute, host = stages_ms(editor)
    [measured] = editor.step_ms([Edit()])
    assert step_ms(compute, host, now=8, then=8) == pytest.approx(measured, rel=0.03)


def test_what_is_no_pipeline_has_no_micro_batches() -> None:
    with pytest.raises(OptionError, match="no pipeline"):
        what_if([folder_of("emulated-ddp-n2")], Edit(micro_batches=4))


# ---- the whole command ----
def test_several_changes_are_answered_alone_and_together() -> None:
    report = what_if([folder_of("emulated-ddp-n4")], Edit(link=2, no_stragglers=True))
    [section] = report.runs[0].sections
    table = section.tables["whatif"].rows()
    assert [row[0] for row in table] == ["nothing, as measured", "links 2 times as fast", "no stragglers", "all of it"]
    nothing, link, level, both = (row[1] for row in table)
    assert both < link < nothing and level < nothing
    # All but the one is the other.
    assert (table[1][3], table[2][3]) == (pytest.approx(level), pytest.approx(link))
    assert report.verdict.startswith("emulated-ddp (4 ranks): ")
    assert section.headline.endswith("with links 2 times as fast, no stragglers")


def test_a_slower_link_whose_latency_nobody_knows_is_a_ceiling() -> None:
    [run] = what_if([folder_of("on-1gbit-ddp-n4")], Edit(link=0.05)).runs
    assert any("a ceiling" in caveat for caveat in run.sections[0].caveats)
    [run] = what_if([folder_of("on-1gbit-ddp-n4")], Edit(link=2)).runs
    assert not any("a ceiling" in caveat for caveat in run.sections[0].caveats)


def test_a_run_that_cannot_be_replayed_says_why() -> None:
    with pytest.raises(
        InputError,
        match=r"emulated-tasks cannot be replayed: no profiler saw a whole step, or its waits were not recorded",
    ):
        what_if([folder_of("emulated-tasks-n2")], Edit(link=2))
    report = what_if([folder_of("emulated-tasks-n2"), folder_of("emulated-ddp-n2")], Edit(link=2))
    assert [run.info.name for run in report.runs] == ["emulated-ddp"]
    assert any("emulated-tasks cannot be replayed" in caveat for caveat in report.caveats)


def test_nothing_changed_is_refused() -> None:
    with pytest.raises(OptionError, match="nothing is changed"):
        what_if([folder_of("emulated-ddp-n2")], Edit())


def test_copies_behind_a_late_operation_are_explained_by_it() -> None:
    """Two ranks on one device begin their copies some microseconds after NCCL's operation has ended, tens of milliseconds late."""
    view = recorded(folder_of("nccl-late-timeline-n2"))
    run = run_graph(view)
    assert run is not None
    assert unexplained_share(run) < 0.02
    base, punctual = Editor(view, run).step_ms([Edit(), Edit(normal_rank=1)])
    # It sleeps 30 ms of each step.
    assert base - punctual == pytest.approx(30, abs=2)


def test_edits_combine() -> None:
    slow_input, no_gc = Edit(link=2, without=frozenset(("input",))), Edit(merge=2, without=frozenset(("gc",)))
    assert slow_input.also(no_gc) == Edit(link=2, merge=2, without=frozenset(("input", "gc")))
    assert Edit(link=2).also(Edit(link=4)) == Edit(link=4)
    assert Edit().also(Edit()) == Edit()


def test_delays_that_nothing_explains_are_said() -> None:
    run = run_graph(view_of([late_rank(0), late_rank(1)]))
    assert run is not None
    assert not any("does not explain" in said for said in caveats_of(run))
    delayed = replace(run, delay_ns=run.delay_ns + run.end_ns.max() // 20)
    assert any("does not explain" in said for said in caveats_of(delayed))


def test_what_a_host_does_for_long_is_no_launching() -> None:
    # Ten milliseconds of Python stand between two launches of this job.
    view = recorded(folder_of("gpu-sync-n1"))
    run = run_graph(view)
    assert run is not None
    base, launched = Editor(view, run).step_ms([Edit(), Edit(no_launches=True)])
    assert base - launched < 2
