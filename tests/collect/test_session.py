"""What a recording says of the job, and what it leaves out because nothing measured it."""

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest
import torch

import scaleprof
from scaleprof.errors import OptionError
from tests.collect.training import info_of, lines, loop, network, only_rank, run_of, steps_of


def batches(folder: Path, data: torch.utils.data.DataLoader) -> None:  # type: ignore[type-arg]
    with scaleprof.profile(folder, sample_hz=0):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for inputs in data:
            model(inputs).mean().backward()
            optimizer.step()


def test_what_nothing_measured_is_absent(tmp_path: Path) -> None:
    scaleprof.profile(tmp_path, sample_hz=0)(loop)(3)
    assert set(steps_of(tmp_path)[1]) == {
        "i", "t0", "t1", "cpu", "runq", "runq_wait", "bwd", "micro", "opt", "wait", "n_wait", "profiled", "perturbed",
    }  # fmt: skip


def test_one_process_is_never_blocked(tmp_path: Path) -> None:
    scaleprof.profile(tmp_path, sample_hz=0)(loop)(4)
    assert [(step["wait"], step["n_wait"]) for step in steps_of(tmp_path)] == [(0, 0)] * 4
    assert not lines(only_rank(tmp_path) / "waits.jsonl.gz")


def test_a_smaller_last_batch_does_not_hide_the_batch_size(tmp_path: Path) -> None:
    batches(tmp_path, torch.utils.data.DataLoader(torch.randn(42, 16), batch_size=8))
    assert [step["samples"] for step in steps_of(tmp_path)] == [8, 8, 8, 8, 8, 2]
    assert info_of(tmp_path).local_batch == 8


def test_batches_of_every_size_have_no_batch_size(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=0):
        for samples in (1, 2, 3, 4):
            scaleprof.step(samples=samples)
    assert info_of(tmp_path).local_batch is None


def test_a_batch_that_cannot_be_asked_for_its_shape_is_handed_on(tmp_path: Path) -> None:
    class Odd:
        @property
        def shape(self) -> object:
            raise RuntimeError("no shape for you")

    with scaleprof.profile(tmp_path, sample_hz=0) as prof:
        assert len([batch for batch in prof.steps([Odd(), Odd()])]) == 2  # noqa: C416
    assert any("no shape for you" in warning for warning in info_of(tmp_path).warnings)


def test_precision_names_autocast(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=0):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(torch.randn(4, 16)).mean()
            loss.backward()
            optimizer.step()
    assert info_of(tmp_path).precision == "float32+autocast bfloat16"


