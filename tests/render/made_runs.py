"""The made-up runs of the study and what their sections say."""

import math

import numpy as np

from scaleprof.results import Axis, Chart, Layer, Metric, Result, RunReport, Table
from scaleprof.run import Emulated, RunInfo

LEAVES = {
    "compute": "Compute",
    "exposed_comm": "Exposed communication",
    "exposed_memory": "Exposed memory copies",
    "idle": "Idle",
}
PARTS = {"exposed_transfer": 0.6, "exposed_wait": 0.3, "bubble": 0.1}
"""Of exposed communication; where the classes are those of a run on several ranks, it is told apart."""
TOLD = {
    "compute": "Compute",
    "exposed_transfer": "Exposed transfer",
    "exposed_wait": "Waiting for slow ranks",
    "bubble": "Pipeline bubble",
    "exposed_memory": "Exposed memory copies",
    "idle": "Idle",
}
KERNEL = "void gemm<4, float>(x) && a<b>c</b>"

# series, ranks, ms per step by leaf
SIZES = {
    "strong": {1: (400.0, 0.0, 0.0, 12.4), 2: (201.5, 21.8, 0.0, 11.9), 4: (101.2, 38.6, 0.0, 12.2)},
    "weak": {1: (400.0, 0.0, 0.0, 12.4), 2: (400.4, 24.1, 0.0, 12.6), 4: (401.0, 43.9, 0.0, 12.9)},
}
BATCH = {"strong": {1: 64, 2: 32, 4: 16}, "weak": {1: 64, 2: 64, 4: 64}}


def step_ms(series: str, ranks: int) -> float:
    return sum(SIZES[series][ranks])


def efficiency(series: str, ranks: int) -> float:
    per_rank = {size: BATCH[series][size] / step_ms(series, size) for size in (1, ranks)}
    return per_rank[ranks] / per_rank[1]


def told_apart(parts: tuple[float, ...]) -> tuple[float, ...]:
    """The six classes of the four."""
    compute, exposed, *rest = parts
    return (compute, *(share * exposed for share in PARTS.values()), *rest)


def stacked(id: str, title: str, names: list[str], columns: list[tuple[float, ...]], axis: str) -> Chart:
    leaves = TOLD if len(columns[0]) == len(TOLD) else LEAVES
    layers = tuple(
        Layer(label, names, [column[place] for column in columns], color=leaf)
        for place, (leaf, label) in enumerate(leaves.items())
    )
    return Chart(
        id,
        "stacked_bars",
        title,
        "Mean ms per step by class; the parts add up to the step exactly.",
        Axis(axis, scale="category"),
        Axis("time per step", "ms", from_zero=True),
        layers,
        how="The step is divided by a sweep over all interval edges.",
    )


def run(series: str, ranks: int) -> RunReport:
    emulated = Emulated(compute_ms_per_step=400.0, link="200mbit between namespaces")
    info = RunInfo(
        f"{series}-{ranks}",
        ranks,
        series="mlp-demo",
        framework="torch",
        strategy="DDP",
        device="cpu",
        backend="gloo",
        level="full",
        model="mlp",
        precision="float32",
        local_batch=BATCH[series][ranks],
        nodes=1,
        versions={"torch": "2.15.0", "python": "3.12.4"},
        emulated=emulated,
    )
    sections = [
        time_section(series, ranks),
        steps_section(series, ranks),
        *([ranks_section(series, ranks)] if ranks > 1 else []),
        *details(ranks),
    ]
    return RunReport(info, tuple(range(ranks)), tuple(sections), ("every rank: the profiler started 14 ms late",))


def time_section(series: str, ranks: int) -> Result:
    parts = SIZES[series][ranks]
    whole = sum(parts)
    metrics = [
        Metric(f"time.{leaf}_share", label, part / whole, "share", better="lower")
        for (leaf, label), part in zip(LEAVES.items(), parts, strict=True)
    ]
    if ranks > 1:
        metrics += [
            Metric(f"time.{part}_share", TOLD[part], share * parts[1] / whole, "share", better="lower")
            for part, share in PARTS.items()
        ]
        metrics.append(
            Metric("time.overlap_ratio", "Communication hidden behind compute", 0.412, "share", better="higher")
        )
    columns = [(parts[0] * (1 + 0.01 * rank), parts[1] * (1 - 0.1 * rank), parts[2], parts[3]) for rank in range(ranks)]
    names = [f"rank {rank}" for rank in range(ranks)]
    table = Table.of_rows(
        ("rank", "steps", "step_ms", "compute_ms", "exposed_comm_ms"),
        [[rank, 21, whole, column[0], column[1]] for rank, column in enumerate(columns)],
    )
    chart = stacked(
        "time.by_rank",
        "Every rank computes about as long (3.0 % between the least and the most)",
        names,
        [told_apart(column) for column in columns] if ranks > 1 else columns,
        "rank",
    )
    caveat = "3.0 % of the exposed communication is waiting or transfer and cannot be told apart"
    headline = f"{100 * parts[0] / whole:.1f} % of the step is compute; the largest loss is exposed communication"
    return Result(
        "time",
        "Where the step goes",
        headline,
        tuple(metrics),
        {"time": table},
        (chart,),
        caveats=(caveat,) if ranks > 1 else (),
    )


