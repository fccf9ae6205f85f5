"""Recording a Horovod job: what is written, that Horovod is left as it was, and that nothing of it can hurt the training.

Horovod itself is a fake here; `tests/horovod` runs the real one.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

import scaleprof.horovod
from scaleprof.clock import ClockAnchor
from scaleprof.collect.horovod import timeline as horovod_timeline
from scaleprof.collect.horovod.clocks import offset_of_rounds
from scaleprof.run import horovod_timeline_of
from tests.collect import fake_horovod
from tests.collect.fake_horovod import Job
from tests.collect.training import info_of, lines, loop, network, only_rank, steps_of

MS = 1_000_000


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job of two ranks, of which this is rank 0."""
    for name in ("HOROVOD_TIMELINE", "HOROVOD_CACHE_CAPACITY", "SCALEPROF_CLOCK_SYNC"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("RANK", "0"), ("SIZE", "2"), ("LOCAL_RANK", "0"), ("GLOO_RENDEZVOUS_PORT", "4242")):
        monkeypatch.setenv(f"HOROVOD_{name}", value)
    return Job()


def train(hvd: Any, steps: int = 3, *, compress: Any = None) -> None:
    """What the distributed optimizer does: hand the gradients over by the name that its module holds, wait, step."""
    from horovod.torch import optimizer as inside

    hvd.init()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(4, 16)).mean().backward()
        handles = []
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            if compress is not None:
                gradient, _ = compress.compress(gradient)
            handles.append(inside.allreduce_async_(gradient, name=name))
        for handle in handles:
            inside.synchronize(handle)
        optimizer.step()


