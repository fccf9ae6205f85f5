"""Reports made up for the tests of the renderers: a study at 1, 2 and 4 ranks, one run alone, one of evil strings, one with next to nothing."""

from dataclasses import replace

from scaleprof.results import Chip, Report, Result, RunReport, Table
from scaleprof.run import RunInfo
from tests.render.made_comparison import growth, overview, scaling
from tests.render.made_evil import evil
from tests.render.made_runs import SIZES, run


def study() -> Report:
    """Strong and weak scaling at 1, 2 and 4 ranks, the compute emulated."""
    runs = [run(series, ranks) for series in SIZES for ranks in SIZES[series]]
    return Report(
        title="mlp-demo",
        verdict="mlp keeps 67.8 % (strong scaling) and 90.1 % (weak scaling) of perfect efficiency on 4 ranks; "
        "exposed communication takes 25.4 % of the step.",
        runs=tuple(runs),
        comparison=(overview(), scaling(), growth()),
        chips=(
            Chip("14 of 14 ranks", True, "ranks that were read, over all runs"),
            Chip("21 steady steps or more", True),
            Chip("up to 1.8 % waiting for a core", True, "run-queue wait"),
            Chip("compute emulated, communication real", True),
            Chip("clocks between hosts unknown", False, "no number here compares times of different hosts"),
        ),
        caveats=("two runs of the folder are of another model and were left out",),
        grouping=Table.of_rows(
            ("run", "world_size", "rank", "reader", "files"),
            [
                [one.info.name, one.info.world_size, rank, "scaleprof", f"trace-000012-000014.full.json.gz ({rank})"]
                for one in runs
                for rank in one.ranks_read
            ],
        ),
        made_with={
            "version": "0.1.0",
            "command": "scaleprof analyze traces/ -o reports/mlp-demo.html",
            "created": "2026-03-01T10:30:00+00:00",
        },
    )


def single() -> Report:
    """One run of 2 ranks, nothing to compare with."""
    one = run("strong", 2)
    return Report(
        "strong-2",
        "On 2 ranks 85.7 % of the step is compute; exposed communication takes 9.3 % of the step.",
        (one,),
        (replace(overview(), findings=()),),
        (Chip("2 of 2 ranks", True),),
        made_with={"version": "0.1.0", "command": "scaleprof analyze traces/strong-2", "created": ""},
    )


def minimal() -> Report:
    """One rank whose trace has neither steps nor communication: a section without a number."""
    section = Result(
        "kernels",
        "Kernels and operators",
        "",
        tables={"kernels": Table.of_rows(("name", "count", "total_ms"), [])},
        caveats=("no step was found",),
    )
    return Report("trace.json", "", (RunReport(RunInfo("trace.json", 1), (0,), (section,)),))


REPORTS = {"study": study, "single": single, "evil": evil, "minimal": minimal}
