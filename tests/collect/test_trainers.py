"""The callbacks: with the real trainers where `make trainers` has installed them, and hook by hook without."""

import functools
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from scaleprof.collect.recording import recording_now
from scaleprof.collect.trainers import HuggingFaceHooks, LightningHooks, callback
from scaleprof.errors import MissingPackage
from tests.collect.training import info_of, network, only_rank, spans, steps_of

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("lightning", "pytorch_lightning", "transformers", "accelerate")
trainers = [
    pytest.mark.trainers,
    pytest.mark.skipif(
        not all(find_spec(name) for name in PACKAGES), reason="the trainers are not here: `make trainers` installs them"
    ),
]
EVALUATION_NS = 500_000_000


def real(test: Any) -> Any:
    """A test with the real packages."""
    return functools.reduce(lambda inner, mark: mark(inner), trainers, test)


def run(family: str, folder: Path) -> Path:
    """The folder with what the jobs of a family recorded."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("SCALEPROF")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.collect.trainer_jobs", family, str(folder)],
        cwd=ROOT, env=settings | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def lightning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run("lightning", tmp_path_factory.mktemp("lightning"))


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run("huggingface", tmp_path_factory.mktemp("huggingface"))


def recorded(job: Path) -> Path:
    """What a job recorded, which ended as it should."""
    assert not (job / "error").exists(), (job / "error").read_text()
    assert not info_of(job / "traces").warnings
    return job / "traces"


def region_names(traces: Path) -> set[str]:
    named = {span["name"] for span in spans(only_rank(traces))}
    return {name.removeprefix("scaleprof::region ") for name in named if name.startswith("scaleprof::region ")}


@real
@pytest.mark.parametrize("package", ["lightning", "pytorch_lightning"])
def test_lightning_steps_hold_no_validation(lightning: Path, package: str) -> None:
    traces = recorded(lightning / package)
    steps = steps_of(traces)
    assert [step["samples"] for step in steps] == [4] * 80
    assert max(step["t1"] - step["t0"] for step in steps) < EVALUATION_NS
    assert not any(step["perturbed"] for step in steps[20:50])
    assert region_names(traces) == {"validation", "checkpoint"}
    info = info_of(traces)
    assert (info.model, info.strategy, info.local_batch, info.finished) == ("Model", "single", 4, True)


@real
def test_lightning_accumulated_batches_are_one_step(lightning: Path) -> None:
    traces = recorded(lightning / "accumulates")
    assert [(step["samples"], step["micro"]) for step in steps_of(traces)] == [(16, 4)] * 20
    assert max(step["t1"] - step["t0"] for step in steps_of(traces)) < EVALUATION_NS
    assert info_of(traces).strategy == "single+accumulate4"


@real
def test_lightning_with_two_optimizers_has_one_step_a_batch(lightning: Path) -> None:
    steps = steps_of(recorded(lightning / "manual"))
    assert [step["samples"] for step in steps] == [4] * 80
    # A validation lies between the two optimizers of a batch, in the middle of a step.
    long = [step for step in steps if step["t1"] - step["t0"] > EVALUATION_NS]
    assert len(long) == 3
    assert all(step["perturbed"] for step in long)


@real
@pytest.mark.parametrize(("job", "said"), [("fails", "_Boom: boom"), ("is_interrupted", "KeyboardInterrupt: ")])
def test_a_lightning_training_that_fails_leaves_what_it_had(lightning: Path, job: str, said: str) -> None:
    traces = recorded(lightning / job)
    assert (info_of(traces).exception, info_of(traces).finished) == (said, True)
    assert len(steps_of(traces)) == 7


@real
def test_callbacks_can_be_pickled_and_belong_to_both_packages(lightning: Path) -> None:
    assert not list((lightning / "pickled").iterdir())


@real
@pytest.mark.parametrize(("job", "steps"), [("map", 80), ("streams", 40)])
def test_hugging_face_steps_hold_no_evaluation(hugging_face: Path, job: str, steps: int) -> None:
    traces = recorded(hugging_face / job)
    assert [step["samples"] for step in steps_of(traces)] == [4] * steps
    assert max(step["t1"] - step["t0"] for step in steps_of(traces)) < EVALUATION_NS
    assert region_names(traces) == {"evaluation", "checkpoint"}
    info = info_of(traces)
    assert (info.model, info.strategy, info.local_batch, info.finished) == ("_Net", "single", 4, True)


@real
def test_hugging_face_accumulated_batches_are_one_step(hugging_face: Path) -> None:
    traces = recorded(hugging_face / "accumulates")
    assert [(step["samples"], step["micro"]) for step in steps_of(traces)] == [(16, 4)] * 20
    assert info_of(traces).strategy == "single+accumulate4"


@real
def test_a_hugging_face_training_that_fails_ends_its_recording(hugging_face: Path) -> None:
    assert info_of(recorded(hugging_face / "fails")).exception == "_Boom: boom"


# ---- without any of the packages


class Checkpoints:
    """What Lightning hands to the hooks."""

    def save_checkpoint(self) -> str:
        """Takes its time."""
        torch.zeros(2000, 2000).add_(1)
        return "saved"


class Training:
    """A model and its batches, for hooks that are called by hand."""

    def __init__(self) -> None:
        self.model = network()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.loader = torch.utils.data.DataLoader(torch.randn(400, 16), batch_size=4)
        self.batches = iter(self.loader)

    def batch(self, *, steps: bool = True) -> None:
        self.model(next(self.batches)).mean().backward()
        if steps:
            self.optimizer.step()

    def evaluate(self) -> None:
        for _ in self.loader:
            pass


def test_lightning_hooks_open_and_close_a_recording(tmp_path: Path) -> None:
    hooks, training, trainer = LightningHooks(tmp_path, sample_hz=0), Training(), Checkpoints()
    hooks.setup(trainer, None, "validate")
    assert recording_now() is None
    hooks.setup(trainer, None, "fit")
    hooks.on_validation_start(trainer, None)  # the sanity check
    training.evaluate()
    hooks.on_validation_end(trainer, None)
    hooks.on_train_start(trainer, None)
    for number in range(8):
        training.batch()
        assert trainer.save_checkpoint() == "saved"
        if number == 4:
            hooks.on_validation_start(trainer, None)
            training.evaluate()
            hooks.on_validation_end(trainer, None)
    hooks.on_fit_end(trainer, None)
    hooks.teardown(trainer, None, "fit")
    assert "call" not in trainer.save_checkpoint.__qualname__, "the trainer is as it was"
    assert [step["samples"] for step in steps_of(tmp_path)] == [4] * 8
    assert [step["perturbed"] for step in steps_of(tmp_path)][1:5] == [False] * 4
    assert info_of(tmp_path).local_batch == 4


def test_an_evaluation_in_the_middle_of_a_step_perturbs_it(tmp_path: Path) -> None:
    hooks, training = LightningHooks(tmp_path, sample_hz=0), Training()
    hooks.setup(Checkpoints(), None, "fit")
    hooks.on_train_start(None, None)
    for number in range(6):
        training.batch(steps=False)
        if number == 3:
            hooks.on_validation_start(None, None)
            training.evaluate()
            hooks.on_validation_end(None, None)
        training.batch()
    hooks.on_fit_end(None, None)
    steps = steps_of(tmp_path)
    assert [step["samples"] for step in steps] == [8] * 6
    assert [step["perturbed"] for step in steps][1:5] == [False, False, True, False]


def test_an_error_ends_the_recording_wherever_it_comes(tmp_path: Path) -> None:
    hooks, training = LightningHooks(tmp_path, sample_hz=0), Training()
    hooks.setup(Checkpoints(), None, "fit")
    hooks.on_train_start(None, None)
    training.batch()
    hooks.on_validation_start(None, None)
    hooks.on_exception(None, None, KeyboardInterrupt())
    hooks.on_validation_end(None, None)
    hooks.teardown(None, None, "fit")
    assert recording_now() is None
    assert info_of(tmp_path).exception == "KeyboardInterrupt: "


def test_inside_a_recording_the_trainer_is_a_part_of_it(tmp_path: Path) -> None:
    import scaleprof

    hooks, training = LightningHooks(tmp_path / "inner", sample_hz=0), Training()
    with scaleprof.profile(tmp_path / "outer", sample_hz=0):
        hooks.setup(Checkpoints(), None, "fit")
        hooks.on_train_start(None, None)
        training.batch()
        hooks.on_fit_end(None, None)
        assert recording_now() is not None
    assert len(steps_of(tmp_path / "outer")) == 1
    assert not (tmp_path / "inner").exists()


def test_switched_off_the_hooks_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEPROF", "0")
    hooks, training = LightningHooks(tmp_path, sample_hz=0), Training()
    hooks.setup(Checkpoints(), None, "fit")
    hooks.on_train_start(None, None)
    hooks.on_validation_start(None, None)
    training.batch()
    hooks.on_validation_end(None, None)
    hooks.on_fit_end(None, None)
    assert not list(tmp_path.iterdir())


def test_a_trainer_that_is_not_installed_is_named_with_the_extra() -> None:
    with pytest.raises(MissingPackage, match=r"needs no_such or nor_this.*scaleprof\[trainers\]"):
        callback(LightningHooks, "scaleprof.lightning", ("no_such.pytorch", "nor_this"), "Callback")


def test_only_the_trainer_that_is_asked_for_is_looked_for() -> None:
    code = "import scaleprof, sys; scaleprof.lightning; scaleprof.huggingface; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "lightning", "pytorch_lightning", "transformers", "accelerate"}


def test_the_modules_have_nothing_else() -> None:
    import scaleprof

    for module in (scaleprof.lightning, scaleprof.huggingface):
        assert module.__all__ == ["ScaleprofCallback"]
        with pytest.raises(AttributeError, match="has no attribute 'Callback'"):
            _ = module.Callback


def test_an_evaluation_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    import scaleprof

    training = Training()
    with scaleprof.profile(tmp_path, sample_hz=0) as prof:
        for _ in range(6):
            training.batch()
            with prof.aside("evaluation"):
                training.evaluate()
    assert [step["samples"] for step in steps_of(tmp_path)] == [4] * 6
    with prof.aside("after the recording"):
        json.dumps(None)


def test_hugging_face_hooks_need_no_trainer_to_be_described() -> None:
    assert HuggingFaceHooks.__doc__ is not None
    assert "Trainer.train" in HuggingFaceHooks.__doc__
