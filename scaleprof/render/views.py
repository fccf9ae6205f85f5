"""What a notebook sees of a report: its tables as pandas frames, its charts as plotly figures, made when they are asked for."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from scaleprof.results import Report

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


class Tables(Mapping[str, "pd.DataFrame"]):
    """Tables of a report by name, made into pandas frames when asked for."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def __getitem__(self, name: str) -> "pd.DataFrame":
        import pandas as pd

        if name == "grouping":
            return self._report.grouping.to_pandas()
        for section in self._report.comparison:
            if name in section.tables:
                return section.tables[name].to_pandas()
        frames = []
        for run in self._report.runs:
            for section in run.sections:
                if name in section.tables:
                    frame = section.tables[name].to_pandas()
                    frame.insert(0, "run", run.info.name)
                    frame.insert(1, "world_size", run.info.world_size)
                    frames.append(frame)
        if not frames:
            raise KeyError(f"{name}; there are: {', '.join(self)}")
        return pd.concat(frames, ignore_index=True)

    def __iter__(self) -> Iterator[str]:
        sections = [*self._report.comparison, *(section for run in self._report.runs for section in run.sections)]
        return iter(dict.fromkeys(["grouping", *(name for section in sections for name in section.tables)]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Figures(Mapping[str, "go.Figure"]):
    """Charts of a report by id, made into plotly figures when asked for."""

    def __init__(self, report: Report) -> None:
        self._charts = {chart.id: chart for section in report.comparison for chart in section.charts}
        for variant in (one for section in report.comparison for one in section.variants):
            name = "" if variant.run is None else f"{report.runs[variant.run].info.name}/"
            self._charts |= {f"{name}{chart.id}": chart for chart in variant.result.charts}
        for run in report.runs:
            for section in run.sections:
                self._charts |= {f"{run.info.name}/{chart.id}": chart for chart in section.charts}

    def __getitem__(self, id: str) -> "go.Figure":
        from scaleprof.render.charts import figure_of

        return figure_of(self._charts[id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._charts)

    def __len__(self) -> int:
        return len(self._charts)