def test_the_model_is_the_users_not_what_torch_put_around_it(tmp_path: Path) -> None:
    class Net(torch.nn.Linear):
        pass

    with scaleprof.profile(tmp_path, sample_hz=0):
        model = torch.compile(Net(16, 1), backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            model(torch.randn(4, 16)).mean().backward()
            optimizer.step()
    info = info_of(tmp_path)
    assert (info.model, info.parameters, info.device) == ("Net", 17, "cpu")


def test_a_named_run_belongs_to_the_series_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEPROF_REPEAT", "2")
    scaleprof.profile(tmp_path / "named", name="mine", sample_hz=0)(loop)(1)
    scaleprof.profile(tmp_path / "unnamed", sample_hz=0)(loop)(1)
    assert (run_of(tmp_path / "named").series, run_of(tmp_path / "named").repeat) == ("mine", 2)
    assert run_of(tmp_path / "unnamed").series is None


def test_the_training_may_change_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    @scaleprof.profile("traces", sample_hz=0)
    def train() -> None:
        loop(2)
        os.chdir("elsewhere")
        loop(2)

    train()
    assert len(steps_of(tmp_path / "traces")) == 4
    assert not list((tmp_path / "elsewhere").iterdir())


def test_one_object_may_be_entered_inside_itself(tmp_path: Path) -> None:
    recorded = scaleprof.profile(tmp_path, sample_hz=0)
    with recorded:
        with recorded:
            loop(2)
        loop(2)
    assert len(steps_of(tmp_path)) == 4


def test_decorators_may_stand_in_the_other_order(tmp_path: Path) -> None:
    class Trainer:
        @scaleprof.profile(tmp_path / "static", sample_hz=0)
        @staticmethod
        def fit_static() -> str:
            return loop(2)

        @scaleprof.profile(tmp_path / "class", sample_hz=0)
        @classmethod
        def fit_class(cls) -> str:
            return loop(3)

    assert (Trainer.fit_static(), Trainer().fit_class()) == ("done", "done")
    assert [len(steps_of(tmp_path / kind)) for kind in ("static", "class")] == [2, 3]


def test_forgotten_brackets_are_explained() -> None:
    with pytest.raises(OptionError, match="with brackets"):

        @scaleprof.profile  # type: ignore[arg-type]
        def train() -> None: ...


def test_calls_from_other_threads_end_no_step(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=0):
        other = threading.Thread(target=scaleprof.step)
        other.start()
        other.join()
        loop(3)
    assert len(steps_of(tmp_path)) == 3


def test_outside_a_recording_everything_is_a_no_op() -> None:
    prof = scaleprof.profile("never/made")
    scaleprof.step(samples=3)
    prof.emulated(compute_ms_per_step=1)
    with prof.region("nothing"):
        assert list(prof.steps([1, 2])) == [1, 2]
    assert not Path("never").exists()


def test_waiting_for_a_core_in_an_emulated_sleep_is_told_apart(tmp_path: Path) -> None:
    from scaleprof.collect import emulated_sleep

    with scaleprof.profile(tmp_path, sample_hz=0):
        for _ in range(3):
            emulated_sleep(0.005)
            sum(range(200_000))
            scaleprof.step()
    for step in steps_of(tmp_path):
        assert 0 <= step["runq_wait"] <= step["runq"]


def test_a_forked_child_that_goes_on_training_leaves_no_trace_in_the_recording(tmp_path: Path) -> None:
    @scaleprof.profile(tmp_path, sample_hz=0)
    def train() -> None:
        loop(2)
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                loop(3)
            os._exit(0)
        os.waitpid(child, 0)

    train()
    assert len(steps_of(tmp_path)) == 2


def test_parts_that_this_torch_lacks_cost_only_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scaleprof.collect.watching.waits import WaitPoints

    def missing(*_: object) -> None:
        raise AttributeError("no such function in this torch")

    monkeypatch.setattr(WaitPoints, "install", missing)
    scaleprof.profile(tmp_path, sample_hz=0)(loop)(8)
    assert len(steps_of(tmp_path)) == 8
    assert "wait" not in steps_of(tmp_path)[0]
    info = info_of(tmp_path)
    assert (info.capabilities["wait_points"], info.capabilities["profiler"]) == (False, True)
    assert any("wait points" in warning for warning in info.warnings)


def test_a_failing_counter_costs_samples_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scaleprof.collect.machine import sampler

    def broken() -> dict[str, float]:
        raise RuntimeError("no counters today")

    monkeypatch.setattr(sampler, "process_counters", lambda: broken)
    with scaleprof.profile(tmp_path, sample_hz=50):
        time.sleep(0.1)
    assert any("no counters today" in warning for warning in info_of(tmp_path).warnings)


def test_collectives_from_before_the_recording_are_not_its_own(tmp_path: Path) -> None:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        torch.distributed.all_reduce(torch.ones(3))
        with scaleprof.profile(tmp_path, sample_hz=0):
            torch.distributed.all_reduce(torch.ones(5))
            scaleprof.step()
    finally:
        torch.distributed.destroy_process_group()
    entries = lines(only_rank(tmp_path) / "collectives.jsonl.gz")
    assert [entry["input_sizes"] for entry in entries] == [[[5]]]
    [step] = steps_of(tmp_path)
    assert step["n_wait"] == 1
