"""The summary as Markdown: tables that stay tables, strings that stay strings, and never longer than a comment may be."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaleprof.render.markdown import MOST_CHARACTERS, NO_WIDTH, escaped, render_markdown
from scaleprof.results import Chip, Finding, Metric, Report, Result, Table
from scaleprof.run import Emulated
from tests.render.made import REPORTS, evil, minimal, study

HOSTILE = (
    "a|b `c` <b>d</b>\n\n# @octocat @org/team fixes #123 GH-45 www.evil.example https://evil.example $x$ &copy; \\|"
)


def test_the_study_has_verdict_numbers_tables_and_caveats() -> None:
    text = render_markdown(study())
    assert text.startswith("### mlp keeps 67.8 %")
    assert "> Compute emulated, communication real." in text
    assert "| Efficiency, strong scaling | **67.8 %** | 95 %: 67.1 to 68.6 %, 4 against 1 rank |" in text
    assert "| strong-4 (4 ranks) | 66.6 % | 15.2 % | 7.6 % | 2.5 % | 8.0 % |" in text
    assert "1. **Send larger buckets** (replayed +13.7 %): 48 all-reduces" in text
    assert "<details><summary>What may be wrong (5)</summary>" in text


def test_the_efficiency_tree_of_the_verdicts_series_is_a_table() -> None:
    columns = ("series", "ranks", "efficiency", "compute_scalability", "parallel", "wait", "memory", "mix")
    rows = [
        [name, size, *(kept if size > 1 else 1.0 for _ in range(4)), 1.0, None]
        for name, kept in (("strong", 0.5), ("weak", 0.9))
        for size in (1, 2)
    ]
    section = Result("hierarchy", "", "", tables={"hierarchy": Table.of_rows(columns, rows)})
    text = render_markdown(replace(study(), comparison=(*study().comparison, section)))
    assert "**Efficiency of strong**\n\n|  | 1 rank | 2 ranks |\n| --- | ---: | ---: |\n" in text
    assert "| Scaling efficiency | 100.0 % | 50.0 % |" in text
    assert "| &nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;Wait efficiency | 100.0 % | 50.0 % |" in text
    assert "Memory efficiency" not in text, "it is 1 everywhere"
    assert "Same kernels" not in text, "nobody knows"


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for report in (*(make() for make in REPORTS.values()), huge(HOSTILE)):
        for block in render_markdown(report).split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}) <= 1


def test_strings_of_a_trace_are_neither_markup_nor_mentions() -> None:
    assert escaped("a|b") == r"a\|b"
    assert escaped("<img src=x>") == "&lt;img src=x&gt;"
    assert escaped("[x](javascript:1)") == r"\[x\](javascript:1)"
    assert escaped("@team look") == "@\u200bteam look"
    assert escaped("me@example.org .@team") == "me@\u200bexample.org .@\u200bteam"
    assert escaped("fixes #12, owner/it#3, gh-4") == "fixes \\#\u200b12, owner/it\\#\u200b3, gh-\u200b4"
    assert escaped("www.evil.example") == "www\u200b.evil.example"
    assert "https://" not in escaped("https://evil.example")
    assert escaped("two\nlines\x1b[31m") == "two lines\\[31m"
    text = render_markdown(evil())
    assert "<img" not in text
    assert "<script" not in text


def huge(name: str) -> Report:
    """33 runs of 1,024 ranks in which everything that has a name has this one."""
    one = study().runs[2]
    finding = Finding(name, name, "high", name, name, 0.5, "ceiling", name)
    section = Result(name, name, name, (Metric(name, name, name, name),), findings=(finding,) * 5, caveats=(name,))
    emulated = Emulated(name, link=name)
    runs = tuple(
        replace(
            one,
            info=replace(
                one.info, name=f"{name} {place}", world_size=1024, emulated=replace(emulated, what=f"{name}{place}")
            ),
            sections=(*one.sections, replace(section, caveats=(f"{name} {place}",))),
        )
        for place in range(33)
    )
    scaling = study().comparison[1].tables["scaling"]
    many = Table(
        {key: list(column) * 10 for key, column in scaling.columns.items() if key != "series"} | {"series": [name] * 60}
    )
    rows = [[f"{name} {series}", 2**size, *([0.5] * 5)] for series in range(9) for size in range(11)]
    tree = Table.of_rows(("series", "ranks", "efficiency", "compute_scalability", "parallel", "wait", "transfer"), rows)
    overview = replace(section, name="overview", metrics=(Metric(name, name, name, name, note=name),) * 30)
    return Report(
        name,
        name,
        runs,
        (overview, Result("scaling", "", "", tables={"scaling": many}), Result("hierarchy", "", "", tables={"hierarchy": tree})),
        (Chip(name, False),) * 20,
        tuple(f"{name} {place}" for place in range(100)),
        made_with={"version": name, "command": name},
    )  # fmt: skip


HOSTILES = (
    HOSTILE, "<" * 5000, "&" * 5000, "#1" * 2500, "x" * 100_000, "\n" * 1000, "| " * 3000, "[" * 3000, "strategies ddp+fp16"
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILES, ids=range(len(HOSTILES)))
def test_a_comment_stays_below_the_limit_and_pings_nobody(name: str) -> None:
    text = render_markdown(huge(name))
    assert len(text) < MOST_CHARACTERS
    assert not re.search(r"@\w|#\d|\bgh-\d|www\.|://", text, re.IGNORECASE)
    assert text.count("<details>") == text.count("</details>")
    assert not re.search(r"<(?!/?(?:details|summary|sub)>)", text)
    assert all(heading in text for heading in ("**Scaling**", "**Efficiency of", "**What to do**", "What may be wrong"))
    assert "more remarks in the report" in text
    assert NO_WIDTH in text or name != HOSTILE


def test_what_is_left_out_is_counted() -> None:
    long = Report("t", "x" * 100_000, (), caveats=tuple(f"caveat {number} " + "y" * 5000 for number in range(100)))
    assert len(render_markdown(long)) < MOST_CHARACTERS
    assert "and 80 more remarks in the report" in render_markdown(long)
    assert "and 165 more findings in the report" in render_markdown(huge("short"))


def test_the_largest_samples_fit(repository: Path) -> None:
    for file in sorted((repository / "reports").glob("*.json")):
        assert 1000 < len(render_markdown(Report.load(file))) < MOST_CHARACTERS


def test_a_report_without_numbers_is_short() -> None:
    text = render_markdown(minimal())
    assert text.startswith("### trace.json")
    assert "|" not in text


def test_a_report_of_nothing_is_a_heading() -> None:
    empty: dict[str, Any] = {"title": "t", "verdict": "", "runs": ()}
    assert render_markdown(Report(**empty)) == "### t\n"
