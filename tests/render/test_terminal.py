"""The summary in the terminal: complete, on one screen, and deaf to what traces say to terminals."""

import io
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from scaleprof.render.terminal import MOST_LINES, clean, print_checks, print_report
from scaleprof.results import Chip, Metric, Report, Result, RunReport, Table
from scaleprof.run import RunInfo
from tests.render.made import REPORTS, evil, minimal, single, study
from tests.render.test_markdown import HOSTILES, huge


def printed(report: Report, *, color: bool = False, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None)
    print_report(report, console)
    return out.getvalue().replace("\u00a0", " ")


def with_tree(sizes: int = 3) -> Report:
    """The study with an efficiency tree of two series over so many sizes."""
    columns = (
        "series",
        "ranks",
        "efficiency",
        "compute_scalability",
        "parallel",
        "wait",
        "load_balance",
        "transfer",
        "mix",
    )
    rows = [
        [name, 2**size, 1 - size * lost, 1.0, 0.98 - size * lost, 1.0, None, 1 - size * lost, None]
        for name, lost in (("weak scaling", 0.01), ("strong scaling", 0.05))
        for size in range(sizes)
    ]
    section = Result("hierarchy", "", "", tables={"hierarchy": Table.of_rows(columns, rows)})
    return replace(study(), comparison=(*study().comparison, section))


def test_the_study_fits_a_screen_and_says_the_numbers() -> None:
    text = printed(study())
    assert text.startswith("mlp keeps 67.8 %")
    assert "Compute emulated, communication real." in text
    assert "67.8 % [66.8, 69.0]" in text
    assert "strong-4 (4 ranks)" in text
    assert "high  Send larger buckets  +13.7 % replayed  (21 of 21 steps)" in text
    assert "the profiler started 14 ms late" in text
    assert text.rstrip().endswith("In the report: 5 caveats")


def test_the_tree_is_that_of_the_series_the_verdict_is_about_and_the_others_follow() -> None:
    lines = [line.rstrip() for line in printed(with_tree()).splitlines()]
    start = lines.index("efficiency of strong scaling   1 rank  2 ranks  4 ranks")
    assert lines[start + 1 : start + 6] == [
        "Scaling efficiency            100.0 %   95.0 %   90.0 %",
        "  Compute scalability         100.0 %  100.0 %  100.0 %",
        "  Parallel efficiency          98.0 %   93.0 %   88.0 %",
        "    Wait efficiency           100.0 %  100.0 %  100.0 %",
        "    Transfer efficiency       100.0 %   95.0 %   90.0 %",
    ]
    assert any(line.startswith("weak scaling      4      457.8") for line in lines)
    assert not any(line.startswith("strong scaling") for line in lines), "the tree says it already"


def test_of_many_sizes_the_first_and_the_last_are_shown() -> None:
    text = printed(with_tree(sizes=11))
    heads = next(line for line in text.splitlines() if line.startswith("efficiency of"))
    assert heads.split()[4:6] == ["1", "rank"]
    assert heads.split()[-2:] == ["1,024", "ranks"]
    assert "…" not in heads


def test_a_run_alone_shows_its_own_tree() -> None:
    one = single()
    table = Table.of_rows(
        ("factor", "depth", "efficiency"), [["Parallel efficiency", 0, 0.857], ["Wait efficiency", 1, 0.9]]
    )
    section = Result("efficiency", "", "", tables={"efficiency": table})
    run = replace(one.runs[0], sections=(*one.runs[0].sections, section))
    lines = [line.rstrip() for line in printed(replace(one, runs=(run,))).splitlines()]
    start = lines.index("efficiency of strong-2 (2 ranks)  2 ranks")
    assert lines[start + 1 : start + 3] == [
        "Parallel efficiency                85.7 %",
        "  Wait efficiency                  90.0 %",
    ]


@cache
def reports(repository: Path) -> dict[str, Report]:
    """The example reports, one run and one rank of them, what was made up, and hostile ones."""
    examples = {file.stem: Report.load(file) for file in sorted((repository / "reports").glob("*.json"))}
    samples = examples["sample"]
    one_run = next(run for run in samples.runs if run.info.world_size == 4)
    one_rank = next(run for run in samples.runs if run.info.world_size == 1)
    one_gpu = next(run for run in examples["gpu"].runs if run.info.world_size == 1)
    alone = {
        place: replace(samples, runs=(run,), comparison=(), verdict=run.label)
        for place, run in enumerate((one_run, one_rank, one_gpu))
    }
    made = {name: make() for name, make in REPORTS.items()}
    chips = replace(study(), chips=tuple(Chip(f"remark {place} " * 9, place > 8) for place in range(12)))
    hostile = {f"hostile {place}": huge(name) for place, name in enumerate(HOSTILES)}
    trees = {f"tree {sizes}": with_tree(sizes) for sizes in (2, 3, 11)}
    return {
        **examples,
        **{f"alone {place}": one for place, one in alone.items()},
        **made,
        **hostile,
        **trees,
        "chips": chips,
    }


@pytest.mark.parametrize("width", [80, 100, 110, 160])
def test_every_report_is_one_screen(repository: Path, width: int) -> None:
    for name, report in reports(repository).items():
        lines = printed(report, width=width).splitlines()
        assert len(lines) <= MOST_LINES, name
        assert max(map(cell_len, lines)) <= width, name


def test_what_is_cut_is_marked(repository: Path) -> None:
    for name, report in reports(repository).items():
        whole = set(printed(report, width=2000).split())
        words = {word for word in printed(report).split() if len(word) > 4 and "…" not in word and word.isalpha()}
        assert words <= whole | {"series", "sizes"}, name


def test_findings_of_several_runs_say_which(repository: Path) -> None:
    text = printed(Report.load(repository / "reports" / "gpu.json"), width=160)
    assert "in gpu-module (1 rank)" in text
    assert "more findings" in text


def test_strings_of_a_trace_neither_color_nor_move_the_terminal() -> None:
    text = printed(evil(), width=400)
    assert "\x1b" not in text
    assert "</noscript><img" in text
    assert "�[31mred" in text
    assert clean("a\x1b[2Jb\x07\u202ec\nd") == "a�[2Jb��c d"


@pytest.mark.parametrize("make", [study, single, evil, minimal, with_tree])
def test_nothing_unknown_is_printed_as_none(make: object) -> None:
    assert callable(make)
    assert "None" not in printed(make(), color=True)
    assert clean("[bold]x[/bold]") == "[bold]x[/bold]"


def test_a_report_without_numbers_prints_its_caveats() -> None:
    assert [line.rstrip() for line in printed(minimal()).splitlines()] == [
        "trace.json",
        "",
        "What may be wrong",
        "- No step was found.",
        "In the report: 1 caveat",
    ]


def test_what_was_looked_at_is_a_line_each_with_what_to_do_below() -> None:
    out = io.StringIO()
    checks = [("torch", "ok", "2.13", ""), ("NVML", "failed", "\x1b[31mno [bold]library", "install it")]
    print_checks(checks, Console(file=out, width=80))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "torch  ok      2.13",
        "NVML   failed  \ufffd[31mno [bold]library",
        "               -> install it",
    ]


def test_a_report_that_compares_nothing_says_the_numbers_of_its_only_run() -> None:
    section = Result("stragglers", "Stragglers", "Uneven.", (Metric("stragglers.slowdown", "Slowdown", 1.25, "x"),))
    alone = replace(minimal(), comparison=(), runs=(RunReport(RunInfo("job", 8), (0,), (section,)),))
    assert "Slowdown" in printed(alone)
    assert "1.25" in printed(alone)