def test_every_tensor_and_every_wait_is_written(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    hvd = fake_horovod.install(monkeypatch, job)
    before = dict(vars(hvd))
    scaleprof.horovod.profile(tmp_path, sample_hz=0)(train)(hvd)
    rank = only_rank(tmp_path)
    issued = lines(rank / "collectives.jsonl.gz")
    assert [line["tensor"] for line in issued[:4]] == [
        "allreduce.0.weight",
        "allreduce.0.bias",
        "allreduce.2.weight",
        "allreduce.2.bias",
    ]
    assert [line["nth"] for line in issued if line["tensor"] == "allreduce.0.bias"] == [0, 1, 2]
    assert issued[0]["input_sizes"] == [[16, 16]] and issued[0]["input_dtypes"] == ["float32"]
    waits = lines(rank / "waits.jsonl.gz")
    assert len(waits) == 12 and {wait["op"] for wait in waits} == {"all_reduce"}
    assert all(step["wait"] >= 8 * MS for step in steps_of(tmp_path))
    info = info_of(tmp_path)
    assert (info.framework, info.backend, info.strategy, info.world_size) == ("horovod", "gloo", "horovod", 2)
    assert info.process_groups[0].ranks == (0, 1) and info.versions["horovod"] == "0.28.1"
    assert not info.warnings
    assert dict(vars(hvd)) == before, "Horovod was not left as it was"


def test_the_timeline_ends_before_horovod_does(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    hvd = fake_horovod.install(monkeypatch, job)

    @scaleprof.horovod.profile(tmp_path, sample_hz=0)
    def whole() -> None:
        train(hvd)
        hvd.shutdown()

    whole()
    ours = [call for call in job.calls if "timeline" in call or call == "shutdown"]
    assert ours == ["start_timeline", "stop_timeline", "shutdown"]
    timeline = horovod_timeline_of(only_rank(tmp_path))
    assert timeline is not None and timeline.name == "horovod-timeline.json.gz"
    assert not (timeline.parent / "horovod-timeline.json").exists()


def test_the_environment_is_what_it_was(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    hvd = fake_horovod.install(monkeypatch, job)
    seen = {}
    with scaleprof.horovod.profile(tmp_path, sample_hz=0, rank_ticks=True):
        seen = {name: os.environ[name] for name in ("HOROVOD_TIMELINE", "HOROVOD_CACHE_CAPACITY")}
        train(hvd)
    assert seen == {"HOROVOD_TIMELINE": "DYNAMIC", "HOROVOD_CACHE_CAPACITY": "0"}
    assert "HOROVOD_TIMELINE" not in os.environ and "HOROVOD_CACHE_CAPACITY" not in os.environ


def test_a_recording_that_begins_after_init_has_no_timeline_and_says_so(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    hvd = fake_horovod.install(monkeypatch, job)
    hvd.init()
    with scaleprof.horovod.session(tmp_path, sample_hz=0):
        train(hvd)
    assert any("HOROVOD_TIMELINE=DYNAMIC" in warning for warning in info_of(tmp_path).warnings)
    assert len(steps_of(tmp_path)) == 3


def test_horovod_that_does_not_answer_stops_nobody(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horovod_timeline, "PATIENCE_S", 0.05)
    job.hangs_in_start = True
    hvd = fake_horovod.install(monkeypatch, job)
    scaleprof.horovod.profile(tmp_path, sample_hz=0)(train)(hvd)
    assert any("did not answer" in warning for warning in info_of(tmp_path).warnings)
    assert len(lines(only_rank(tmp_path) / "collectives.jsonl.gz")) == 12


def test_compression_is_told_with_what_was_there_before(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    hvd = fake_horovod.install(monkeypatch, job)
    from horovod.torch.compression import FP16Compressor

    scaleprof.horovod.profile(tmp_path, sample_hz=0)(train)(hvd, compress=FP16Compressor)
    line = lines(only_rank(tmp_path) / "collectives.jsonl.gz")[0]
    assert (line["input_dtypes"], line["raw_bytes"], line["raw_dtype"]) == (["float16"], 1024, "float32")
    info = info_of(tmp_path)
    assert info.strategy == "horovod+fp16"
    assert info.details["compression"]["fp16"] == {"raw_bytes": 3 * 4 * 289, "sent_bytes": 3 * 2 * 289, "ratio": 2.0}


def test_a_group_of_tensors_has_the_names_of_the_timeline(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    hvd = fake_horovod.install(monkeypatch, job)
    with scaleprof.horovod.profile(tmp_path, sample_hz=0):
        hvd.init()
        hvd.synchronize(hvd.grouped_allreduce_async([torch.ones(2), torch.ones(3)], name="g"))
        hvd.synchronize(hvd.allreduce_async_(torch.ones(4)))
        hvd.barrier()
        scaleprof.step()
    rank = only_rank(tmp_path)
    names = [line["tensor"] for line in lines(rank / "collectives.jsonl.gz")]
    assert names == ["grouped_allreduce.g_1of2", "grouped_allreduce.g_2of2", "allreduce.noname.3"]
    assert [wait["op"] for wait in lines(rank / "waits.jsonl.gz")] == ["all_reduce", "all_reduce", "barrier"]


def test_hosts_compare_clocks_and_a_rank_that_never_comes_costs_a_second(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaleprof.collect.horovod.clocks.BUDGET_S", 0.05)
    job.local_size = 1
    hvd = fake_horovod.install(monkeypatch, job)
    scaleprof.horovod.profile(tmp_path / "all", sample_hz=0)(train)(hvd)
    clock = info_of(tmp_path / "all").clock
    assert clock is not None and clock.reference == clock.id
    names = {line["tensor"] for line in lines(only_rank(tmp_path / "all") / "collectives.jsonl.gz")}
    assert not [name for name in names if "scaleprof" in name], "what the recorder sends is none of the job's"
    assert len([call for call in job.calls if "scaleprof.clock.start" in call]) == 12
    job.late = True
    scaleprof.horovod.profile(tmp_path / "alone", sample_hz=0)(train)(hvd)
    assert any("not all ranks came" in warning for warning in info_of(tmp_path / "alone").warnings)
    assert len(steps_of(tmp_path / "alone")) == 3


def test_without_horovod_everything_else_is_recorded(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "horovod.torch", None)
    monkeypatch.setenv("HOROVOD_SIZE", "1")
    scaleprof.horovod.profile(tmp_path, sample_hz=0)(loop)(3)
    assert len(steps_of(tmp_path)) == 3
    assert any("horovod cannot be recorded here" in warning for warning in info_of(tmp_path).warnings)


def test_rounds_bound_the_offset_from_both_sides() -> None:
    # This host is 5 ms ahead. In the first round rank 0 comes last, in the second this rank does.
    there = [(10 * MS, 11 * MS), (20 * MS, 22 * MS)]
    here = [(14 * MS, 16_500_000), (26 * MS, 27_200_000)]
    exact = ClockAnchor(0, 0, 0)
    offset = offset_of_rounds(here, there, exact, exact)
    # It left at 16.5 after rank 0 had come at 10; it came at 26 before rank 0 left at 22.
    assert (offset.offset_ns, offset.bound_ns) == ((4 * MS + 6_500_000) // 2, 1_250_000)
    assert abs(offset.offset_ns - 5 * MS) <= offset.bound_ns and offset.rounds == 2
