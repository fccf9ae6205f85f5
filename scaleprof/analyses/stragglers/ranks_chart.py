"""The picture of ranks by steps: cells, the median of each step above them, the mean of each rank beside them, and the outliers."""

from collections.abc import Mapping

import numpy as np

from scaleprof.analyses.base import listed, percent
from scaleprof.analyses.stragglers.rank_grid import (
    FAR,
    FASTEST,
    LEAST,
    SLOWEST,
    Bools,
    Floats,
    Grid,
    Ints,
    Mark,
    order_of,
)
from scaleprof.results import Axis, Chart, Layer

_SUBTITLES = {"busy": "Step time without time blocked in communication", "step": "Step time"}
_TIMES = {"busy": "busy time", "step": "step time"}
FEW = 12
"""Ranks whose means are all printed beside their rows; of more, the worst outlier's."""


def rank_chart(
    title: str, what: str, grid: Grid, against: Mapping[int, float], far: set[int], marks: list[Mark]
) -> Chart:
    """The chart; `against` is by how much each rank's mean is above that of the median rank, `far` the ranks that are outliers."""
    names = [f"rank {rank}" for rank in grid.ranks]
    beside = np.array([against[rank] for rank in grid.ranks])
    cells = Layer(
        "deviation from the median",
        grid.steps,
        names,
        z=np.round(grid.cells, 5).tolist(),
        order=order_of(beside),
    )
    subtitle = (
        f"{_SUBTITLES[what]} by rank and step, against the median of the steady steps. "
        "Above: the median over ranks. Right: the mean of each rank."
    )
    return Chart(
        id="ranks.heatmap",
        kind="heatmap",
        title=title,
        subtitle=" ".join((subtitle, *(f"{text[:1].upper()}{text[1:]}." for text in reduced(grid, len(against))))),
        x=Axis("step"),
        y=Axis("rank", scale="category"),
        layers=(
            cells,
            *_above(what, grid),
            *_beside(names, beside, np.isin(grid.ranks, list(far))),
            *_marked(grid, marks),
        ),
        how="busy = step - time blocked in communication (at the wait points, or where communication runs and nothing computes). "
        "A row that is red throughout is a slow rank; a red column is a slow moment of all ranks. Outliers: a rank, or a cell without the "
        f"median of its rank and of its step, whose robust z-score (distance from the median / (1.4826 x median absolute deviation)) is {FAR:.0f} "
        f"or more and that is at least {percent(LEAST)} slower than the median; the worst are labelled.",
        z=Axis("deviation from the median", "share"),
    )


def reduced(grid: Grid, ranks: int) -> list[str]:
    """What of the run the picture does not show one by one, in sentences."""
    said = []
    if grid.sampled:
        said.append(
            f"{len(grid.ranks)} of {ranks:,} ranks are shown: the {SLOWEST} slowest, the {FASTEST} fastest, those with outliers and an even sample"
        )
    if grid.width > 1:
        said.append(f"a column is {grid.width} steps, of which it shows the one farthest from the median")
    return said


def left_out(numbers: Ints, steady: Bools) -> str:
    """Which steps are no steady ones, in a sentence; nothing where that is none or all of them."""
    outside = numbers[~steady].tolist()
    if not outside or len(outside) == len(numbers):
        return ""
    steps = f"Step {outside[0]} is" if len(outside) == 1 else f"Steps {listed(outside)} are"
    return f"{steps} not steady (grey) and left out of all statistics."


def _above(what: str, grid: Grid) -> list[Layer]:
    """The median over ranks by column in ms; columns without a steady step apart."""
    layers = []
    for name, chosen, color in (
        (f"{_TIMES[what]}, median over ranks (ms)", grid.steady, "total"),
        ("not steady", ~grid.steady, "muted"),
    ):
        steps = [step for step, wanted in zip(grid.steps, chosen, strict=True) if wanted]
        times = [float(f"{value:.5g}") for value in grid.median_ms[chosen]]
        layers += [Layer(name, list(steps), list(times), color=color, style="above")] if steps else []
    return layers


def _beside(names: list[str], beside: Floats, far: Bools) -> list[Layer]:
    """Each rank's mean against the median rank's; outliers apart."""
    worst = int(np.argmax(beside))
    texts = [
        _signed(value) if len(names) <= FEW else f"{name}: {_signed(value)}" if far[row] and row == worst else ""
        for row, (name, value) in enumerate(zip(names, beside.tolist(), strict=True))
    ]
    layers = []
    for title, chosen, color in (("mean of rank", ~far, "total"), ("mean of rank, outlier", far, "high-2")):
        rows = np.flatnonzero(chosen).tolist()
        if rows:
            values = [round(float(beside[row]), 5) for row in rows]
            layers.append(
                Layer(
                    title,
                    [names[row] for row in rows],
                    list(values),
                    color=color,
                    style="beside",
                    text=[texts[row] for row in rows],
                )
            )
    return layers


def _marked(grid: Grid, marks: list[Mark]) -> list[Layer]:
    if not marks:
        return []
    steps = [grid.steps[mark.column // grid.width] for mark in marks]
    texts = [f"rank {mark.rank}, step {mark.step}: {_signed(mark.deviation)}" for mark in marks]
    return [Layer("outliers", list(steps), [f"rank {mark.rank}" for mark in marks], style="marks", text=texts)]


def _signed(share: float) -> str:
    """`+9.1 %`, and with a true minus where it is less."""
    text = percent(abs(share))
    if text == percent(0):
        return text
    return f"+{text}" if share > 0 else f"\N{MINUS SIGN}{text}"
