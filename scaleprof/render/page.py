"""What the page template is given: the report cut into tiles, cards, tables and remarks, every number already in words.

Anchors: a section of the comparison is `<name>`, one of a run `run-<place>-<name>`. Charts and tables of the page's data have the keys
`chart-<number>` and `table-<number>`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from scaleprof.render import tiles
from scaleprof.render.charts import data_of, has_something_to_draw, in_shares, spec_of
from scaleprof.render.folding import folded
from scaleprof.render.shipped import FORMS, PageData, as_fine_as_seen, first_rows, numbers_of
from scaleprof.render.tables import Readable, readable
from scaleprof.render.timelines import LEFT_OUT, put_into
from scaleprof.render.words import many, phrase, sentence, together
from scaleprof.results import Chart, Report, Result, RunReport, Table, plain
from scaleprof.run import RunInfo

MOST_LAYERS_IN_HALF = 6
"""Layers whose legend leaves room for the picture in half of a row."""
_WIDE_KINDS = ("heatmap",)
_GRID = "whatif_grid"
_TABLE_TITLES = {
    "talp": "The same factors under TALP's names",
    "syncbn": "SyncBatchNorm",
    "whatif": "What if",
    _GRID: "Every combination replayed",
}
"""Of tables whose name is no title."""


@dataclass(frozen=True)
class Card:
    """One chart and what stands around it."""

    key: str
    title: str
    subtitle: str
    how: str
    wide: bool
    height: int
    """In pixels; 0 where there is nothing to draw."""
    has_shares: bool = False
    """Whether it can be shown in percent as well."""
    how_of: str = ""
    """Key of the chart that is computed the same way and says how; empty where this one does, or nothing does."""


@dataclass(frozen=True)
class TableView:
    """One table of a section."""

    key: str
    title: str
    content: Readable
    is_open: bool
    total: int
    """Rows that the report has."""
    kept: int
    """Rows that the CSV file has."""


@dataclass(frozen=True)
class SectionView:
    """One section; `run` is the place of its run, None for the comparison."""

    anchor: str
    name: str
    title: str
    headline: str
    tiles: list[tiles.Tile]
    about_tiles: str
    """Of which series they are, where they are not of all."""
    cards: list[Card]
    tables: list[TableView]
    caveats: tuple[str, ...]
    run: int | None
    timeline: str = ""
    """Key of its timeline; empty where there is none."""
    grid: str = ""
    """Key of the table whose what-ifs the page reads; empty where there is none."""
    variants: "tuple[VariantView, ...]" = ()


@dataclass(frozen=True)
class VariantView:
    """What stands in place of a section's headline, tiles and charts where one series or one run is selected."""

    section: SectionView
    series: str
    run: int | None


@dataclass(frozen=True)
class RunPart:
    """One run: its sections and what it was."""

    place: int
    key: str
    label: str
    size: int
    short: str
    """Its name beside the other runs of its series."""
    series: tuple[str, ...]
    """Ids of the series it belongs to."""
    banner: str
    facts: list[tuple[str, str]]
    sections: list[SectionView]
    caveats: tuple[str, ...]


def sections_of(results: Sequence[Result], data: PageData, *, run: int | None = None) -> list[SectionView]:
    """Sections ready for the template; their figures and numbers are put into `data`."""
    return [_section(result, data, run) for result in results]


def runs_of(report: Report, data: PageData) -> list[RunPart]:
    """Every run in the order of the report."""
    keys = _keys([run.info for run in report.runs])
    parts = []
    for place, run in enumerate(report.runs):
        data.runs.append({"ranks": list(run.ranks_read), "steps": _steps_of(run)})
        parts.append(
            RunPart(
                place=place,
                key=keys[place],
                label=run.label,
                size=run.info.world_size,
                short=_short(run),
                series=tuple(one.id for one in report.series if place in one.runs),
                banner=banner_of(run.info),
                facts=_facts(run),
                sections=sections_of(run.sections, data, run=place),
                caveats=tuple(sentence(caveat) for caveat in run.caveats),
            )
        )
    return parts


def _keys(infos: Sequence[RunInfo]) -> list[str]:
    """What the page's address calls each run: its name, with its size or its place where several have that name."""
    names = Counter(info.name for info in infos)
    keys = [info.name if names[info.name] == 1 else f"{info.name}-n{info.world_size}" for info in infos]
    several = Counter(keys)
    return [key if several[key] == 1 else f"{key}~{place}" for place, key in enumerate(keys)]


