"""Operations of a step, three ways: by hand, beside torch's own counting mode, and on traces of parallel jobs whose sum is known."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils import flop_counter

from scaleprof.analyses.account import flops
from scaleprof.analyses.account.flops import counted
from scaleprof.readers.kineto.foreign import read_foreign
from scaleprof.results import Metric, Result
from scaleprof.run import RankFiles, RankInfo
from scaleprof.trace import UNKNOWN, Kind, Trace
from tests.making import HOST, STREAM_7, WORKER, Event, Made, Step, make_trace, make_view
from tests.readers.making import Json, complete, write_trace

MS = 1_000_000


def read(path: Path) -> Trace:
    return read_foreign(RankFiles(0, "kineto", (path,)))


def metrics_of(result: Result | None) -> dict[str, Metric]:
    assert result is not None
    return {metric.id: metric for metric in result.metrics}


# ---- by hand


def operator(name: str, ts: float, dur: float, dims: object, values: object = (), *, tid: int = 100) -> Json:
    return complete(name, "cpu_op", ts, dur, tid=tid, dims=dims, values=values)


def test_a_step_worked_out_on_paper(tmp_path: Path) -> None:
    convolution = ["", "", "", "[1, 1]", "[0, 0]", "[1, 1]", "False", "[0, 0]", "1"]
    backward = ["", "", "", "[4]", "[1, 1]", "[0, 0]", "[1, 1]", "False", "[0, 0]", "1", "[False, True, True]"]
    events = [
        complete("ProfilerStep#5", "user_annotation", 0, 1000),
        operator("aten::linear", 10, 50, [[2, 3], [5, 3], [5]]),
        operator("aten::addmm", 20, 30, [[5], [2, 3], [3, 5], [], []]),  # 60
        operator("aten::mm", 100, 50, [[8, 3], [3, 5]]),  # of a distributed tensor: 240 in all ranks
        operator("aten::mm", 110, 30, [[2, 3], [3, 5]]),  # and 60 here
        operator("aten::bmm", 200, 10, [[7, 2, 3], [7, 3, 5]]),  # 420
        operator("aten::convolution", 300, 50, [[1, 2, 5, 5], [4, 2, 3, 3], [4]], convolution),
        operator("aten::_convolution", 310, 30, [[1, 2, 5, 5], [4, 2, 3, 3], [4]], convolution),  # 2*9*72 = 1296
        operator("aten::scaled_dot_product_attention", 400, 50, [[1, 2, 3, 4]] * 3),
        operator("aten::_scaled_dot_product_flash_attention_for_cpu", 410, 30, [[1, 2, 3, 4]] * 3),  # 2*2*2*9*4 = 288
        # Backward, on another thread while the first one waits.
        operator("aten::convolution_backward", 500, 50, [[1, 4, 3, 3], [1, 2, 5, 5], [4, 2, 3, 3]], backward, tid=7),
        operator("aten::mm", 600, 10, [[2, 3], [3, 5]], tid=7),
        complete("ProfilerStep#6", "user_annotation", 1000, 1000),
        operator("aten::mm", 1100, 10, [[2, 3], [3, 5]]),
        operator("aten::mm", 1200, 10, []),
        operator("aten::mm", 2500, 10, [[2, 3], [3, 5]]),  # in no step
    ]
    table = flops.flops(read(write_trace(tmp_path / "t.json", events)))
    by_name = {(step, name): rest for step, name, *rest in table.rows()}
    assert by_name == {
        (5, "aten::addmm"): [1, 60, 0, 1],
        (5, "aten::mm"): [2, 120, 0, 1],
        (5, "aten::bmm"): [1, 420, 0, 1],
        (5, "aten::_convolution"): [1, 1296, 0, 1],
        (5, "aten::_scaled_dot_product_flash_attention_for_cpu"): [1, 288, 0, 1],
        (5, "aten::convolution_backward"): [1, 1296, 0, 1],
        (6, "aten::mm"): [2, 60, 1, 1],
    }
    found = counted(table)
    assert found is not None
    assert found.by_step.tolist() == [60 + 120 + 420 + 1296 + 288 + 1296, 60]


def regular(amount: int, *more: Event, info: RankInfo | None = None, lane: int = HOST) -> Made:
    """Ten steps of 10 ms, with one product in each."""
    starts = [10 * MS * n for n in range(10)]
    return Made(
        events=[*(Event(lane, Kind.OP, start + 5, 50, "aten::mm", n, amount) for n, start in enumerate(starts)), *more],
        steps=[Step(start, start + 10 * MS) for start in starts],
        info=info or RankInfo(rank=0, world_size=1),
    )


def test_the_mean_over_ranks_and_its_rate() -> None:
    result = flops.conclude(make_view([regular(3_000_000_000), regular(1_000_000_000)]), None)
    metrics = metrics_of(result)
    assert (metrics["step.flops"].value, metrics["step.flops"].unit) == (2e9, "FLOP")
    assert metrics["step.flops"].note == "from the operators of 2 ranks"
    assert metrics["step.flops_rate"].value == pytest.approx(0.2)
    assert result is not None
    assert result.headline == "A step of one rank is 2 GFLOP, from the operators of 2 ranks: 200 GFLOP/s on each device"
    assert result.tables["flops"].rows() == [["aten::mm", 1.0, 2.0, 1.0, 0.0]]
    assert result.tables["flops_by_rank"].rows() == [[0, 10, 3.0, pytest.approx(0.3)], [1, 10, 1.0, pytest.approx(0.1)]]
    assert len(result.caveats) == 1
    assert "elementwise operations" in result.caveats[0]


def test_what_was_not_counted_is_named() -> None:
    graph = Event(HOST, Kind.LAUNCH, 100, 5, "cudaGraphLaunch")
    unknown = [Event(HOST, Kind.OP, at, 5, "aten::_int_mm", flops=UNKNOWN) for at in (200, 300)]
    device = Event(STREAM_7, Kind.COMPUTE, 400, 5, "gemm")
    result = flops.conclude(make_view([regular(10**9, graph, *unknown, device)]), None)
    assert metrics_of(result)["step.flops"].note == "from the operators of 1 rank, at least"
    assert result is not None
    assert "aten::_int_mm (2), cudaGraphLaunch (1)" in result.caveats[1]


def test_what_the_user_states_goes_first() -> None:
    view = make_view([regular(10**9)], flops_per_step=2e9)
    result = flops.conclude(view, None)
    metrics = metrics_of(result)
    assert (metrics["step.flops"].value, metrics["step.flops"].note) == (2e9, "stated by the user")
    assert metrics["step.flops_rate"].value == pytest.approx(0.2)
    assert result is not None
    assert "(-50.0 % apart)" in result.caveats[1]
    nothing_seen = flops.conclude(make_view([Made(steps=[Step(0, 10)])], flops_per_step=2e9), None)
    assert metrics_of(nothing_seen)["step.flops"].value == 2e9


def test_where_nobody_says_anything_there_is_no_section() -> None:
    assert flops.conclude(make_view([Made(steps=[Step(0, 10)])]), None) is None
    without_shapes = Made(events=[Event(HOST, Kind.OP, 1, 5, "aten::mm", flops=UNKNOWN)], steps=[Step(0, 10)])
    assert flops.conclude(make_view([without_shapes]), None) is None
    assert len(flops.flops(make_trace(Made()))) == 0


def test_only_profiled_steps_count_and_every_thread_does() -> None:
    made = Made(
        events=[Event(lane, Kind.OP, at, 5, "aten::mm", flops=7) for lane, at in ((HOST, 1), (WORKER, 2), (HOST, 12))],
        steps=[Step(0, 10), Step(10, 20, profiled=False)],
    )
    found = counted(flops.flops(make_trace(made)))
    assert found is not None
    assert found.by_step.tolist() == [14]


# ---- beside torch's own counting


class Model(nn.Module):
    """A convolution, attention, and what stands between."""

    def __init__(self) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.upwards = nn.ConvTranspose2d(8, 4, 3, stride=2)
        self.along = nn.Conv1d(4, 6, 3, dilation=2)
        self.project = nn.Linear(6, 96)
        self.out = nn.Linear(32, 10, bias=False)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Logits."""
        data = self.along(self.upwards(torch.relu(self.convolve(data))).flatten(2)).transpose(1, 2)[:, :40]
        query, key, value = self.project(data).view(len(data), 40, 3, 4, 8).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        last = seen.transpose(1, 2).flatten(2)
        weights = torch.softmax(last @ last.transpose(1, 2), dim=-1)
        return self.out(weights @ last).mean(1)


