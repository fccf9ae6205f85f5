"""The made-up comparison of the study: first page, scaling, growth."""

from scaleprof.results import Axis, Chart, Finding, Layer, Metric, Result, Table
from tests.render.made_runs import BATCH, LEAVES, SIZES, efficiency, stacked, step_ms


def overview() -> Result:
    shares = [value / step_ms("strong", 4) for value in SIZES["strong"][4]]
    names = ["4 ranks paid for", "Exposed communication", "Exposed memory copies", "Idle", "Useful work"]
    values = [4.0, -4 * shares[1], 0.0, -4 * shares[3], 4 * shares[0]]
    colors = ["total", "exposed_comm", "exposed_memory", "idle", "compute"]
    chart = Chart(
        "overview.losses",
        "waterfall",
        f"Of 4 ranks, {4 * shares[0]:.3g} do useful work; exposed communication costs {4 * shares[1]:.2g}",
        "Run strong-4, in rank equivalents: each class's share of the step times the ranks. It adds up exactly.",
        Axis("", scale="category"),
        Axis("rank equivalents", from_zero=True),
        (Layer("rank equivalents", names, values, text=colors),),
        how="Share of each class in the time of all ranks over the accounted steps, times the number of ranks.",
    )
    table = Table.of_rows(
        ("class", "rank_equivalents", "share"),
        [[LEAVES[leaf], 4 * share, share] for leaf, share in zip(LEAVES, shares, strict=True)],
    )
    return Result("overview", "Overview", "", tiles(shares), {"losses": table}, (chart,), findings())


def tiles(shares: list[float]) -> tuple[Metric, ...]:
    times = tuple(step_ms("strong", size) for size in (1, 2, 4))
    strong, weak = (tuple(efficiency(series, size) for size in (1, 2, 4)) for series in SIZES)
    scope, against = "strong scaling, 4 ranks", "4 against 1 rank"
    rates = (155.2, 272.1, 421.05)
    return (
        Metric("step.throughput", "Throughput", 421.05, "samples/s", 418.2, 423.9, scope, "higher", rates),
        Metric("scaling.strong.efficiency", "Efficiency, strong scaling", strong[-1], "share", 0.671, 0.686, against, "higher", strong),
        Metric("scaling.weak.efficiency", "Efficiency, weak scaling", weak[-1], "share", 0.894, 0.907, against, "higher", weak),
        Metric("step.time_ms", "Step time (mean)", times[-1], "ms", 151.1, 153.0, scope, "lower", times),
        Metric("time.exposed_comm_share", "Exposed communication", shares[1], "share", note="from 0 % at 1 rank", trend=(0.0, 0.093, shares[1])),
        Metric("losses.unused", "Ranks not computing", 4 * (1 - shares[0]), note="of 4", better="lower"),
    )  # fmt: skip


def findings() -> tuple[Finding, ...]:
    text = "48 all-reduces of 0.6 MB a step are bound by latency, not by the link."
    remedy = "Set bucket_cap_mb=50 in DistributedDataParallel."
    healthy = "Compute scales well: nothing to gain here"
    return (
        Finding("comm.bucket", "Send larger buckets", "high", text, "21 of 21 steps", 0.137, "replayed", remedy),
        Finding("compute.healthy", healthy, "healthy", "Compute per sample is the same at every size.", "3 sizes"),
    )


def scaling() -> Result:
    note = "4 against 1 rank"
    metrics = (
        Metric("scaling.strong.kind", "Kind of study (strong scaling)", "strong"),
        Metric("scaling.strong.speedup", "Speedup (strong scaling)", 2.714, "x", note=note, better="higher"),
        Metric("scaling.strong.karp_flatt", "Karp-Flatt serial fraction (strong scaling)", 0.158, note=note),
        Metric("scaling.weak.compute_scalability", "Compute scalability (weak scaling)", 0.9975, "share", note=note),
    )
    headline = "Strong scaling keeps 67.8 % efficiency at 4 ranks (against 1 rank), below the target of 80.0 %"
    caveat = "strong scaling: one rank communicates with nobody; against 2 ranks the efficiency at 4 is 77.4 %"
    return Result(
        "scaling", "Scaling", headline, metrics, {"scaling": scaling_table()}, scaling_charts(), caveats=(caveat,)
    )