def _short(run: RunReport) -> str:
    return many(run.info.world_size, "rank") + (f", repeat {run.info.repeat}" if run.info.repeat else "")


def _steps_of(run: RunReport) -> list[int]:
    """The first and the last step that some table of the run knows; empty where none does."""
    tables = [table for section in run.sections for table in section.tables.values() if "step" in table.columns]
    steps = [int(step) for table in tables for step in table["step"] if step is not None]
    return [min(steps), max(steps)] if steps else []


def shown_first(comparison: Sequence[SectionView], run: RunPart | None) -> set[str]:
    """Keys of the charts that are there as the page opens, without a selection."""
    sections = [*comparison, *(run.sections if run else [])]
    return {card.key for section in sections for card in section.cards}


def banners_of(infos: Sequence[RunInfo]) -> list[str]:
    """The banners of all runs; those that differ in nothing but the network are one."""
    plain_banners = list(dict.fromkeys(banner for info in infos if (banner := banner_of(info))))
    starts: dict[str, list[str]] = {}
    for banner in plain_banners:
        start, _, network = banner.partition(" Network: ")
        starts.setdefault(start, []).append(network.rstrip("."))
    return [
        start + (f" Network: {_in_common(list(filter(None, networks)))}." if any(networks) else "")
        for start, networks in starts.items()
    ]


def _in_common(networks: Sequence[str]) -> str:
    """`200mbit, 1gbit between namespaces`: what all end with is said once."""
    tails = [" ".join(network.split(" ")[1:]) for network in networks]
    if len(networks) < 2 or len(set(tails)) > 1 or not tails[0]:
        return ", ".join(networks)
    return f"{', '.join(network.split(' ')[0] for network in networks)} {tails[0]}"


def banner_of(info: RunInfo) -> str:
    """What must be known before any number of this run is believed; empty for a plain recording."""
    parts = []
    if info.synthetic:
        parts.append("Synthetic data: computed from a description of a job, not recorded.")
    if info.emulated:
        what = info.emulated.what
        parts.append(f"{what[:1].upper()}{what[1:]}.")
        if info.emulated.link:
            parts.append(f"Network: {info.emulated.link}.")
    return " ".join(parts)


def measured_table(report: Report) -> Readable:
    """What was measured: one row per run."""
    columns = (
        "run", "world_size", "ranks read", "framework", "model", "strategy", "mesh", "precision", "device", "backend", "level",
        "local_batch", "global_batch", "parameters", "nodes",
    )  # fmt: skip
    rows = []
    for run in report.runs:
        info = run.info
        rows.append(
            [
                info.name + (f", repeat {info.repeat}" if info.repeat else ""), info.world_size, len(run.ranks_read),
                info.framework, info.model, info.strategy, _mesh(info), info.precision, info.device_name or info.device, info.backend,
                info.level, info.local_batch, info.global_batch, info.parameters, info.nodes,
            ]
        )  # fmt: skip
    return readable(Table.of_rows(columns, rows))


def _mesh(info: RunInfo) -> str | None:
    return " x ".join(f"{name} {size}" for name, size in (info.mesh or {}).items()) or None


def selected_run(report: Report) -> int:
    """The run shown first: the one that the first page is about, else the largest."""
    overview = next((section for section in report.comparison if section.name == "overview" and section.charts), None)
    if overview is not None:
        for variant in overview.variants:
            if variant.run is not None and variant.result.charts == overview.charts:
                return variant.run
    sizes = [run.info.world_size for run in report.runs]
    return sizes.index(max(sizes)) if sizes else 0


