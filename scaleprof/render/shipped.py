"""What the page's script gets: figures, and the numbers behind charts and tables, in the form that compresses best."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from scaleprof.results import Table, plain

FORMS = ("figure", "shares")
"""A figure as it is shown first, and in percent."""


@dataclass
class PageData:
    """Charts, tables and timelines by key, and what can be selected."""

    charts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Each with its figure, the numbers in it, and how it is computed where no chart before says so."""
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    timelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    """What can be selected in each run: its ranks, and its first and last step."""
    told: dict[str, str] = field(default_factory=dict)
    """How charts are computed, and the key of the first that is computed so: a text stands once."""
    series: tuple[str, ...] = ()
    """What the series are called."""
    most_rows: int | None = None
    """Of each table, also in its CSV file; None for all."""

    def opening(self, shown: Collection[str]) -> dict[str, Any]:
        """The figures of these charts, which are there before everything else."""
        return {
            key: {form: chart[form] for form in FORMS if form in chart}
            for key, chart in self.charts.items()
            if key in shown
        }

    def rest(self, shown: Collection[str]) -> dict[str, Any]:
        """Everything but those. Other figures stay beside their numbers: what is alike and close costs next to nothing."""
        charts = {
            key: {name: part for name, part in chart.items() if key not in shown or name not in FORMS}
            for key, chart in self.charts.items()
        }
        return {"charts": charts, "tables": self.tables, "timelines": self.timelines, "runs": self.runs}


def first_rows(table: Table, most: int | None) -> Table:
    """The table, or its first rows."""
    if most is None or len(table) <= most:
        return table
    return Table({name: column[:most] for name, column in table.columns.items()})


def numbers_of(table: Table, name: str) -> dict[str, Any]:
    """What the CSV file of that name has, unrounded and by column: a figure's own column, close by, then costs nearly nothing."""
    return {
        "columns": list(table.columns),
        "values": [plain(column) for column in table.columns.values()],
        "name": name,
    }


def as_fine_as_seen(value: Any) -> Any:
    """A plain figure with numbers of seven significant digits, finer than a pixel."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, list):
        return [as_fine_as_seen(item) for item in value]
    if isinstance(value, dict):
        return {key: as_fine_as_seen(item) for key, item in value.items()}
    return value