def scaling_table() -> Table:
    rows = []
    for series in SIZES:
        for size in SIZES[series]:
            value, time = efficiency(series, size), step_ms(series, size)
            karp = None if size == 1 else (1 / (size * value) - 1 / size) / (1 - 1 / size)
            rate = 1000 * size * BATCH[series][size] / time
            row: list[object] = [
                f"{series} scaling",
                series,
                size,
                1,
                BATCH[series][size],
                time,
                time - 0.9,
                time + 1.1,
            ]
            row += [rate, size * value, value, value - 0.01, value + 0.012, karp, SIZES[series][size][0] / time]
            rows.append([*row, 1.0 - 0.002 * size, 0.998, 0.004 * size, "" if size < 4 else "measured once"])
    columns = (
        "series", "kind", "ranks", "runs", "local_batch", "step_ms", "step_low_ms", "step_high_ms", "throughput", "speedup",
        "efficiency", "efficiency_low", "efficiency_high", "karp_flatt", "compute_share", "compute_scalability", "sampling",
        "runq_share", "note",
    )  # fmt: skip
    return Table.of_rows(columns, rows)


def scaling_charts() -> tuple[Chart, ...]:
    per_rank, efficiencies = [], []
    for place, series in enumerate(SIZES, 1):
        sizes = list(SIZES[series])
        rates = [1000 * BATCH[series][size] / step_ms(series, size) for size in sizes]
        values = [efficiency(series, size) for size in sizes]
        rate_ends = ([rate * 0.985 for rate in rates], [rate * 1.012 for rate in rates])
        ends = ([value - 0.01 for value in values], [value + 0.012 for value in values])
        per_rank.append(Layer(f"{series} scaling", sizes, rates, *rate_ends, color=f"series-{place}"))
        efficiencies.append(Layer(f"{series} scaling", sizes, values, *ends, color=f"series-{place}"))
    efficiencies.append(Layer("target", [1, 2, 4], [0.8, 0.8, 0.8], style="reference"))
    return (
        Chart(
            "scaling.throughput",
            "lines",
            "Strong scaling: a rank does 32.2 % less at 4 than at 1; weak scaling: 9.9 % less",
            "Samples per second and rank. A flat line is perfect scaling; bands are 95 % intervals.",
            Axis("ranks", scale="log2"),
            Axis("samples per second and rank", from_zero=True),
            tuple(per_rank),
            how="Samples of all ranks in a step over the mean step time.",
        ),
        Chart(
            "scaling.efficiency",
            "lines",
            "Strong-scaling efficiency falls below the target of 80 % between 2 and 4 ranks",
            "Throughput per rank against the smallest judged size.",
            Axis("ranks", scale="log2"),
            Axis("efficiency", "share", from_zero=True),
            tuple(efficiencies),
            how="E = (X_N / N) / (X_0 / N_0), X the throughput over all steady steps.",
        ),
    )


def growth() -> Result:
    charts: list[Chart] = []
    rows: list[list[object]] = []
    for series in SIZES:
        taus = {size: [value / BATCH[series][size] for value in SIZES[series][size]] for size in SIZES[series]}
        added = [last - first for first, last in zip(taus[1], taus[4], strict=True)]
        names = ["at 1 rank", *LEAVES.values(), "at 4 ranks"]
        charts.append(
            stacked(
                f"growth.{series}.by_size",
                f"{series.capitalize()} scaling: exposed communication grows to {SIZES[series][4][1]:.3g} ms of a step",
                ["1 rank", "2 ranks", "4 ranks"],
                [SIZES[series][size] for size in (1, 2, 4)],
                "ranks",
            )
        )
        charts.append(
            Chart(
                f"growth.{series}.waterfall",
                "waterfall",
                f"A sample costs a rank {sum(added):.3g} ms more at 4 ranks than at 1 rank",
                "ms per sample and rank. It adds up exactly.",
                Axis("", scale="category"),
                Axis("time per sample and rank", "ms", from_zero=True),
                (
                    Layer(
                        "ms per sample and rank",
                        names,
                        [sum(taus[1]), *added, sum(taus[4])],
                        text=["total", *LEAVES, "total"],
                    ),
                ),
                how="tau = T / B.",
            )
        )
        rows += [
            [f"{series} scaling", size, step_ms(series, size), sum(taus[size]), *taus[size]] for size in SIZES[series]
        ]
    columns = ["series", "ranks", "step_ms", "ms_per_sample", *(f"{leaf}_ms" for leaf in LEAVES)]
    return Result(
        "growth",
        "What grows with the size",
        "Strong scaling: a sample costs a rank 3.06 ms (47.5 %) more at 4 than at 1 rank, most of it exposed communication",
        (
            Metric(
                "growth.strong.ms_per_sample",
                "Growth (strong scaling)",
                3.06,
                "ms",
                note="ms per sample and rank, 4 against 1 rank",
            ),
        ),
        {"growth": Table.of_rows(columns, rows)},
        tuple(charts),
    )
