"""What stands around the sections of the page: findings in order of gain, everything that may be wrong, and how the numbers are made."""

from collections.abc import Sequence
from dataclasses import dataclass

from scaleprof.render.folding import folded
from scaleprof.render.parts import urgency, with_variants
from scaleprof.render.words import phrase, sentence
from scaleprof.results import Finding, Report, Result

_SAME_BEGINNING = 60
"""Letters that texts on how a chart is computed have in common where one goes on to say more."""
_GAIN_WORDS = {
    "measured": "throughput, measured",
    "ceiling": "throughput, at most",
    "replayed": "throughput, replayed",
    "": "throughput",
}


@dataclass(frozen=True)
class FindingView:
    """One finding in the list of the first page."""

    finding: Finding
    gain: str
    gain_words: str
    anchor: str
    """Of the section that shows its evidence; empty where none does."""
    section: str
    run: int | None


def findings_of(report: Report, labels: Sequence[str]) -> list[FindingView]:
    """Every finding, the most severe and then the most rewarding first; `labels` are the names of the runs."""
    found = [
        _view(finding, section, report.comparison, "", None, "")
        for section in report.comparison
        for finding in section.findings
    ]
    for place, (label, run) in enumerate(zip(labels, report.runs, strict=True)):
        several = f" in {label}" if len(report.runs) > 1 else ""
        found += [
            _view(finding, section, run.sections, f"run-{place}-", place, several)
            for section in run.sections
            for finding in section.findings
        ]
    return sorted(found, key=lambda view: urgency(view.finding))


def _view(
    finding: Finding, own: Result, there: Sequence[Result], prefix: str, run: int | None, several: str
) -> FindingView:
    gain = f"+{phrase(finding.gain_share, 'share')}" if finding.gain_share else ""
    shown = next((section for section in there if section.name == finding.see), own)
    listed_only = shown.name in ("findings", "overview")
    anchor = "" if listed_only else f"{prefix}{shown.name}"
    return FindingView(finding, gain, _GAIN_WORDS[finding.gain_kind], anchor, f"{shown.title}{several}", run)


def caveats_of(report: Report) -> list[tuple[str, list[str]]]:
    """Everything that may be wrong, each sentence once, and those alike as one, with the sections and runs it was said of."""
    places: dict[str, dict[str, list[str]]] = {caveat: {} for caveat in report.caveats}
    for section in report.comparison:
        for caveat in section.caveats:
            places.setdefault(caveat, {}).setdefault(section.title, [])
    for run in report.runs:
        said = [("", caveat) for caveat in run.caveats]
        said += [(section.title, caveat) for section in run.sections for caveat in section.caveats]
        for title, caveat in said:
            places.setdefault(caveat, {}).setdefault(title, []).append(run.info.name)
    several, texts = len(report.runs) > 1, list(places)
    found = []
    for text, said_at in folded(texts, [one.label for one in report.series]):
        titles: dict[str, list[str]] = {}
        for place in said_at:
            for title, runs in places[texts[place]].items():
                titles.setdefault(title, []).extend(runs)
        found.append((sentence(text), _where(titles, several=several)))
    return found


def _where(titles: dict[str, list[str]], *, several: bool) -> list[str]:
    """`Steps (strong-1, strong-2 and 3 more)` by section."""
    shown = []
    for title, runs in titles.items():
        names = list(dict.fromkeys(runs)) if several else []
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        shown.append(f"{title} ({listed})" if title and listed else title or listed)
    return [place for place in shown if place]


def methods_of(report: Report) -> list[tuple[str, str, str]]:
    """How the numbers are made: (section, what is drawn, text), each text once, and of texts that begin alike the one that tells most."""
    methods = {
        chart.how: (result.title, chart.y.label or chart.kind.replace("_", " "), chart.how)
        for result in reversed(with_variants(report))
        for chart in result.charts
        if chart.how
    }
    longest: dict[tuple[str, str], str] = {}
    for title, _, text in methods.values():
        alike = (title, text[:_SAME_BEGINNING])
        longest[alike] = max(longest.get(alike, ""), text, key=len)
    kept = set(longest.values())
    return [method for method in reversed(methods.values()) if method[2] in kept]