def steps_section(series: str, ranks: int) -> Result:
    numbers = list(range(24))
    base = step_ms(series, ranks)
    times = [base * (1 + 0.01 * math.sin(number) + (0.6 if number < 3 else 0)) for number in numbers]
    layers = (
        Layer("steady", numbers[3:], times[3:], color="series-1"),
        Layer("left out", numbers[:3], times[:3], color="muted"),
    )
    chart = Chart(
        "steps.time",
        "lines",
        f"A step takes {base:.3g} ms on average over 21 steady steps",
        "Step time, mean over ranks; warm-up is left out.",
        Axis("step"),
        Axis("step time", "ms", from_zero=True),
        layers,
        how="Steady: seen on every rank.",
    )
    metrics = (
        Metric("step.time_ms", "Step time (mean)", base, "ms", base * 0.995, base * 1.004, better="lower"),
        Metric("step.count", "Steady steps", 21, note="of 24 seen on every rank"),
        Metric("step.throughput", "Throughput", ranks * BATCH[series][ranks] / base * 1e3, "samples/s"),
        Metric("step.runq_share", "Waiting for a core", 0.018, "share", note="worst rank", better="lower"),
    )
    table = Table(
        {"step": np.arange(24), "time_ms": np.array(times), "spread_ms": np.full(24, 0.8), "steady": np.arange(24) >= 3}
    )
    return Result("steps", "Steps", chart.title, metrics, {"steps": table}, (chart,))


def ranks_section(series: str, ranks: int) -> Result:
    z: list[list[float | None]] = [
        [0.02 * math.sin(step + rank) + (0.09 if rank == 1 else 0) for step in range(24)] for rank in range(ranks)
    ]
    z[0][5] = None
    names = [f"rank {rank}" for rank in range(ranks)]
    steps = list(range(24))
    slowest_first = sorted(range(ranks), key=lambda rank: rank != 1)
    layers = (
        Layer("deviation from the median", list(steps), names, z=z, order=slowest_first),
        Layer("busy time (ms)", list(steps[3:]), [101.2] * 21, color="total", style="above"),
        Layer("not steady", list(steps[:3]), [140.0] * 3, color="muted", style="above"),
        Layer("mean of rank", list(names), [0.09 if rank == 1 else 0.0 for rank in range(ranks)], color="total", style="beside",
              text=["+9.0 %" if rank == 1 else "0.0 %" for rank in range(ranks)]),
        Layer("outliers", [7], [names[1]], style="marks", text=["rank 1, step 7: +11.0 %"]),
    )  # fmt: skip
    title = "Rank 1 is busy longest, 9.1 % above the median rank"
    chart = Chart(
        "ranks.heatmap",
        "heatmap",
        title,
        "Step time without blocked time by rank and step.",
        Axis("step"),
        Axis("rank", scale="category"),
        layers,
        how="busy = step - blocked.",
        z=Axis("from the median", "share"),
    )
    table = Table(
        {
            "rank": np.arange(ranks),
            "host": ["node-a"] * ranks,
            "busy_ms": np.full(ranks, 101.2),
            "against_median": np.array([0, 0.091, 0.004, -0.01][:ranks]),
        }
    )
    return Result("ranks", "Ranks and steps", chart.title, tables={"ranks": table}, charts=(chart,))


def details(ranks: int) -> list[Result]:
    return [
        *([collectives_section(), links_section(ranks)] if ranks > 1 else []),
        kernels_section(),
        hardware_section(ranks),
    ]


