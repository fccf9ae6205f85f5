"""What `docs/` promises holds: its commands run and print what is shown, its options, links and figures exist, and no metric is missing."""

import ast
import html
import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from scaleprof.analyses import OPTIONS
from scaleprof.cli import commands
from tests.docs.blocks import (
    DOCS,
    PAGES,
    ROOT,
    Block,
    blocks_of,
    commands_in,
    fits,
    folder_of,
    options_in,
    printed,
    rewritten,
    shown_in,
    unknown_in,
)
from tests.docs.figures import FIGURES

NAMES = [page.name for page in PAGES]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=NAMES)
REPORTS = ("sample", "gpu", "horovod")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folders of all pages lie, with what was measured of traces kept beside them."""
    return tmp_path_factory.mktemp("docs")


# ---- commands ----


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.kind == "console" for block in blocks_of(page))],
    ids=lambda page: page.name,
)
def test_terminals_show_what_their_commands_print(page: Path, parent: Path) -> None:
    folder = folder_of(page, parent)
    blocks = [block for block in blocks_of(page) if block.kind == "console"]
    for block in blocks:
        if unknown_in(block):
            continue
        for one in shown_in(block):
            lines = printed(one.command, folder)
            assert fits(one.lines, lines), f"$ {one.command}\n" + "\n".join(lines)
    unknown = set[str]().union(*map(unknown_in, blocks))
    if unknown:
        pytest.skip(f"this version has no {', '.join(sorted(unknown))}")


@EVERY_PAGE
def test_every_option_that_is_named_exists(page: Path) -> None:
    unknown = set()
    for command, option in options_in(page):
        if command not in commands.commands:
            unknown.add(command)
            continue
        known = {name for one in commands.commands[command].params for name in one.opts} | {"--help", "-h"}
        assert option in known, f"scaleprof {command} has no {option}"
    if unknown:
        pytest.skip(f"this version has no {', '.join(sorted(unknown))}")


def test_every_command_has_its_place() -> None:
    named = {words[0] for page in PAGES for words in commands_in(page)}
    named |= {word for page in PAGES for word in re.findall(r"`scaleprof (\w+)", page.read_text())}
    assert set(commands.commands) <= named


def test_every_option_of_a_command_has_its_place() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    for name, command in commands.commands.items():
        for one in command.params:
            if one.name not in ("quiet", "verbose") and one.param_type_name == "option":
                assert any(re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) for option in one.opts), (
                    f"docs do not name {name} {one.opts}"
                )


@EVERY_PAGE
def test_python_blocks_are_python_and_the_marked_ones_run(page: Path, parent: Path) -> None:
    text = page.read_text()
    for block in blocks_of(page):
        if block.kind == "python":
            ast.parse(block.text)
            if text[: block.start].rstrip().removesuffix("```python").rstrip().endswith("<!-- runs -->"):
                folder = folder_of(page, parent)
                (folder / "script.py").write_text(f"if __name__ == '__main__':\n{indented(block.text)}")
                printed("python script.py", folder)
        elif block.kind == "toml":
            tomllib.loads(block.text)


def indented(text: str) -> str:
    return "".join(f"    {line}" for line in text.splitlines(keepends=True))


def test_dots_stand_for_lines_that_are_left_out() -> None:
    assert fits(("a", "...", "d"), ("a", "b", "c", "d"))
    assert fits(("...",), ())
    assert not fits(("a", "...", "d"), ("a", "b"))
    assert not fits((), ("a",))
    assert rewritten(("x", "...", "y"), ("a", "b", "c", "d")) == ("a", "...", "d")
    assert rewritten(("x",), ("a", "b")) == ("a", "b")


def test_commands_over_several_lines_are_one() -> None:
    (one,) = shown_in(Block("console", "$ scaleprof analyze a \\\n    b\nc\n", "", 0, 0))
    assert one.command == "scaleprof analyze a b"
    assert one.lines == ("c",)


def test_the_settings_are_those_that_there_are() -> None:
    page = (DOCS / "settings.md").read_text()
    stated = dict(re.findall(r"^\| `(\w+\.\w+)` \| ([\d.]+) \|", page, re.MULTILINE))
    known = {
        f"{name}.{field}": value
        for name, kind in OPTIONS.items()
        for field, value in vars(kind()).items()
        if isinstance(value, float)
    }
    assert {name: float(value) for name, value in stated.items()} == known


# ---- links and figures ----


def anchors_of(page: Path) -> set[str]:
    """The anchors of its headings, as Python-Markdown makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        kept = re.sub(r"[^\w\s-]", "", heading).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", kept))
    return found


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = DOCS / name if name else page
        if name == "notebook.md":
            path = DOCS / "notebook.ipynb"
        assert path.is_file(), target
        assert not anchor or anchor in anchors_of(path), target