def test_torch_counts_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, data, labels = Model(), torch.randn(2, 3, 16, 16), torch.tensor([1, 2])

    def step() -> None:
        nn.functional.cross_entropy(model(data), labels).backward()

    aten = torch.ops.aten
    attention = {  # torch knows those of GPUs only
        aten._scaled_dot_product_flash_attention_for_cpu: lambda query, key, value, *_, out_shape, **__: (
            flop_counter.sdpa_flop_count(query, key, value)
        ),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda gradient, query, key, value, *_, out_shape, **__: (
            flop_counter.sdpa_backward_flop_count(gradient, query, key, value)
        ),
    }
    with flop_counter.FlopCounterMode(display=False, custom_mapping=attention) as counter:
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profiler:
        for _ in range(3):
            with torch.profiler.record_function(f"ProfilerStep#{_}"):
                step()
    profiler.export_chrome_trace(str(tmp_path / "t.json"))
    found = counted(flops.flops(read(tmp_path / "t.json")))
    assert found is not None
    assert found.by_step.tolist() == [counter.get_total_flops()] * 3
    assert any("bmm" in str(name) for name in counter.get_flop_counts()["Global"])


# ---- parallel jobs of a small GPT, whose single process computes so much in a step


GPT = 190_840_832
"""8 sequences of 32 tokens, 2 blocks 64 wide, 256 words: products forward and backward, and 14,680,064 of attention."""
HEAD = 3 * 2 * (8 * 32) * 64 * 256
"""The last layer, forward and backward."""


