"""A report as plain data, the form of its JSON file, and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from scaleprof.results import (
    REPORT_FORMAT,
    Axis,
    Chart,
    Chip,
    Finding,
    Layer,
    Metric,
    Report,
    Result,
    RunReport,
    SeriesOfRuns,
    Table,
    Variant,
    plain,
)
from scaleprof.run import SCHEMA_VERSION, Emulated, RunInfo


def to_dict(report: Report) -> dict[str, Any]:
    """The report in types that JSON knows; slices of timelines are left out."""
    return {
        "format": REPORT_FORMAT,
        "schema_version": SCHEMA_VERSION,
        "title": report.title,
        "verdict": report.verdict,
        "made_with": report.made_with,
        "chips": [dataclasses.asdict(chip) for chip in report.chips],
        "series": [{"id": one.id, "label": one.label, "runs": list(one.runs)} for one in report.series],
        "runs": [
            {
                "name": run.info.name,
                "world_size": run.info.world_size,
                "ranks_read": list(run.ranks_read),
                "info": plain({k: v for k, v in dataclasses.asdict(run.info).items() if v is not None}),
                "caveats": list(run.caveats),
                "sections": [_result_to_dict(section) for section in run.sections],
                "by_step": {name: _table_to_dict(table) for name, table in run.by_step.items()},
            }
            for run in report.runs
        ],
        "comparison": {"sections": [_result_to_dict(section) for section in report.comparison]},
        "tables": {"grouping": _table_to_dict(report.grouping)},
        "caveats": list(report.caveats),
    }


def from_dict(content: Mapping[str, Any]) -> Report:
    """The report from its plain form."""
    runs = []
    for run in content["runs"]:
        info = dict(run["info"])
        if info.get("emulated"):
            info["emulated"] = Emulated(**info["emulated"])
        sections = tuple(_result_from_dict(section) for section in run["sections"])
        by_step = {name: _table_from_dict(table) for name, table in run.get("by_step", {}).items()}
        runs.append(RunReport(RunInfo(**info), tuple(run["ranks_read"]), sections, tuple(run["caveats"]), by_step))
    return Report(
        title=content["title"],
        verdict=content["verdict"],
        runs=tuple(runs),
        comparison=tuple(_result_from_dict(section) for section in content["comparison"]["sections"]),
        chips=tuple(Chip(**chip) for chip in content["chips"]),
        caveats=tuple(content["caveats"]),
        grouping=_table_from_dict(content["tables"]["grouping"]),
        made_with=dict(content["made_with"]),
        series=tuple(SeriesOfRuns(one["id"], one["label"], tuple(one["runs"])) for one in content.get("series", ())),
    )


def _table_to_dict(table: Table) -> dict[str, Any]:
    return {"columns": list(table.columns), "data": table.rows()}


def _table_from_dict(content: Mapping[str, Any]) -> Table:
    return Table.of_rows(content["columns"], content["data"])


def _result_to_dict(result: Result) -> dict[str, Any]:
    bare = dataclasses.replace(result, tables={}, timeline=None, variants=())
    content: dict[str, Any] = plain(dataclasses.asdict(bare))
    del content["timeline"], content["variants"]
    kept, metrics = ("id", "label", "value"), content["metrics"]
    content["metrics"] = [{k: v for k, v in m.items() if k in kept or v not in (None, "", [])} for m in metrics]
    content["tables"] = {name: _table_to_dict(table) for name, table in result.tables.items()}
    if result.variants:
        content["variants"] = [
            {"series": one.series, "run": one.run, "result": _result_to_dict(one.result)} for one in result.variants
        ]
    return content


def _result_from_dict(content: Mapping[str, Any]) -> Result:
    return Result(
        name=content["name"],
        title=content["title"],
        headline=content["headline"],
        metrics=tuple(Metric(**{**m, "trend": tuple(m.get("trend", ()))}) for m in content["metrics"]),
        tables={name: _table_from_dict(table) for name, table in content["tables"].items()},
        charts=tuple(_chart_from_dict(chart) for chart in content["charts"]),
        findings=tuple(Finding(**finding) for finding in content["findings"]),
        caveats=tuple(content["caveats"]),
        variants=tuple(
            Variant(_result_from_dict(one["result"]), one["series"], one["run"]) for one in content.get("variants", ())
        ),
    )


def _chart_from_dict(content: Mapping[str, Any]) -> Chart:
    layers = tuple(Layer(**layer) for layer in content["layers"])
    axes = {name: Axis(**content[name]) if content.get(name) else None for name in ("x", "y", "z")}
    return Chart(**{**content, **axes, "layers": layers})