@EVERY_PAGE
def test_files_that_are_named_are_there(page: Path) -> None:
    for path in re.findall(r"`((?:tests|benchmarks|reports|scaleprof|sample_traces)/[\w./-]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


@EVERY_PAGE
def test_make_targets_that_are_named_are_there(page: Path) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(re.findall(r"`make ([\w-]+)", page.read_text())) <= set(phony[1].split())


def test_figures_are_those_that_make_takes() -> None:
    shown = {name for page in PAGES for name in re.findall(r"\(figures/([\w-]+)\.png\)", page.read_text())}
    assert shown == set(FIGURES) == {path.stem for path in (DOCS / "figures").glob("*.png")}
    for figure in FIGURES.values():
        assert f'data-name="{figure.section or "overview"}"' in (ROOT / f"reports/{figure.report}.html").read_text()


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r": (\w[\w-]*\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == {*NAMES, "notebook.md"}


# ---- numbers that are quoted ----


def test_numbers_of_other_tools_are_those_of_the_suite() -> None:
    suite = [
        row_of(line) for line in (ROOT / "tests/torture/PEERS.md").read_text().splitlines() if line.startswith("| ")
    ]
    ours = {row[0]: row[1:] for row in map(row_of, (DOCS / "other-tools.md").read_text().splitlines()) if len(row) == 9}
    told = {"ScaleProf": "ScaleProf", "HTA": "HTA 0.5.0", "HTA, old names": "HTA 0.5.0, kernels named as in 2022"}
    told["torch-tb-profiler"] = "torch-tb-profiler 0.4.3"
    seen = 0
    for row in suite:
        if row[0] in told:
            seen += 1
            assert ours[told[row[0]]] == [*row[2:6], *(value.partition(",")[0] for value in row[6:])]
    assert seen == len(told)


def test_numbers_of_predictions_are_those_of_the_benchmark() -> None:
    measured = predictions_in(ROOT / "benchmarks" / "README.md", [1, 2, 3, 4, 6])
    stated = predictions_in(DOCS / "trust.md", [1, 2, 3, 4, 5])
    assert len(stated) == 8
    assert stated.items() <= measured.items()


def test_numbers_of_many_ranks_are_those_of_the_benchmark() -> None:
    lines = (ROOT / "benchmarks" / "growth.md").read_text().splitlines()
    measured = {row[0]: row for row in map(row_of, lines) if row and row[0].replace(",", "").isdecimal()}
    stated = [row for row in map(row_of, (DOCS / "clusters.md").read_text().splitlines()) if row and row[0] in measured]
    assert len(stated) == len(measured) >= 7
    for ranks, rows, align, conclude, memory in stated:
        found = measured[ranks]
        assert [rows, align, conclude, memory] == [found[1], found[3], found[4], found[9]]


@pytest.mark.parametrize(
    ("page", "source", "numbers"),
    [
        ("trust.md", "tests/torture/README.md", ["173", "172", "99.4 %", "260"]),
        ("trust.md", "benchmarks/README.md", ["9.1 %", "80.3 %", "19.9 %", "25.8 ms"]),
        ("compare.md", "benchmarks/README.md", ["23.6 %", "9.4 %", "17.8 %", "21.2 %"]),
        ("other-tools.md", "benchmarks/README.md", ["1.1", "8.63", "3.95", "52.6", "3.25", "127", "132"]),
    ],
)
def test_numbers_that_are_quoted_are_measured(page: str, source: str, numbers: list[str]) -> None:
    said, measured = (DOCS / page).read_text(), (ROOT / source).read_text()
    for number in numbers:
        whole = rf"(?<![\d.,]){re.escape(number)}(?![\d])"
        assert re.search(whole, said), f"{page} no longer says {number}"
        assert re.search(whole, measured), f"{source} does not say {number}"


def predictions_in(path: Path, columns: list[int]) -> dict[tuple[str, str], list[str]]:
    """By curves and model: predicted, refused, median error, 90 % of errors below."""
    found, curves = {}, ""
    for row in map(row_of, path.read_text().splitlines()):
        if len(row) > max(columns) and any(
            row[1].startswith(name) for name in ("ScaleProf", "Amdahl", "USL", "Extra-P")
        ):
            curves = row[0] or curves
            found[curves, row[1]] = [row[column] for column in columns[1:]]
    return found


def row_of(line: str) -> list[str]:
    return [html.unescape(cell).strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# ---- metrics ----


def documented() -> dict[str, tuple[str, str, str]]:
    """By id: label, unit, heading."""
    found, heading = {}, ""
    for line in (DOCS / "metrics.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line[3:]
        row = row_of(line)
        if len(row) == 4 and row[0].startswith("`"):
            found[row[0].strip("`")] = (row[1], row[2], heading)
    return found


def pattern_of(text: str) -> re.Pattern[str]:
    """`scaling.<series>.knee` as what it stands for."""
    return re.compile("(.+)".join(map(re.escape, re.split(r"<\w+>", text))))


def occurring(name: str) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """By id and unit of an example report: labels and sections."""
    report = json.loads((ROOT / "reports" / f"{name}.json").read_text())
    found: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)

    def gather(section: dict[str, Any]) -> None:
        for metric in section["metrics"]:
            found[metric["id"], metric.get("unit", "")].add((metric["label"], section["name"]))
        for variant in section.get("variants", []):
            gather(variant["result"])

    for run in report["runs"]:
        for section in run["sections"]:
            gather(section)
    for section in report["comparison"]["sections"]:
        gather(section)
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_every_metric_that_occurs_is_explained(name: str) -> None:
    rows = documented()
    for (id, unit), places in occurring(name).items():
        fitting = [row for row in rows if pattern_of(row).fullmatch(id)]
        exact = [row for row in fitting if "<" not in row] or fitting
        assert len(exact) == 1, f"{id} is explained by {exact}"
        label, stated, heading = rows[exact[0]]
        assert stated == unit, id
        for said, section in places:
            if section == "overview":
                continue
            assert pattern_of(label).fullmatch(said), (id, said)
            assert f"`{section}`" in heading, (id, section, heading)


def test_every_metric_that_is_explained_can_occur() -> None:
    """In an example report, or by its literal in the code of an analysis."""
    ids = {id for name in REPORTS for id, _ in occurring(name)}
    code = "\n".join(path.read_text() for path in (ROOT / "scaleprof" / "analyses").rglob("*.py"))
    for row in documented():
        if any(pattern_of(row).fullmatch(id) for id in ids) or f'"{row}"' in code:
            continue
        prefix, last = row.partition("<")[0], row.rsplit(".", 1)[-1].partition("<")[0]
        assert "<" in row, row
        assert f'"{prefix}{{' in code or f'"{last}"' in code, row


def test_every_section_is_named() -> None:
    headings = " ".join(heading for _, _, heading in documented().values())
    for name in REPORTS:
        for places in occurring(name).values():
            for _, section in places:
                assert f"`{section}`" in headings


# ---- the notebook and the site ----


def test_the_notebook_is_kept_without_output() -> None:
    cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    for cell in cells:
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))


