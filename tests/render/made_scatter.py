"""A made-up picture of strategies, crowded as real ones are: two nearly in one place, one far off, long names."""

from scaleprof.results import Axis, Chart, Layer, Report, Result, RunReport
from scaleprof.run import RunInfo

POINTS = {
    "ddp+powersgd": (338.6, 32.7, 0.4, ""),
    "ddp+fp16": (305.8, 32.2, 0.8, ""),
    "ddp": (301.8, 26.8, 0.4, ""),
    "pp-1f1b": (281.5, 24.1, 0.1, ""),
    "pp-gpipe": (283.2, 24.1, 0.4, ""),
    "tp": (291.7, 24.0, 1.8, ""),
    "ddp+syncbn": (308.3, 17.6, 0.3, "beaten"),
    "fsdp2+tp": (312.1, 16.6, 0.2, "beaten"),
    "fsdp2": (378.0, 11.9, 0.1, "beaten"),
}
"""Name to MB, samples a second, half of the interval, and whether it is beaten."""
FRONT = ([281.5, 301.8, 305.8, 338.6], [24.1, 26.8, 32.2, 32.7])


def scatter_chart(id: str = "strategies.memory_4", *, names: tuple[str, ...] = tuple(POINTS)) -> Chart:
    layers = []
    for name, (memory, rate, half, note) in POINTS.items():
        known = [memory] if name in names else []
        ends = ([rate - half], [rate + half]) if known else (None, None)
        layers.append(Layer(name, known, [rate] if known else [], *ends, text=[note] if known else None))
    return Chart(
        id,
        "scatter",
        "pp-1f1b needs 16.9 % less memory than ddp+powersgd but does 26.3 % fewer samples a second at 4 ranks",
        "Throughput against memory. Up and to the left is better.",
        Axis("peak memory of a rank", "MB"),
        Axis("throughput", "samples/s"),
        (*layers, Layer("front", *FRONT, style="reference")),
        how="Not beaten by any other.",
    )


def strategies() -> Report:
    """A report whose only comparison is that of strategies; its pictures take whole rows, then half of one."""
    few = Chart(
        "strategies.few",
        "scatter",
        "b needs less memory than a",
        "Throughput against memory.",
        Axis("peak memory of a rank", "GB"),
        Axis("throughput", "samples/s"),
        (
            Layer("nccl-ddp-light", [4.03], [273167.0], [232631.0], [323482.0], text=[""]),
            Layer("nccl-ddp-timeline", [4.05], [245468.0], [193351.0], [324234.0], text=[""]),
            Layer("ddp+fp16", [4.31], [307626.0], [265818.0], [359669.0], text=[""]),
            Layer("nccl-late-timeline", [4.01], [81107.0], text=["beaten"]),
        ),
    )
    charts = (scatter_chart(), few, Chart(**{**vars(few), "id": "strategies.again"}))
    section = Result("strategies", "Strategies", charts[0].title, charts=charts)
    return Report("strategies", "", (RunReport(RunInfo("ddp", 4), (0, 1, 2, 3), ()),), (section,))
