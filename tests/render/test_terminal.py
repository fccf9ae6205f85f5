"""The summary in the terminal: complete, on about one screen, and deaf to what traces say to terminals."""

import io

import pytest
from rich.console import Console

from scaleprof.render.terminal import clean, print_checks, print_report
from tests.render.made import REPORTS, evil, minimal, single, study


def printed(name: str, *, color: bool = False, width: int = 110) -> str:
    out = io.StringIO()
    print_report(
        REPORTS[name](),
        Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None),
    )
    return out.getvalue().replace("\u00a0", " ")


def test_the_study_fits_a_screen_and_says_the_numbers() -> None:
    text = printed("study")
    assert text.startswith("mlp keeps 67.8 %")
    assert "Compute emulated, communication real." in text
    assert "67.8 % [66.8, 69.0]" in text
    assert "strong-4 (4 ranks)" in text
    assert "Send larger buckets" in text
    assert "the profiler started 14 ms late" in text
    assert len(text.splitlines()) <= 45


def test_no_line_is_wider_than_the_terminal() -> None:
    for name in REPORTS:
        assert max(len(line) for line in printed(name, width=80).splitlines()) <= 80


def test_strings_of_a_trace_neither_color_nor_move_the_terminal() -> None:
    text = printed("evil", width=400)
    assert "\x1b" not in text
    assert "</script><img" in text
    assert "�[31mred" in text
    assert clean("a\x1b[2Jb\x07\u202ec\nd") == "a�[2Jb��c d"


@pytest.mark.parametrize("make", [study, single, evil, minimal])
def test_markup_of_rich_is_shown_not_obeyed(make: object) -> None:
    assert clean("[bold]x[/bold]") == "[bold]x[/bold]"
    for name, other in REPORTS.items():
        if other is make:
            assert "None" not in printed(name, color=True)


def test_a_report_without_numbers_prints_its_caveats() -> None:
    assert printed("minimal").split() == [
        "trace.json",
        "What",
        "may",
        "be",
        "wrong",
        "-",
        "No",
        "step",
        "was",
        "found.",
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
