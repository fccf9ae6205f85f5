"""What changed between two runs or two studies: both sides are analyzed, or loaded where they are saved reports, paired and judged."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scaleprof.analyses.base import many
from scaleprof.analyses.changes.changes import Change, ChangeOptions, change_of
from scaleprof.analyses.changes.comparable import check_across
from scaleprof.analyses.changes.pairs import Pairs, overview_of, paired, run_of
from scaleprof.analyses.changes.rows import step_times
from scaleprof.errors import NotComparable, NothingToRead, OptionError
from scaleprof.models.contrast import Spread, spread_of
from scaleprof.pipeline.options import Options, Progress
from scaleprof.pipeline.reports import analyze
from scaleprof.remote import AnyPath, path_of
from scaleprof.results import REPORT_FORMAT, Chip, Report, RunReport, made_now

_HEAD_BYTES = 4096


@dataclass(frozen=True)
class CompareOptions:
    """What may be compared, and what counts as a change."""

    across: Collection[str] = ()
    """Properties that were changed on purpose (`analyses.changes.comparable.ACROSS`)."""
    anyway: bool = False
    """Compare whatever differs."""
    least: float = ChangeOptions.least
    """The smallest change of the step that counts as one, as a part of it."""

    def __post_init__(self) -> None:
        check_across(self.across)
        if not 0 <= self.least < 1:
            raise OptionError(f"the least change must be at least 0 and below 100 %, not {self.least:g}")


def compare(
    base: AnyPath | str,
    new: AnyPath | str,
    how: CompareOptions | None = None,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Report:
    """What changed from BASE to NEW, each a folder of runs or a saved report, and whether it is real.

    The report has one run for each pair, with the sections `change`, `changed_ranks`, `changed_collectives` and `changed_names`. Raises what
    `analyze` raises, and NotComparable where nothing on one side may be compared with anything on the other.
    """
    how, options = how or CompareOptions(), options or Options()
    ours, theirs = (report_at([path], options, progress) for path in (base, new))
    pairs, changes, spread = judged(ours, theirs, how)
    left_out = (*pairs.refused, *pairs.alone)
    runs = tuple(run_of(change) for change in changes)
    overview = overview_of(changes, left_out, [run.label for run in runs])
    return Report(
        title=_title(base, new),
        verdict=overview.headline,
        runs=runs,
        comparison=(overview,),
        chips=tuple(_chips(changes, spread)),
        caveats=tuple(dict.fromkeys((*ours.caveats, *theirs.caveats))),
        made_with=made_now(options.command),
    )


def judged(base: Report, new: Report, how: CompareOptions) -> tuple[Pairs, list[Change], Spread | None]:
    """What is compared with what, the change of every pair, and how much repeats differ."""
    for side, report in (("BASE", base), ("NEW", new)):
        if any(section.name == "change" for run in report.runs for section in run.sections):
            raise NotComparable(
                f"{side} is itself a comparison ({report.title}): give what it compared, or a report of `scaleprof analyze --json`"
            )
    pairs = paired(base.runs, new.runs, across=how.across, anyway=how.anyway)
    sides = [side for pair in pairs.pairs for side in (pair.base, pair.new)]
    spread = spread_of([[step_times(run) for run in side] for side in sides])
    options = ChangeOptions(how.least)
    return pairs, [change_of(pair, options, spread) for pair in pairs.pairs], spread


def report_at(paths: Sequence[AnyPath | str], options: Options, progress: Progress | None = None) -> Report:
    """A saved report as it is, anything else analyzed."""
    one = [path_of(path) for path in paths]
    if len(one) == 1 and _is_report(one[0]):
        return Report.load(one[0])
    return analyze(one, options=options, progress=progress)


def _is_report(path: AnyPath) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return REPORT_FORMAT.encode() in file.read(_HEAD_BYTES)
    except OSError as error:  # no right to read it, a server that does not answer
        raise NothingToRead(f"{path}: {error.strerror or error}") from error


def _title(base: AnyPath | str, new: AnyPath | str) -> str:
    """What both are called; with their folders where that is the same."""
    paths = [path_of(path).absolute() for path in (base, new)]
    names = [path.name.removesuffix(".json") for path in paths]
    if names[0] == names[1]:
        names = [f"{path.parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
    return f"{names[0]} \N{RIGHTWARDS ARROW} {names[1]}"


def _chips(changes: Sequence[Change], spread: Spread | None) -> list[Chip]:
    runs: list[RunReport] = [run for change in changes for run in (*change.pair.base, *change.pair.new)]
    least = min(len(step_times(run)) for run in runs)
    repeats = min(min(len(change.pair.base), len(change.pair.new)) for change in changes)
    chips = [
        Chip(many(len(changes), "pair"), True, "configurations that both sides have"),
        Chip(f"at least {many(least, 'steady step')}", least >= 20, "in each run"),
        Chip(
            f"{'at least ' if len(changes) > 1 else ''}{many(repeats, 'run')} on each side",
            repeats > 1,
            "one run says nothing of how much runs of the same job differ" if repeats == 1 else "repeats",
        ),
    ]
    if spread is not None:
        chips.append(Chip(f"repeats differ by {100 * spread.sigma:.2g} %", True, "one sigma, of the step time"))
    if any(run.info.emulated for run in runs):
        chips.append(Chip("compute emulated, communication real", True))
    if any(run.info.synthetic for run in runs):
        chips.append(Chip("synthetic data", False))
    return chips