def of_job(folder: Path) -> list[int]:
    """By rank, the operations of each step; all steps are alike."""
    amounts = []
    for path in sorted(folder.iterdir()):
        found = counted(flops.flops(read(path)))
        assert found is not None
        assert len(set(found.by_step.tolist())) == 1
        amounts.append(int(found.by_step[0]))
    return amounts


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("single", [GPT, GPT]),
        ("ddp", [GPT, GPT]),
        ("fsdp2", [GPT, GPT]),
        ("tp_sp", [GPT // 2, GPT // 2]),
        ("tp", [(GPT + HEAD) // 2] * 2),  # each rank computes the whole last layer
    ],
)
def test_the_ranks_of_a_parallel_job_share_the_work_of_one(foreign_traces: Path, job: str, expected: list[int]) -> None:
    assert of_job(foreign_traces / "torch_gloo" / "strategies" / f"{job}_w2") == expected


@pytest.mark.parametrize("job", ["pp_gpipe", "pp_1f1b", "pp_interleaved", "pp_zb"])
def test_the_stages_of_a_pipeline_add_up_to_the_model(foreign_traces: Path, job: str) -> None:
    assert sum(of_job(foreign_traces / "torch_gloo" / "strategies" / f"{job}_w2")) == GPT


def test_two_devices_compute_the_same_model_alike(foreign_traces: Path) -> None:
    amounts = {}
    for path in sorted((foreign_traces / "kineto" / "vendor-pairs").glob("*/*.json.gz")):
        found = counted(flops.flops(read(path)))
        assert found is not None
        amounts.setdefault(path.name, []).append(found.by_step.tolist())
    assert len(amounts) == 3
    assert all(h100 == mi300 for h100, mi300 in amounts.values())
