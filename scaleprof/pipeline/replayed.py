"""What a change would bring, and what stragglers cost in a published table of operations: both by replay."""

from collections.abc import Sequence

from scaleprof.analyses.replay.edits import Edit
from scaleprof.analyses.replay.whatif import answer_to
from scaleprof.analyses.stragglers.operation_table import conclude as conclude_operation_table
from scaleprof.errors import InputError, OptionError
from scaleprof.pipeline.facts import facts_of_all, view_of
from scaleprof.pipeline.options import Options, Progress
from scaleprof.pipeline.reports import title_of
from scaleprof.readers import find_runs
from scaleprof.readers.tables.operation_table import read_operation_table
from scaleprof.remote import AnyPath, path_of
from scaleprof.results import Report, RunReport, made_now
from scaleprof.run import RunInfo


def what_if(
    paths: Sequence[AnyPath | str], edit: Edit, *, options: Options | None = None, progress: Progress | None = None
) -> Report:
    """What a change would bring in every run below the paths: each thing alone, and all of them jointly, replayed.

    Raises what `analyze` raises, OptionError for what no run has, and InputError where no run can be replayed.
    """
    options, progress = options or Options(), progress or (lambda stage, done, total: None)
    runs = find_runs([path_of(path) for path in paths], options.run_globs)
    facts, lost = facts_of_all(runs, options, progress)
    reports, refused = [], [reason for reasons in lost for reason in reasons]
    wrong: OptionError | None = None
    for run, of_run in zip(runs, facts, strict=True):
        if not of_run:
            continue
        view = view_of(run, of_run)
        try:
            reports.append(RunReport(view.info, tuple(view.ranks), (answer_to(view, edit),)))
        except OptionError as error:
            wrong = error
            refused.append(f"run {run.info.name}: {error}")
        except InputError as error:
            refused.append(str(error))
    if not reports:
        raise wrong or InputError("nothing could be replayed: " + "; ".join(refused[:3]))
    verdict = reports[-1].sections[0].headline
    return Report(
        title_of([one.info for one in reports]),
        f"{verdict}.",
        tuple(reports),
        caveats=tuple(refused),
        made_with=made_now(options.command),
    )


def analyze_operation_table(path: AnyPath, *, command: str = "") -> Report:
    """What stragglers cost in a table of operations that StragglerAnalysis published, with its `meta-*.yaml` beside it.

    Raises InputError and BrokenFile for what cannot be read or contradicts itself.
    """
    table, about = read_operation_table(path)
    result = conclude_operation_table(table, about)
    parallel = {name: about[f"{name}_size"] for name in ("dp", "pp", "tp") if about[f"{name}_size"] > 1}
    info = RunInfo(name=about["trial_name"], world_size=about["world_size"], mesh=parallel or None)
    run = RunReport(info, tuple(sorted({int(rank) for rank in table["rank"]})), (result,))
    return Report(title=info.name, verdict=f"{result.headline}.", runs=(run,), made_with=made_now(command))
