"""Promises about the project itself: what importing it loads, what its files look like, and what is written about it."""

import ast
import base64
import getpass
import gzip
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import scaleprof
from scaleprof.cli import commands

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "scaleprof"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(PACKAGE)) for file in FILES]
HEAVY = ("torch", "pandas", "plotly", "scipy", "numpy", "rich", "click", "jinja2")

FENCES = {"pipeline/facts.py": 1, "pipeline/reports.py": 1, "collect/guard.py": 1}
MAY_PRINT = {"render/terminal.py"}
INSIDE_THE_JOB = {f"scaleprof.launch.{name}" for name in ("demo_job", "emulated", "strategy_jobs", "sync_batch_norm")}

RECORDED = [ROOT / "sample_traces", PACKAGE / "launch" / "demo_study", ROOT / "reports"]
"""Folders of committed files that were made on some machine."""


def loaded_after(statement: str) -> set[str]:
    """The modules that a fresh Python has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import scaleprof") & set(HEAVY)


def test_no_module_loads_torch_or_a_plotting_library_when_imported() -> None:
    modules = [".".join(("scaleprof", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in FILES]
    wanted = [m.removesuffix(".__init__") for m in modules if m not in INSIDE_THE_JOB and not m.endswith("__main__")]
    loaded = loaded_after(f"import {', '.join(m for m in wanted if m != 'scaleprof.render.charts')}")
    assert not loaded & {"torch", "pandas", "plotly", "scipy"}


def test_all_names_every_public_name_and_each_exists() -> None:
    assert sorted(scaleprof.__all__) == sorted(
        ["Report", "ScaleprofError", "Windows", "__version__", "analyze", "profile", "step", "trace_handler"]
    )
    assert all(getattr(scaleprof, name) is not None for name in scaleprof.__all__)
    assert dir(scaleprof) == sorted(scaleprof.__all__)


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == scaleprof.__version__


def test_the_readme_names_every_command_and_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, command in commands.commands.items():
        assert f"scaleprof {name}" in readme, f"the README does not name the command {name}"
        assert command.help, f"the command {name} has no help"
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md", "api.md"}
    assert [page for page in sorted(pages) if f"(docs/{page}" not in readme] == []


def test_the_readme_names_every_target_of_the_makefile() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    readme = (ROOT / "README.md").read_text()
    assert [target for target in phony[1].split() if f"make {target}" not in readme] == []


def test_every_dependency_is_pinned_for_the_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[^\w.-]", one)[0].lower().replace("_", "-") for one in stated} - {"scaleprof"}
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert names <= {pin.split("==")[0].lower().replace("_", "-") for pin in pins}


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_files_and_functions_stay_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= 60, f"{node.name} is longer than 60 lines"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_file_says_what_it_is_for(file: Path) -> None:
    text = file.read_text()
    assert not text or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_exception_is_caught_at_the_fences_only(file: Path) -> None:
    handlers = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ExceptHandler)]
    broad = [node for node in handlers if node.type is None or (names_in(node.type) & {"Exception", "BaseException"})]
    # Catching everything in order to put things right and raise it again is no fence.
    broad = [node for node in broad if not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)]
    assert len(broad) == FENCES.get(str(file.relative_to(PACKAGE)), 0)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_the_library_does_not_print(file: Path) -> None:
    if str(file.relative_to(PACKAGE)) in MAY_PRINT:
        return
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


def names_in(node: ast.expr) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def recorded_files() -> Iterator[Path]:
    for folder in RECORDED:
        # Pixels of a picture may happen to spell anything.
        yield from sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png")


def test_committed_recordings_name_no_machine_user_or_path() -> None:
    personal = {socket.gethostname(), getpass.getuser()} - {"root", "localhost", ""}
    folders = r"/(home|root|Users|tmp|work|opt|usr|var|mnt|srv|data)/"
    for path in recorded_files():
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode(errors="replace")
        text = _readable(path, text)
        found = re.search(folders, text)
        assert not found, f"{path.relative_to(ROOT)} holds a path: ...{text[found.start() - 40 : found.end() + 40]}"
        for word in personal:
            assert not re.search(rf"\b{re.escape(word)}\b", text), f"{path.relative_to(ROOT)} names {word}"


def _readable(path: Path, text: str) -> str:
    """What can be read in a file: of an HTML report also the data that lie in it compressed, but not the plotting library, the same for everyone."""
    if path.suffix != ".html":
        return text
    islands = re.findall(r">(H4sI[A-Za-z0-9+/=\s]+)<", text)
    assert islands
    inside = [gzip.decompress(base64.b64decode(island)).decode() for island in islands]
    for island in islands:
        text = text.replace(island, "")
    return text + "".join(one for one in inside if one.startswith("{"))


def test_the_packaged_study_is_small() -> None:
    files = [path for path in (PACKAGE / "launch" / "demo_study").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
