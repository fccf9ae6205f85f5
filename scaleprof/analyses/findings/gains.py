"""What findings would really bring: their remedies replayed, in place of a ceiling (`method` 7.4, 8)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from scaleprof.align import RunView
from scaleprof.analyses.base import severity_of
from scaleprof.analyses.replay.critical import FIDELITY, fidelity_of
from scaleprof.analyses.replay.editor import Editor
from scaleprof.analyses.replay.edits import NO_TRANSFER, Edit
from scaleprof.analyses.replay.run_graph import run_graph
from scaleprof.results import Finding, Result

LEAST = 0.005
"""Of the step: what brings less brings nothing by itself."""
_REMEDIES: dict[str, Callable[[Finding], Edit]] = {
    "starved": lambda _: Edit(without=frozenset(("input",))),
    "collection": lambda _: Edit(without=frozenset(("gc",))),
    "compilation": lambda _: Edit(without=frozenset(("compile",))),
    "checkpoint": lambda _: Edit(without=frozenset(("checkpoint",))),
    "host-sync": lambda _: Edit(no_host_syncs=True),
    "launch-bound": lambda _: Edit(no_launches=True),
    "exposed-transfer": lambda _: NO_TRANSFER,
    "transient-imbalance": lambda _: Edit(no_stragglers=True),
    "syncbn": lambda _: Edit(no_sync_batch_norm=True),
    "straggler": lambda finding: Edit(normal_rank=finding.rank),
}
"""By finding: the edit that stands for its remedy."""
_NOTHING = " Replayed, this alone brings nothing: something else then holds the step up."


def with_replayed_gains(view: RunView, sections: Sequence[Result]) -> list[Result]:
    """The sections with what the remedies of their findings bring in a replay of the run, where it can be replayed with fidelity.

    A finding about something that the graph holds nothing of keeps its ceiling.
    """
    wanted = [
        one for section in sections for one in section.findings if one.gain_kind == "ceiling" and one.id in _REMEDIES
    ]
    run = run_graph(view) if wanted else None
    if run is None or abs(fidelity_of(run) - 1) > FIDELITY:
        return list(sections)
    editor = Editor(view, run)
    edits = {finding: edit for finding in wanted if editor.changes(edit := _REMEDIES[finding.id](finding))}
    if not edits:
        return list(sections)
    base, *times = editor.step_ms([Edit(), *edits.values()])
    gains = {finding: max(1 - ms / base, 0.0) for finding, ms in zip(edits, times, strict=True)}
    return [replace(section, findings=tuple(_ranked(section.findings, gains))) for section in sections]


def _ranked(findings: Sequence[Finding], gains: Mapping[Finding, float]) -> list[Finding]:
    """The findings with their gains, the largest first; what is healthy stays behind."""
    found = [_replayed(finding, gains[finding]) if finding in gains else finding for finding in findings]
    return sorted(found, key=lambda finding: (finding.severity == "healthy", -(finding.gain_share or 0.0)))


def _replayed(finding: Finding, share: float) -> Finding:
    text = finding.text + (_NOTHING if share < LEAST else "")
    return replace(finding, gain_share=share, gain_kind="replayed", severity=severity_of(share), text=text)
