"""What analyses say: numbers with names (Metric), tables, charts as data, findings; and the Report that carries them.

A report is plain data: `save` and `load` go through JSON, and every renderer starts from the same object. Numbers keep their units in id or
column name: shares are 0..1, times in metrics ms, times in fact tables int64 ns, bandwidth GB/s (1e9).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaleprof import __version__
from scaleprof.errors import BrokenFile
from scaleprof.remote import AnyPath, path_of
from scaleprof.run import RunInfo

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

REPORT_FORMAT = "scaleprof-report"


@dataclass(frozen=True)
class Metric:
    """One number with a stable dotted id. A number that is not defined is not made; say so in a caveat."""

    id: str
    label: str
    value: float | int | str
    unit: str = ""
    """`ms`, `GB/s`, `samples/s`, `FLOP`, `TFLOP/s`, `share` (shown as percent), or empty for counts and words."""
    low: float | None = None
    """Lower and upper end of the 95 % interval, where there is one."""
    high: float | None = None
    note: str = ""
    """A comparison or the scope, in a few words: `from 2.1 % at 1 rank`."""
    better: Literal["higher", "lower", ""] = ""
    trend: tuple[float, ...] = ()
    """The same number over world sizes or steps, for a sparkline."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length, in reading order."""

    columns: dict[str, Any]
    """Column name, with its unit, to a numpy array or a list."""

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        assert len(set(lengths.values())) <= 1, f"columns of different lengths: {lengths}"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    @classmethod
    def of_rows(cls, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> "Table":
        """A table from rows of values, the columns named in order."""
        return cls({name: [row[place] for row in rows] for place, name in enumerate(columns)})

    def rows(self) -> list[list[Any]]:
        """Plain Python values, row by row."""
        return [list(row) for row in zip(*(plain(column) for column in self.columns.values()), strict=True)]

    def to_pandas(self) -> "pd.DataFrame":
        """A pandas frame with the same columns."""
        import pandas as pd

        return pd.DataFrame({name: plain(column) for name, column in self.columns.items()})


@dataclass(frozen=True)
class Axis:
    """One axis of a chart."""

    label: str
    unit: str = ""
    """`share` is shown in percent."""
    scale: Literal["linear", "log2", "log10", "category"] = "linear"
    from_zero: bool = False


@dataclass(frozen=True)
class Layer:
    """One named thing drawn in a chart."""

    name: str
    x: list[Any]
    y: list[Any]
    low: list[float] | None = None
    """Lower and upper end of an interval around y."""
    high: list[float] | None = None
    z: list[list[float | None]] | None = None
    """Heatmaps: one row per y, one column per x."""
    color: str = ""
    """A key of the palette: a leaf (`compute`, `exposed_comm`, ...) or `series-1` ...; empty lets the renderer choose."""
    style: Literal[
        "", "reference", "marks", "span", "fit", "predicted", "indicative", "speculative", "factors", "above", "beside"
    ] = ""
    """`reference`: a thin dashed line to compare with; `marks`: points without a line, and on the cells of a heatmap; `span`: what lies between the
    first and the last x is shaded; `fit`: the line of a law; `predicted`, `indicative`, `speculative`: the same line beyond what was measured, shaded
    and named, the less to be trusted in this order. Heatmaps: `factors`: a table with its numbers printed, in which 1 is calm and
    less stands out; `above` and `beside`: bars over the columns and right of the rows, muted ones of columns that do not count."""
    text: list[str] | None = None
    """Labels beside the points or bars."""
    order: list[int] | None = None
    """Heatmaps: places of the rows, the largest first; the page offers this order beside that of y."""


@dataclass(frozen=True)
class Chart:
    """A picture as data; its title is the takeaway in words, computed from the data."""

    id: str
    kind: Literal["lines", "stacked_bars", "bars", "waterfall", "heatmap", "loglog", "scatter"]
    title: str
    subtitle: str
    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    how: str = ""
    """How this is computed: definition, formula, source."""
    z: Axis | None = None
    """Heatmaps: what the colour stands for, and its unit."""


@dataclass(frozen=True)
class Finding:
    """Something to act on, or an area found healthy."""

    id: str
    title: str
    severity: Literal["critical", "high", "medium", "low", "healthy"]
    text: str
    evidence: str
    """Where it was seen: ranks, steps, events."""
    gain_share: float | None = None
    gain_kind: Literal["", "measured", "ceiling", "replayed"] = ""
    remedy: str = ""
    see: str = ""
    """Name of the section of the same run that shows the evidence; empty where the finding's own section does."""
    rank: int | None = None
    """The rank it is about."""
    step: int | None = None
    """A step in which it is seen well."""


@dataclass(frozen=True)
class Result:
    """What one analysis or comparison concluded: one section of a report."""

    name: str
    """Stable, dotted-id friendly: `time`, `scaling`, `ranks`."""
    title: str
    headline: str
    """The takeaway in one sentence."""
    metrics: tuple[Metric, ...] = ()
    tables: dict[str, Table] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    findings: tuple[Finding, ...] = ()
    caveats: tuple[str, ...] = ()
    """What could not be seen or may be wrong, one sentence each."""
    timeline: Table | None = None
    """Slices of some steps for the report's own picture, one row each (`analyses.timeline.timeline`); in no JSON."""
    variants: "tuple[Variant, ...]" = ()
    """How the section of a comparison reads where one series or one run is selected."""


@dataclass(frozen=True)
class Variant:
    """What stands in place of a section's headline, numbers and charts where its reader selected one series or one run."""

    result: Result
    series: str = ""
    """Id of the series; empty where a run is meant."""
    run: int | None = None
    """Place of the run in the report."""


@dataclass(frozen=True)
class SeriesOfRuns:
    """Runs that scale one job, as a reader selects them."""

    id: str
    label: str
    runs: tuple[int, ...]
    """Places in `Report.runs`, the smallest size first."""


@dataclass(frozen=True)
class Chip:
    """One remark on the quality of the data: `4 of 4 ranks`, `38 steady steps`."""

    text: str
    good: bool
    detail: str = ""


@dataclass(frozen=True)
class RunReport:
    """One run and what was concluded about it."""

    info: RunInfo
    ranks_read: tuple[int, ...]
    sections: tuple[Result, ...]
    caveats: tuple[str, ...] = ()
    by_step: Mapping[str, Table] = field(default_factory=dict)
    """What each steady step was, for comparing runs (`analyses.changes.by_step`); shown nowhere."""

    @property
    def label(self) -> str:
        """How the run is called beside others."""
        ranks = "rank" if self.info.world_size == 1 else "ranks"
        repeat = f", repeat {self.info.repeat}" if self.info.repeat else ""
        return f"{self.info.name} ({self.info.world_size} {ranks}{repeat})"

    def metric(self, id: str) -> Metric | None:
        """The metric of that id, if it was defined."""
        return _find_metric(self.sections, id)


@dataclass(frozen=True)
class Outcome:
    """What became of one demand that a check makes."""

    id: str
    """What was demanded: `step.time_ms <= 120 ms`."""
    subject: str
    """The run, pair or series it was demanded of."""
    answer: Literal["holds", "fails", "inconclusive", "unusable"]
    """`inconclusive`: the interval holds the limit; `unusable`: nothing here can answer."""
    text: str
    """What was found, in a sentence."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Report:
    """Every run that was read, and what comparing them shows."""

    title: str
    verdict: str
    """The answer in one sentence."""
    runs: tuple[RunReport, ...]
    comparison: tuple[Result, ...] = ()
    """Sections over all runs; the first is `overview`: its metrics are the tiles of the first page."""
    chips: tuple[Chip, ...] = ()
    caveats: tuple[str, ...] = ()
    grouping: Table = field(default_factory=lambda: Table({}))
    """Which files were taken as which run and rank."""
    made_with: dict[str, str] = field(default_factory=dict)
    """version, command, created (ISO time)."""
    series: tuple[SeriesOfRuns, ...] = ()
    """What can be selected; a run may be in several and in none."""

    def metric(self, id: str) -> Metric | None:
        """A metric of the comparison, or else of the last run."""
        found = _find_metric(self.comparison, id)
        return found or (self.runs[-1].metric(id) if self.runs else None)

    @property
    def tables(self) -> "Mapping[str, pd.DataFrame]":
        """Every table by name, as pandas frames; those of runs have a `run` and a `world_size` column in front."""
        from scaleprof.render.views import Tables

        return Tables(self)

    @property
    def figures(self) -> "Mapping[str, go.Figure]":
        """Every chart by id, as plotly figures; those of a run as `<run name>/<id>`."""
        from scaleprof.render.views import Figures

        return Figures(self)

    def to_html(self) -> str:
        """The report as one HTML file that needs nothing else."""
        from scaleprof.render.html import render_html

        return render_html(self)

    def to_markdown(self) -> str:
        """A summary that fits a pull-request comment."""
        from scaleprof.render.markdown import render_markdown

        return render_markdown(self)

    def _repr_html_(self) -> str:
        """The report as a notebook shows it."""
        from scaleprof.render.notebook import render_notebook

        return render_notebook(self)

    def log_to(self, run: Any, *, run_id: str = "") -> None:
        """Write numbers, summary and page to an experiment tracker: wandb, MLflow (`run_id` for an MlflowClient) or TensorBoard."""
        from scaleprof.render.trackers import log_report

        log_report(self, run, run_id=run_id)

    def save(self, path: Path | str) -> None:
        """Write the report as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, the form of the JSON file."""
        from scaleprof.saved import to_dict

        return to_dict(self)

    @classmethod
    def load(cls, path: AnyPath | str) -> "Report":
        """The report that `save` wrote."""
        try:
            content = json.loads(path_of(path).read_bytes())
            if content.get("format") != REPORT_FORMAT:
                raise BrokenFile(path, "is not a report that scaleprof wrote (its format key is missing)")
            return cls.from_dict(content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenFile(path, f"is not a readable scaleprof report ({error})") from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Report":
        """The report from its plain form."""
        from scaleprof.saved import from_dict

        return from_dict(content)


def made_now(command: str) -> dict[str, str]:
    """`Report.made_with` of a report that this command makes now."""
    return {"version": __version__, "command": command, "created": datetime.now(UTC).isoformat(timespec="seconds")}


def _find_metric(sections: Sequence[Result], id: str) -> Metric | None:
    return next((metric for section in sections for metric in section.metrics if metric.id == id), None)


def plain(value: Any) -> Any:
    """The same value in types that JSON knows: no numpy, no tuples, NaN as None."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
