"""What the links carried: on paper, in jobs with known latency and bandwidth, beside a log of nccl-tests, and in a public trace."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof import Report, analyze
from scaleprof.align import RunView, align
from scaleprof.analyses.communication import links
from scaleprof.analyses.communication.bandwidth import Transfers, transfers_of
from scaleprof.analyses.communication.links import LinkOptions
from scaleprof.cli import main
from scaleprof.errors import OptionError
from scaleprof.models.communication import cost_model
from scaleprof.pipeline import Options, facts_of_rank
from scaleprof.readers import find_runs
from scaleprof.results import Result
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from tests.analyses.making_links import Operation, write_ranks

ALL = (0, 1, 2, 3)


def view_of(folder: Path) -> RunView:
    [run] = find_runs([folder])
    facts = {rank: facts_of_rank(files) for rank, files in run.ranks.items()}
    assert not any(isinstance(one, str) for one in facts.values()), facts
    return align(run.info, facts)  # type: ignore[arg-type]


def section(report: Report, name: str = "links") -> Result | None:
    [run] = report.runs
    return next((part for part in run.sections if part.name == name), None)


def rows_of(result: Result | None, table: str = "links") -> list[dict[str, Any]]:
    assert result is not None
    found = result.tables[table]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows()]


def test_busbw_is_75_where_bytes_and_times_say_so(tmp_path: Path) -> None:
    """50 MB of float8 in 1 ms on 4 ranks: 50 GB/s x 2 x 3/4; what the early ranks wait is no transfer."""
    one = Operation("allreduce", 50_000_000, 1000, ALL, dtype="Float8_e4m3fn", early_us={0: 700, 2: 50})
    report = analyze([write_ranks(tmp_path, 4, [one])])
    [row] = rows_of(section(report))
    assert (row["op"], row["group"], row["ranks"], row["count"], row["fit"]) == (
        "all_reduce",
        "all ranks",
        4,
        1,
        "bandwidth only",
    )
    assert row["best_busbw_gbps"] == row["fitted_busbw_gbps"] == pytest.approx(75.0)
    assert row["alpha_us"] is None
    assert report.metric("collectives.busbw_gbps").value == pytest.approx(75.0)
    assert section(report).headline == "all_reduce over all 4 ranks reaches 75 GB/s of bus bandwidth at 50 MB"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("dtype", "size"), [("Float8_e4m3fn", 1), ("Float8_e5m2", 1), ("BFloat16", 2), ("Float", 4), ("Double", 8)]
)
def test_a_size_is_elements_times_the_bytes_of_their_type(tmp_path: Path, dtype: str, size: int) -> None:
    one = Operation("allreduce", 1_000_000, 100, ALL, dtype=dtype)
    [row] = rows_of(section(analyze([write_ranks(tmp_path, 4, [one])])), "link_sizes")
    assert row["bytes"] == 1_000_000 * size
    assert row["busbw_gbps"] == pytest.approx(size * 10 * 1.5)


def test_the_factor_of_a_sub_group_is_that_of_its_own_size(tmp_path: Path) -> None:
    """All-gather of 64 MB in 1 ms in pairs: 64 GB/s x 1/2, although the job has 4 ranks; both pairs stand in one row."""
    pairs = [
        Operation("_allgather_base", 32_000_000, 1000, ranks, "BFloat16", f"1{ranks[0]}") for ranks in ((0, 1), (2, 3))
    ]
    strided = [
        Operation("_reduce_scatter_base", 10_000_000, 1000, ranks, "Float", f"2{ranks[0]}")
        for ranks in ((0, 2), (1, 3))
    ]
    found = rows_of(section(analyze([write_ranks(tmp_path, 4, [*pairs, *strided])])))
    told = [(row["op"], row["group"], row["ranks"], row["count"], row["best_busbw_gbps"]) for row in found]
    assert told == [
        ("all_gather", "neighbouring ranks", 2, 2, pytest.approx(32.0)),
        ("reduce_scatter", "ranks 2 apart", 2, 2, pytest.approx(20.0)),
    ]


def test_the_bandwidth_of_a_run_is_all_bytes_on_the_bus_over_all_time(tmp_path: Path) -> None:
    large, small = (
        Operation("allreduce", 10_000_000, 1000, ALL),
        Operation("_allgather_base", 100_000, 50, (0, 1), "Float", "7"),
    )
    report = analyze([write_ranks(tmp_path, 4, [large, small])])
    assert report.metric("collectives.busbw_gbps").value == pytest.approx((40e6 * 1.5 + 400e3 * 0.5) / 1_050_000)


def ring_us(bytes: float, *, alpha_us: float, gbps: float) -> float:
    return alpha_us + bytes * 1.5 / gbps / 1e3


SIZES = (4096, 65536, 1 << 20, 1 << 22, 1 << 24, 1 << 26)


def test_latency_and_bandwidth_are_recovered_from_several_sizes(tmp_path: Path) -> None:
    operations = [
        Operation("allreduce", size // 4, round(ring_us(size, alpha_us=40, gbps=80), 3), ALL, early_us={1: 100})
        for size in SIZES
    ]
    result = section(analyze([write_ranks(tmp_path, 4, operations)]))
    [row] = rows_of(result)
    assert (row["fit"], row["sizes"]) == ("line", 6)
    assert row["alpha_us"] == pytest.approx(40, rel=0.001)
    assert row["fitted_busbw_gbps"] == pytest.approx(80, rel=0.001)
    assert row["fit_error_share"] < 1e-4
    assert result is not None
    # On paper 2.0 MB; read off between the points at 1.05 and 4.19 MB.
    assert "; operations below about 2.3 MB get less than half of it" in result.headline
    [chart] = result.charts
    assert [(layer.style, len(layer.x)) for layer in chart.layers] == [("marks", 6), ("", 24)]
    assert chart.layers[0].text == ["1 operation"] * 6
    assert (chart.x.scale, chart.y.scale, chart.kind) == ("log10", "log10", "loglog")


def test_a_synthetic_jobs_ring_is_recovered(tmp_path: Path) -> None:
    """One job has buckets of one size; five jobs tell the latency of 6 hops from the bandwidth."""
    views = []
    for place, size in enumerate((40_000, 400_000, 4_000_000, 40_000_000, 400_000_000)):
        spec = Spec(
            name=f"n{place}",
            ranks=4,
            steps=6,
            buckets=1,
            gradient_bytes=size,
            alpha_us=10,
            bandwidth_gbps=40,
            late_ms=1.0,
        )
        views.append(view_of(write_job(spec, tmp_path)))
    kinds = [transfers_of(view) for view in views]
    assert all(len(one) == 1 for one in kinds)
    model = cost_model(
        np.concatenate([one[0].bytes for one in kinds]), np.concatenate([one[0].times_ns for one in kinds])
    )
    assert model.kind == "line"
    assert model.line.alpha_ns == pytest.approx(6 * 10_000, rel=0.001)
    assert kinds[0][0].kind.factor / model.line.ns_per_byte == pytest.approx(40, rel=0.001)


LOG = """\
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 4 minBytes 4096 maxBytes 67108864 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 validation: 1 graph: 0
{devices}
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
{rows}
"""


def log(path: Path, *, gbps: float, ranks: int = 4) -> Path:
    """A log of links with 40 us of latency, at powers of two that are no sizes of the job."""
    lines, factor = [], 2 * (ranks - 1) / ranks
    for size in (3000 * 2**power for power in range(16)):
        time = 40 + size * factor / gbps / 1e3
        algbw = size / time / 1e3
        measured = f"{time:.4g} {algbw:.2f} {algbw * factor:.2f} 0"
        lines.append(f"{size} {size // 4} float sum -1 {measured} {measured}")
    devices = "\n".join(f"#  Rank {rank:2d} Group  0 Pid  1 on n device  {rank} [0x00] H100" for rank in range(ranks))
    path.write_text(LOG.format(devices=devices, rows="\n".join(lines)))
    return path


def job(folder: Path, *, gbps: float) -> Path:
    folder.mkdir()
    operations = [
        Operation("allreduce", size // 4, round(ring_us(size, alpha_us=40, gbps=gbps), 3), ALL) for size in SIZES
    ]
    return write_ranks(folder, 4, [*operations, Operation("_allgather_base", 1_000_000, 30, (0, 1), "Float", "7")])


def test_links_below_the_reference_are_named_with_their_share(tmp_path: Path) -> None:
    """Two thirds of the bandwidth at the same latency: the large sizes, which take the time, reach a little more than that."""
    options = Options(link_reference=log(tmp_path / "node.log", gbps=120))
    result = section(analyze([job(tmp_path / "job", gbps=80)], options=options))
    [gathered, reduced] = sorted(rows_of(result), key=lambda row: row["op"])
    assert (reduced["reference_ranks"], gathered["reference_ranks"]) == (4, None)
    needed = sum(ring_us(size, alpha_us=40, gbps=120) for size in SIZES)
    taken = sum(ring_us(size, alpha_us=40, gbps=80) for size in SIZES)
    assert reduced["reference_share"] == pytest.approx(needed / taken, rel=0.01)
    assert result is not None
    share = next(metric for metric in result.metrics if metric.id == "links.reference_share")
    assert share.value == pytest.approx(needed / taken, rel=0.01)
    assert f"{100 * float(share.value):.1f} % of the reference" in result.headline
    assert not any("the links carry" in caveat for caveat in result.caveats)
    assert "the log node.log has no measurement of all_gather" in result.caveats
    last = rows_of(result, "link_sizes")[len(SIZES) - 1]
    assert (last["bytes"], last["reference"]) == (1 << 26, "interpolated")
    assert last["reference_share"] == pytest.approx(
        ring_us(1 << 26, alpha_us=40, gbps=120) / ring_us(1 << 26, alpha_us=40, gbps=80), rel=0.01
    )
    assert [layer.name for layer in result.charts[0].layers if layer.style == "reference"] == [
        "node.log: all_reduce, 4 ranks"
    ]


def test_less_than_the_threshold_is_a_warning_and_the_threshold_can_be_set(tmp_path: Path) -> None:
    folder, reference = job(tmp_path / "job", gbps=80), log(tmp_path / "node.log", gbps=200)
    warned = section(analyze([folder], options=Options(link_reference=reference)))
    [finding] = warned.findings
    share = next(metric for metric in warned.metrics if metric.id == "links.reference_share")
    assert (finding.id, finding.gain_kind) == ("slow-links", "ceiling")
    assert finding.gain_share is not None and 0 < finding.gain_share < 1 - float(share.value)
    assert warned is not None
    assert any(caveat.startswith("all_reduce over all 4 ranks: the links carry 4") for caveat in warned.caveats)
    lenient = section(
        analyze([folder], options=Options(link_reference=reference, settings=(("links.least_share", "0.3"),)))
    )
    assert lenient is not None
    assert not any("the links carry" in caveat for caveat in lenient.caveats)


def test_a_reference_on_another_number_of_ranks_is_said(tmp_path: Path) -> None:
    options = Options(link_reference=log(tmp_path / "node.log", gbps=80, ranks=8))
    result = section(analyze([job(tmp_path / "job", gbps=80)], options=options))
    assert result is not None
    assert any("measured all_reduce on 8 ranks, the job ran it on 4" in caveat for caveat in result.caveats)


def test_a_slow_group_among_others_of_its_kind_is_named(tmp_path: Path) -> None:
    pairs = [((0, 1), 100.0), ((2, 3), 250.0)]
    operations = [
        Operation("_allgather_base", size, scale * time, ranks, "Float", f"1{ranks[0]}")
        for size, scale in ((1_000_000, 1), (4_000_000, 4))
        for ranks, time in pairs
    ]
    result = section(analyze([write_ranks(tmp_path, 4, operations)]))
    assert result is not None
    assert (
        "all_gather: the group of ranks 2, 3 reaches 40.0 % of the bandwidth of the fastest group of its kind"
        in result.caveats
    )


def test_transfers_under_compute_are_told_from_others(tmp_path: Path) -> None:
    """Three of each sort at one size; those under compute take half as long again."""
    operations = [
        Operation("allreduce", 1_000_000, 150 if under else 100, ALL, under_compute=under)
        for under in (True, False) * 3
    ]
    result = section(analyze([write_ranks(tmp_path, 4, operations)]))
    [row] = rows_of(result)
    assert row["under_compute_share"] == 0.5
    assert row["slowdown_under_compute"] == pytest.approx(1.5)
    assert result is not None
    assert "; while compute runs, a transfer takes 1.5 times as long" in result.headline


def test_no_transfer_no_section_and_no_number(tmp_path: Path) -> None:
    """One rank of four was read: nothing tells waiting from transfer."""
    write_ranks(tmp_path, 4, [Operation("allreduce", 1_000_000, 100, ALL)])
    for rank in (1, 2, 3):
        (tmp_path / f"rank{rank}.json.gz").unlink()
    report = analyze([tmp_path])
    assert section(report) is None
    assert report.metric("collectives.busbw_gbps") is None


def test_operations_without_a_size_count_but_give_no_bandwidth(tmp_path: Path) -> None:
    known, unknown = Operation("allreduce", 1_000_000, 100, ALL), Operation("allreduce", 0, 10, ALL)
    view = view_of(write_ranks(tmp_path, 4, [known, unknown]))
    [kind] = transfers_of(view)
    assert (kind.count, len(kind.bytes), kind.hidden_share()) == (2, 1, 0.0)


def test_sizes_that_are_alike_make_no_picture(tmp_path: Path) -> None:
    result = section(analyze([write_ranks(tmp_path, 4, [Operation("allreduce", 1_000_000, 100, ALL)])]))
    assert result is not None
    assert not result.charts
    assert any("too few different sizes" in caveat for caveat in result.caveats)


def test_counts_of_sizes_that_were_taken_together_add_up() -> None:
    sizes = np.geomspace(1e3, 1e9, 1000)
    kind = Transfers(None, 1000, sizes, 1e4 + sizes, np.full(1000, np.nan), ((0, 1),), np.zeros(1000, dtype=np.int64))  # type: ignore[arg-type]
    assert sum(kind.counts()) == 1000
    assert kind.hidden_share() is None
    assert kind.slowdown_under_compute() is None
    assert kind.slowest_group() is None


@pytest.mark.parametrize("share", ["0", "1.5", "-1"])
def test_a_wrong_threshold_is_refused(share: str) -> None:
    with pytest.raises(OptionError, match=r"links.least_share must lie in 0..1"):
        replace(LinkOptions(), least_share=float(share))


def test_a_setting_that_is_no_number_is_not_offered() -> None:
    with pytest.raises(OptionError, match=r"there are: .*links\.least_share") as caught:
        analyze(["."], options=Options(settings=(("links.reference", "1"),)))
    assert "links.reference" not in str(caught.value).partition("there are:")[2]


def test_the_network_of_the_recorded_samples_has_its_known_rate() -> None:
    """gloo over a network that lets each rank send 200 Mbit/s, which are 25 MB/s: `sample_traces/README.md`."""
    [folder] = (Path(__file__).parents[2] / "sample_traces").glob("emulated-ddp-strong-n2-*")
    result = links.conclude(view_of(folder), LinkOptions())
    assert result is not None
    assert [metric.value for metric in result.metrics] == [pytest.approx(0.025, rel=0.05)]


def test_a_wrong_reference_is_one_sentence_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("nothing of the sort\n")
    assert main(["analyze", str(tmp_path), "--link-reference", str(tmp_path / "notes.txt")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"scaleprof: {tmp_path / 'notes.txt'}: has no line of results as nccl-tests prints them")


def test_the_command_line_takes_a_reference(tmp_path: Path) -> None:
    reference, written = log(tmp_path / "node.log", gbps=80), tmp_path / "report.json"
    words = ["analyze", str(job(tmp_path / "job", gbps=80)), "--link-reference", str(reference), "--json", str(written)]
    assert main([*words, "-q"]) == 0
    share = Report.load(written).metric("links.reference_share")
    assert share is not None
    assert share.value == pytest.approx(1, rel=0.01)
