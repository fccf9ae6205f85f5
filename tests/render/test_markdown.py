"""The summary as Markdown: tables that stay tables, strings that stay strings."""

import re

from scaleprof.render.markdown import MOST_CHARACTERS, escaped, render_markdown
from scaleprof.results import Report
from tests.render.made import REPORTS, evil, minimal, study


def test_the_study_has_verdict_numbers_tables_and_caveats() -> None:
    text = render_markdown(study())
    assert text.startswith("### mlp keeps 67.8 %")
    assert "> Compute emulated, communication real." in text
    assert "| Efficiency, strong scaling | **67.8 %** | 95 %: 67.1 to 68.6 %, 4 against 1 rank |" in text
    assert "| strong-4 (4 ranks) | 66.6 % | 15.2 % | 7.6 % | 2.5 % | 8.0 % |" in text
    assert "1. **Send larger buckets** (replayed +13.7 %)" in text
    assert "<details><summary>What may be wrong (5)</summary>" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for make in REPORTS.values():
        for block in render_markdown(make()).split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_strings_of_a_trace_are_neither_markup_nor_mentions() -> None:
    assert escaped("a|b") == r"a\|b"
    assert escaped("<img src=x>") == "&lt;img src=x&gt;"
    assert escaped("[x](javascript:1)") == r"\[x\](javascript:1)"
    assert escaped("@team look") == "@\u200bteam look"
    assert "https://" not in escaped("https://evil.example")
    assert escaped("two\nlines\x1b[31m") == "two lines\\[31m"
    text = render_markdown(evil())
    assert "<img" not in text
    assert "<script" not in text


def test_a_comment_stays_below_the_limit() -> None:
    long = Report("t", "x" * 100_000, (), caveats=tuple(f"caveat {number} " + "y" * 5000 for number in range(100)))
    assert len(render_markdown(long)) < MOST_CHARACTERS
    assert "and 80 more in the report" in render_markdown(long)


def test_a_report_without_numbers_is_short() -> None:
    text = render_markdown(minimal())
    assert text.startswith("### trace.json")
    assert "|" not in text