@pytest.mark.skipif(
    not all(find_spec(name) for name in ("nbclient", "nbformat", "ipykernel")),
    reason="nbclient and ipykernel are not here: `make docs` installs them",
)
def test_the_notebook_runs() -> None:
    from tests.docs.notebook import executed, page_of

    page, files = page_of(executed())
    assert "69.3" in page or any("69.3" in text for text in files.values())
    assert any("plotly.min.js" in text for text in files.values())


@pytest.mark.skipif(
    not all(find_spec(name) for name in ("mkdocs", "mkdocstrings", "nbclient", "ipykernel")),
    reason="mkdocs is not here: `make docs` installs it",
)
def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {*NAMES, "notebook.md"} <= {f"{page.stem}.md" for page in pages}
    for page in pages:
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text())
        loaded = [
            tag
            for tag in tags
            if re.search(r"""(?:src|href)=["'](?:https?:)?//""", tag) and 'rel="canonical"' not in tag
        ]
        assert not loaded, (page.name, loaded[:3])


def test_public_names_are_in_the_reference() -> None:
    import scaleprof
    from tests.docs.hooks import REST, on_page_markdown

    page = (DOCS / "api.md").read_text()
    stated = set(re.findall(r"^::: scaleprof\.(\w+)$", page, re.MULTILINE))
    assert set(scaleprof.__all__) - {"__version__"} <= stated
    assert REST in page
    assert "::: scaleprof.pipeline.what_if\n" in on_page_markdown(page)
    assert "`scaleprof.__version__`" in page