def collectives_section() -> Result:
    table = Table.of_rows(
        ("op", "bytes", "dtype", "group", "count_per_step", "mean_ms"),
        [["all_reduce", 25_000_000, "float32", "0", 2.0, 18.1], ["broadcast", None, "int64", "0", 1.0, None]],
    )
    layer = Layer("MB", ["all_reduce 25 MB", "broadcast 8 B"], [50.0, 0.1])
    title = "Two sizes of all-reduce make up nearly all the bytes"
    axes = (Axis("", scale="category"), Axis("MB per step"))
    chart = Chart("collectives.sizes", "bars", title, "MB per step and rank.", *axes, (layer,))
    metric = Metric("collectives.bytes", "Bytes per step and rank", 50_000_000, "bytes")
    headline = "3 operations a step and rank, 50 MB"
    return Result("collectives", "Collectives", headline, (metric,), {"collectives": table}, (chart,))


def links_section(ranks: int) -> Result:
    sizes = [1024.0 * 4**place for place in range(10)]
    times_ns = [20_000 + size / 12 for size in sizes]
    speeds = [size / time for size, time in zip(sizes, times_ns, strict=True)]
    counts = [f"{10 * place + 1} operations" for place in range(10)]
    place = f"all {ranks} ranks"
    layers = (
        Layer(
            f"all_reduce, {place}",
            sizes,
            [1.04 * speed for speed in speeds],
            color="series-1",
            style="marks",
            text=counts,
        ),
        Layer(f"all_reduce, {place}, fit", sizes, speeds, color="series-1"),
        Layer(f"broadcast, {place}", [8.0, 512.0], [1e-4, 0.0], color="series-2", style="marks", text=counts[:2]),
        Layer("node.log: all_reduce, 8 ranks", [1e3, 1e9], [0.2, 20.0], style="reference"),
    )
    title = f"all_reduce over {place} reaches 12.3 GB/s of bus bandwidth at 268 MB; operations below about 240 kB get less than half of it"
    axes = (Axis("size of the operation", "bytes", "log10"), Axis("bus bandwidth", "GB/s", "log10"))
    chart = Chart(
        "links", "loglog", title, "Marks: the median at each size", *axes, layers, "latency + size / bandwidth"
    )
    metric = Metric("collectives.busbw_gbps", "Bus bandwidth", 0.0213, "GB/s", note="bytes over transfer time")
    table = Table.of_rows(("op", "ranks", "alpha_us", "fitted_busbw_gbps"), [["all_reduce", ranks, 20.0, 12.0]])
    return Result("links", "Links", title, (metric,), {"links": table}, (chart,))


def kernels_section() -> Result:
    columns = ("name", "class", "count", "total_ms", "share")
    rows = [
        [KERNEL, "compute", 2048, 1803.2, 0.62],
        ["aten::addmm", "compute", 1024, 611.7, 0.21],
        ["gloo:all_reduce", "collective", 96, 405.1, 0.139],
        ["aten::copy_", "memory", 12, 0.041, 1.4e-5],
    ]
    unknown = [["my_odd_op", "compute", 3, 12.5, 0.004]]
    metrics = (
        Metric("kernels.names", "Distinct names", 412),
        Metric("kernels.unclassified_share", "Time under names no rule knows", 0.004, "share"),
    )
    tables = {"kernels": Table.of_rows(columns, rows), "unclassified": Table.of_rows(columns, unknown)}
    headline = "412 names; the longest takes 62.0 % of the busy time"
    caveat = "1 name (0.4 % of the time) matched no rule and counted as compute: see the table `unclassified`"
    return Result("kernels", "Kernels and operators", headline, metrics, tables, caveats=(caveat,))


def hardware_section(ranks: int) -> Result:
    seconds = [0.5 * place for place in range(60)]
    layers = tuple(
        Layer(f"rank {rank}", seconds, [0.9 + 0.1 * math.sin(at + rank) for at in seconds]) for rank in range(ranks)
    )
    chart = Chart(
        "hardware.cpu_user_cores",
        "lines",
        "cpu user cores: 0.9 to 0.92 on average by rank",
        "Sampled in the background.",
        Axis("time since the first sample", "s"),
        Axis("cpu user cores", from_zero=True),
        layers,
    )
    rows = [[rank, "cpu_user_cores", 0.91, 0.71, 1.02] for rank in range(ranks)]
    table = Table.of_rows(("rank", "counter", "mean", "min", "max"), rows)
    headline = f"12 counters sampled on {ranks} ranks; no GPU counters here"
    return Result("hardware", "Hardware", headline, tables={"hardware": table}, charts=(chart,))
