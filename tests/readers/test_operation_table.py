"""Tables of operations as published: job ST of StragglerAnalysis with its authors' answers, and files that are no such tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.cli import main
from scaleprof.errors import BrokenFile, InputError, ScaleprofError
from scaleprof.pipeline import analyze_operation_table
from scaleprof.readers.tables.operation_table import COLUMNS, read_operation_table

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet")
TO = 1e-6


def answers(folder: Path) -> dict[str, Any]:
    return {name: json.loads((folder / f"{name}-ST.json").read_text()) for name in ("result", "mw", "ms")}


def test_job_st_has_the_published_answers(foreign_traces: Path) -> None:
    folder = foreign_traces / "stragglers"
    report = analyze_operation_table(folder / "trace-ST.parquet")
    [run] = report.runs
    [section] = run.sections
    result, mw, ms = answers(folder).values()
    metrics = {metric.id: metric.value for metric in section.metrics}
    assert metrics["stragglers.slowdown"] == pytest.approx(result["blocking_slowdown"], abs=TO)
    assert metrics["stragglers.slowdown"] == pytest.approx(1.1787021836556841, abs=TO)
    assert metrics["stragglers.delay_factor"] == pytest.approx(result["launch_slowdown"], abs=TO)
    assert metrics["stragglers.worst_ranks_share"] == pytest.approx(mw["Mw"], abs=TO)
    assert metrics["stragglers.last_stage_share"] == pytest.approx(ms["Ms"], abs=TO)
    for table, column, name in (
        ("by_stage", "stage", "stage"),
        ("by_dp_rank", "dp_rank", "dp_rank"),
        ("by_operation", "operation", "optype"),
    ):
        found = dict(zip(section.tables[table][column], section.tables[table]["slowdown"], strict=True))
        published = {str(key): value for key, value in result[f"blocking_decompose_by_{name}"].items()}
        assert {str(key): value for key, value in found.items()} == pytest.approx(published, abs=TO)
    steps = section.tables["by_step"]
    for column, name in (("step_ms", "step_t_base"), ("no_delay_ms", "step_t_nodelay"), ("even_ms", "step_t_noblk")):
        assert np.array(steps[column]) / 1e3 == pytest.approx(np.array(list(result[name].values())), abs=TO)


def test_the_command_writes_the_slowdown_into_its_json(foreign_traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    table = foreign_traces / "stragglers" / "trace-ST.parquet"
    assert main(["stragglers", str(table), "--json", str(tmp_path / "st.json"), "-o", str(tmp_path / "st.html")]) == 0
    content = json.loads((tmp_path / "st.json").read_text())
    metrics = {one["id"]: one["value"] for one in content["runs"][0]["sections"][0]["metrics"]}
    assert metrics["stragglers.slowdown"] == pytest.approx(1.1787021836556841, abs=TO)
    assert "stage 3" in capsys.readouterr().out
    assert "What stragglers cost" in (tmp_path / "st.html").read_text()


META = "trial_name: X\ndp_size: 1\npp_size: 1\nworld_size: 1\n"


def written(folder: Path, columns: dict[str, Any] | None = None, meta: str | None = META) -> Path:
    """A table of one operation, with these columns in place of its own."""
    whole: dict[str, Any] = {name: ["gc"] if name == "optype" else [0] for name in COLUMNS} | (columns or {})
    parquet.write_table(pyarrow.table({name: value for name, value in whole.items() if value is not None}), folder / "trace-X.parquet")  # fmt: skip
    if meta is not None:
        (folder / "meta-X.yaml").write_text(meta)
    return folder / "trace-X.parquet"


@pytest.mark.parametrize(
    ("columns", "meta", "said"),
    [
        ({"duration": None}, META, "lacks the columns duration"),
        ({"duration": [float("nan")]}, META, "no finite number"),
        ({"stage": [None]}, META, "empty cells in column stage"),
        ({"stage": ["a"]}, META, "column stage that is no number"),
        ({name: pyarrow.array([], pyarrow.string() if name == "optype" else pyarrow.int64()) for name in COLUMNS}, META, "holds no operation"),
        ({}, None, "meta-X.yaml, which says how the job was parallel"),
        ({}, "[1, 2]", "no list of names with values"),
        ({}, "a: [", "not readable YAML"),
        ({}, "dp_size: 0\nworld_size: 1", "dp_size: 0, which is no size"),
        ({}, "dp_size: 2\nworld_size: 3", "world_size 3, but its parts multiply to 2"),
    ],
)  # fmt: skip
def test_what_is_no_such_table_is_refused_in_a_sentence(tmp_path: Path, columns: dict[str, Any], meta: str | None, said: str) -> None:  # fmt: skip
    with pytest.raises(ScaleprofError, match=said):
        read_operation_table(written(tmp_path, columns, meta))


def test_a_file_that_is_no_parquet_or_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_operation_table(tmp_path / "trace-X.parquet")
    table = written(tmp_path)
    table.write_bytes(table.read_bytes()[:40])
    with pytest.raises(BrokenFile, match="is not a readable Parquet file"):
        read_operation_table(table)
    assert main(["stragglers", str(table)]) == 1
    assert "trace-X.parquet" in capsys.readouterr().err


def test_a_table_of_nothing_but_one_operation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="computes nothing"):
        analyze_operation_table(written(tmp_path))