def _section(result: Result, data: PageData, run: int | None) -> SectionView:
    prefix = "" if run is None else f"run-{run}-"
    tables, grid = [], ""
    for place, (name, table) in enumerate(item for item in result.tables.items() if len(item[1])):
        key = f"table-{len(data.tables)}"
        kept = first_rows(table, data.most_rows)
        data.tables[key] = numbers_of(kept, f"{prefix}{name}")
        if name == _GRID and len(kept) == len(table):
            grid = key
        is_open = run is None and place == 0 and result.name != "overview"
        content = readable(kept)
        title = _TABLE_TITLES.get(name, name.replace("_", " ").capitalize())
        tables.append(TableView(key, title, content, is_open, len(table), len(kept)))
    timeline = put_into(data.timelines, result.timeline)
    caveats = [*result.caveats, *([LEFT_OUT] if result.timeline is not None and not timeline else [])]
    heading = sentence if result.name != "overview" else together
    metrics, about_tiles = tiles.shown_of(result)
    return SectionView(
        anchor=f"{prefix}{result.name}",
        name=result.name,
        title=result.title,
        headline="" if result.headline in {chart.title for chart in result.charts} else heading(result.headline),
        tiles=[tiles.tile_of(metric) for metric in metrics],
        about_tiles=about_tiles,
        cards=_cards(result.charts, data, prefix),
        tables=tables,
        caveats=tuple(sentence(text) for text, _ in folded(caveats, data.series)),
        run=run,
        timeline=timeline,
        grid=grid,
        variants=tuple(VariantView(_section(one.result, data, None), one.series, one.run) for one in result.variants),
    )


def _cards(charts: Sequence[Chart], data: PageData, prefix: str) -> list[Card]:
    cards: list[Card] = []
    for chart in charts:
        key = f"chart-{len(data.charts)}"
        spec = spec_of(chart) if has_something_to_draw(chart) else None
        data.charts[key] = {
            "figure": as_fine_as_seen(plain(spec)),
            "data": numbers_of(data_of(chart), f"{prefix}{chart.id}"),
        }
        shares = in_shares(chart) if spec else None
        if shares is not None:
            data.charts[key]["shares"] = as_fine_as_seen(plain(spec_of(shares)))
        height = int(spec["layout"]["height"]) if spec else 0
        how = sentence(chart.how) if chart.how else ""
        how_of = data.told.setdefault(how, key)
        if how and how_of == key:
            data.charts[key]["how"] = how
        wide = chart.kind in _WIDE_KINDS or bool(
            spec and spec["layout"]["showlegend"] and len(chart.layers) > MOST_LAYERS_IN_HALF
        )
        card = Card(key, together(chart.title), together(chart.subtitle), how, wide, height, shares is not None)
        cards.append(card if how_of == key else replace(card, how="", how_of=how_of if how else ""))
    return _paired(cards, data)


def _paired(cards: Sequence[Card], data: PageData) -> list[Card]:
    """Two cards a row, equally high; one that finds no partner takes the whole row."""
    placed: list[Card] = []
    waiting: Card | None = None
    for card in cards:
        if card.wide or waiting is None:
            placed += [_widened(waiting)] if waiting else []
            waiting = None if card.wide else card
            placed += [card] if card.wide else []
            continue
        height = max(waiting.height, card.height)
        placed += [_as_high(waiting, height, data), _as_high(card, height, data)]
        waiting = None
    return [*placed, _widened(waiting)] if waiting else placed


def _widened(card: Card) -> Card:
    return replace(card, wide=True)


def _as_high(card: Card, height: int, data: PageData) -> Card:
    if not card.height:
        return card
    for form in FORMS:
        if form in data.charts[card.key]:
            _heighten(data.charts[card.key][form], height)
    return replace(card, height=height)


def _heighten(figure: dict[str, Any], height: int) -> None:
    """Make a figure of the page's data as high; bars that lie become no thicker, they move apart."""
    layout = figure["layout"]
    before, layout["height"] = layout["height"], height
    if "bargap" in layout and figure["data"][0].get("orientation") == "h":
        around = layout["margin"]["t"] + layout["margin"]["b"]
        grown = (height - around) / max(before - around, 1)
        layout["bargap"] = round(1 - (1 - layout["bargap"]) / grown, 3)


def _facts(run: RunReport) -> list[tuple[str, str]]:
    """What the run was, in a few words each; unknown things are left out."""
    info = run.info
    facts = [
        (
            "Ranks",
            f"{len(run.ranks_read)} of {info.world_size} read"
            if len(run.ranks_read) != info.world_size
            else str(info.world_size),
        ),
        ("Model", info.model),
        ("Strategy", info.strategy),
        ("Mesh", _mesh(info)),
        ("Framework", info.framework),
        ("Device", info.device_name or info.device),
        ("Backend", info.backend),
        ("Precision", info.precision),
        ("Local batch", phrase(info.local_batch, "") if info.local_batch is not None else None),
        ("Recorded at level", info.level),
        ("Nodes", str(info.nodes) if info.nodes else None),
        *((name, str(version)) for name, version in list(info.versions.items())[:4]),
    ]
    return [(name, str(value)) for name, value in facts if value]
