"""Whether runs meet demands, for a gate in CI: limits on numbers, the efficiency of scaling, and no regression against a baseline."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scaleprof.analyses.changes.demands import (
    AGAINST_BASELINE,
    Answer,
    Demand,
    demand_of,
    demanded,
    efficiencies,
    regressed,
    share_of,
    worst_of,
)
from scaleprof.analyses.changes.pairs import run_of
from scaleprof.errors import InputError, OptionError
from scaleprof.pipeline.compared import CompareOptions, judged, report_at
from scaleprof.pipeline.options import Options, Progress
from scaleprof.remote import AnyPath, path_of
from scaleprof.results import Outcome, Report

MAX_REGRESSION = 0.05


@dataclass(frozen=True)
class Demands:
    """What is demanded."""

    limits: tuple[Demand, ...] = ()
    min_efficiency: float | None = None
    baseline: AnyPath | None = None
    """A folder of runs or a saved report to hold the step times against."""
    max_regression: float = MAX_REGRESSION
    across: Collection[str] = ()
    anyway: bool = False

    def __post_init__(self) -> None:
        if not self.limits and self.min_efficiency is None and self.baseline is None:
            raise OptionError("nothing is demanded: give --min-efficiency, --max, --min or --baseline")
        if self.min_efficiency is not None and not 0 < self.min_efficiency <= 1.5:
            raise OptionError(f"an efficiency is a share such as 0.8 or 80%, not {self.min_efficiency:g}")
        if self.max_regression < 0:
            raise OptionError(f"the largest regression must not be negative, as {self.max_regression:g} is")


@dataclass(frozen=True)
class Checked:
    """What became of the demands."""

    title: str
    answer: Answer
    outcomes: tuple[Outcome, ...]
    remarks: tuple[str, ...]
    """What to keep in mind: runs without a partner, what may be wrong with the comparison."""

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        words = {
            "holds": "hold",
            "fails": "fail",
            "inconclusive": "are inconclusive",
            "unusable": "cannot be answered from these data",
        }
        if len(self.outcomes) == 1:
            one = {**words, "holds": "holds", "fails": "fails", "inconclusive": "is inconclusive"}
            return f"The demand {one[self.answer]}."
        counts = {said: sum(1 for one in self.outcomes if one.answer == answer) for answer, said in words.items()}
        if counts["hold"] == len(self.outcomes):
            return f"All {len(self.outcomes)} demands hold."
        return f"Of {len(self.outcomes)} demands {', '.join(f'{count} {said}' for said, count in counts.items() if count)}."


def check(
    paths: Sequence[AnyPath | str],
    demands: Demands,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Checked:
    """What became of every demand on the runs below the paths, or on a saved report. What cannot be read is the answer `unusable`, no error."""
    options = options or Options()
    compare = CompareOptions(demands.across, demands.anyway)
    title = path_of(paths[0]).absolute().name
    try:
        report = report_at(paths, options, progress)
    except InputError as error:
        return Checked(title, "unusable", (Outcome("data", title, "unusable", str(error)),), ())
    outcomes, remarks = [], list(report.caveats)
    if demands.min_efficiency is not None:
        outcomes += efficiencies(report, demands.min_efficiency)
    for demand in demands.limits:
        outcomes += demanded(report, demand)
    if demands.baseline is not None:
        found, said = _against(report, demands, compare, options)
        outcomes += found
        remarks += said
    return Checked(report.title, worst_of(outcomes), tuple(outcomes), tuple(dict.fromkeys(remarks)))


def _against(
    report: Report, demands: Demands, compare: CompareOptions, options: Options
) -> tuple[list[Outcome], list[str]]:
    """The regressions of every pair of the baseline and these runs."""
    assert demands.baseline is not None
    words = Demand(AGAINST_BASELINE, demands.max_regression, False).words("share")
    try:
        baseline = report_at([demands.baseline], options)
        pairs, changes, _ = judged(baseline, report, compare)
    except InputError as error:
        return [Outcome(words, report.title, "unusable", f"baseline {demands.baseline.name}: {error}")], []
    remarks = [caveat for change in changes for caveat in change.sections[0].caveats]
    outcomes = [regressed(change, run_of(change).label, demands.max_regression) for change in changes]
    outcomes += [Outcome(words, report.title, "unusable", said) for said in pairs.refused]
    return outcomes, [*pairs.alone, *remarks]


def demands_of(least: Sequence[str], most: Sequence[str]) -> tuple[Demand, ...]:
    """`--min` and `--max` as demands; OptionError for what is none."""
    return (*(demand_of(text, is_least=True) for text in least), *(demand_of(text, is_least=False) for text in most))


__all__ = ["Checked", "Demands", "check", "demands_of", "share_of"]
