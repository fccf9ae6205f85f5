"""Who may import whom: the drawing of the house, checked against what the files say."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "scaleprof"

FLOWING = {"run", "trace", "intervals", "clock", "results", "columns", "errors", "remote"}
"""What flows between the parts. Each of these may use only what stands below it."""
FAMILIES = {"readers", "analyses", "render", "export", "collect", "launch", "synth"}

MAY_IMPORT = {
    "errors": set(),
    "clock": {"errors"},
    "intervals": {"errors"},
    "remote": {"errors"},
    "fields": {"clock"},
    "run": {"clock", "errors", "fields", "remote"},
    "trace": {"run", "clock", "intervals", "errors"},
    "results": {"run", "errors", "remote"},
    "columns": {"results", "errors"},
    "saved": {"results", "run"},
    "models": {"intervals", "errors"},
    "align": FLOWING | {"models"},
    "engine": set(),
    "readers": FLOWING,
    "analyses": FLOWING | {"align", "models"},
    "render": FLOWING,
    "export": FLOWING | {"align"},
    "collect": {"run", "clock", "errors"},
    "launch": FLOWING | {"pipeline"},
    "synth": FLOWING,
    "cache": FLOWING | {"align"},
    "settings": {"errors"},
    "redaction": {"results", "run", "remote"},
    "pipeline": FLOWING
    | FAMILIES - {"collect", "launch", "synth"}
    | {"align", "models", "engine", "cache", "redaction", "settings"},
    "tables": FLOWING | {"analyses", "models", "readers"},
    "cli": FLOWING | {"pipeline", "tables", "launch", "render", "settings", "synth"},
    "lightning": {"collect"},
    "huggingface": {"collect"},
    "horovod": {"collect", "run"},
    "tensorflow": {"collect", "run"},
    "__main__": {"cli"},
    "__init__": {"collect", "errors", "pipeline", "results"},
}

FOLDERS = {
    "analyses": [
        "account", "communication", "machine", "replay", "scaling", "stragglers", "findings", "strategies", "timeline", "changes",
    ],
    "collect": ["found", "watching", "written", "machine", "profiling", "horovod", "tensorflow"],
    "readers": ["json_text", "kineto", "xplane", "recorded", "ascend", "horovod", "finding", "tables"],
}  # fmt: skip
"""A folder in one of these parts uses what stands before it, and what lies beside the folders."""

INSIDE_THE_JOB = {"launch/demo_job.py", "launch/emulated.py", "launch/strategy_jobs.py", "launch/sync_batch_norm.py"}
"""These run inside the training process, as a user's script does: they use the recorder, and torch, like one."""

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(PACKAGE)) for file in FILES]


def imports(file: Path, *, lazy: bool) -> set[str]:
    """The modules of the package that a file names, as dotted paths below it: at its top level, or inside functions."""
    tree = ast.parse(file.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if (id(node) in inside) != lazy:
            continue
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            modules = {f"{node.module}.{name.name}" for name in node.names}
            found |= modules if node.module == "scaleprof" else {node.module or ""}
    return {name.removeprefix("scaleprof.") for name in found if name.startswith("scaleprof.")} - {"__version__"}


def part_of(file: Path) -> str:
    """The folder or the file directly below the package."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_imports_point_down(file: Path) -> None:
    part = part_of(file)
    allowed = MAY_IMPORT[part] | {part}
    name = str(file.relative_to(PACKAGE))
    if name in INSIDE_THE_JOB:
        allowed = allowed | {"collect"}
    lazy_allowed = allowed | ({"render", "saved"} if part == "results" else set())
    wrong = {module for module in imports(file, lazy=False) if module.split(".")[0] not in allowed}
    wrong |= {module for module in imports(file, lazy=True) if module.split(".")[0] not in lazy_allowed}
    assert not wrong, f"{name} may import {sorted(allowed)}, not {sorted(wrong)}"


def test_every_part_of_the_package_has_its_place_in_the_drawing() -> None:
    assert {part_of(file) for file in FILES} <= set(MAY_IMPORT)


def test_families_never_import_each_other() -> None:
    for family in FAMILIES:
        assert not MAY_IMPORT[family] & (FAMILIES - {family})


@pytest.mark.parametrize("part", FOLDERS)
def test_folders_of_a_part_use_those_before_them(part: str) -> None:
    for place, folder in enumerate(FOLDERS[part]):
        later = {f"{part}.{name}" for name in FOLDERS[part][place + 1 :]}
        for file in (PACKAGE / part / folder).glob("*.py"):
            used = {".".join(module.split(".")[:2]) for module in imports(file, lazy=False) | imports(file, lazy=True)}
            assert not used & later, f"{file.name} is in {folder}"


def test_every_folder_has_its_place() -> None:
    for part, folders in FOLDERS.items():
        there = {path.name for path in (PACKAGE / part).iterdir() if (path / "__init__.py").exists()}
        assert set(folders) == there


def third_party(file: Path) -> set[str]:
    """The packages that a file imports when it is imported."""
    tree = ast.parse(file.read_text())
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        is_typing = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if not is_typing and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_heavy_packages_are_imported_where_they_are_used(file: Path) -> None:
    name = str(file.relative_to(PACKAGE))
    heavy = {"torch", "pandas", "plotly", "scipy", "pynvml"}
    if name in INSIDE_THE_JOB:
        heavy = heavy - {"torch"}
    if name == "render/charts.py":
        heavy = heavy - {"plotly"}
    assert not third_party(file) & heavy


@pytest.mark.parametrize(
    "part", ["run", "trace", "intervals", "clock", "errors", "engine", "align", "models", "results"]
)
def test_what_flows_needs_numpy_only(part: str) -> None:
    for file in FILES:
        if part_of(file) == part:
            outside = third_party(file) - set(sys.stdlib_module_names) - {"scaleprof"}
            assert outside <= {"numpy"}, file
