"""Every way to step an optimizer that training scripts use, and how many training steps it makes."""

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import scaleprof
from tests.collect.training import network, steps_of

Training = Callable[[int], None]


def plain(make: Callable[..., torch.optim.Optimizer], *, accumulate: int = 1) -> Training:
    def train(iterations: int) -> None:
        model = network()
        optimizer = make(model.parameters())
        for _ in range(iterations):
            optimizer.zero_grad()
            for _ in range(accumulate):
                model(torch.randn(4, 16)).mean().backward()
            optimizer.step()

    return train


def closure(iterations: int) -> None:
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)

    def again() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(4, 16)).pow(2).mean()
        loss.backward()
        return loss

    for _ in range(iterations):
        optimizer.step(again)


def with_scheduler(iterations: int) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(iterations):
        model(torch.randn(4, 16)).mean().backward()
        optimizer.step()
        scheduler.step()


def scaled_with_one_overflow(iterations: int) -> None:
    model = network()
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
    for number in range(iterations):
        optimizer.zero_grad()
        scaler.scale(model(torch.randn(4, 16)).mean() * (float("inf") if number == 2 else 1)).backward()
        scaler.step(optimizer)
        scaler.update()


def adversarial(critics: int) -> Training:
    def train(iterations: int) -> None:
        critic, generator = network(), network()
        of_critic = torch.optim.Adam(critic.parameters())
        of_generator = torch.optim.Adam(generator.parameters())
        for _ in range(iterations):
            for _ in range(critics):
                critic(torch.randn(4, 16)).mean().backward()
                of_critic.step()
            generator(torch.randn(4, 16)).mean().backward()
            of_generator.step()

    return train


def optimizer_in_backward(iterations: int) -> None:
    from torch.distributed.optim import _apply_optimizer_in_backward

    model = network()
    _apply_optimizer_in_backward(torch.optim.SGD, model.parameters(), {"lr": 0.1})
    for _ in range(iterations):
        model(torch.randn(4, 16)).mean().backward()


class Subclass(torch.optim.SGD):
    def step(self, closure: object = None) -> object:  # type: ignore[override]
        return super().step(closure)


class Delegating:
    def __init__(self, parameters: object) -> None:
        self.inner = torch.optim.SGD(parameters, lr=0.1)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


class Duck:
    def __init__(self, parameters: object) -> None:
        self.parameters = list(parameters)

    def zero_grad(self) -> None:
        pass

    def step(self) -> None:
        pass


def failing_once(iterations: int) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(iterations):
        model(torch.randn(4, 16)).mean().backward()
        if number == 3:
            with pytest.raises(ZeroDivisionError):
                optimizer.step(lambda: 1 / 0)
        optimizer.step()


def one_optimizer_per_fold(iterations: int) -> None:
    for _ in range(2):
        plain(torch.optim.SGD)(iterations // 2)


CASES: dict[str, tuple[Training, int]] = {
    "SGD": (plain(torch.optim.SGD), 6),
    "AdamW foreach": (plain(lambda p: torch.optim.AdamW(p, foreach=True)), 6),
    "AdamW fused": (plain(lambda p: torch.optim.AdamW(p, fused=True)), 6),
    "accumulation": (plain(torch.optim.SGD, accumulate=4), 6),
    "LBFGS closure": (closure, 6),
    "scheduler": (with_scheduler, 6),
    "overflow": (scaled_with_one_overflow, 5),
    "GAN 1:1": (adversarial(1), 6),
    "GAN 5:1": (adversarial(5), 15),
    "in backward": (optimizer_in_backward, 6),
    "super().step()": (plain(Subclass), 6),
    "delegating": (plain(Delegating), 6),
    "duck": (plain(Duck), 0),
    "failing once": (failing_once, 6),
    "folds": (one_optimizer_per_fold, 6),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_are_found_without_help(name: str, tmp_path: Path) -> None:
    train, expected = CASES[name]
    with warnings.catch_warnings(), scaleprof.profile(tmp_path, sample_hz=0):
        warnings.simplefilter("ignore")
        train(6)
    assert len(steps_of(tmp_path)) == expected


def test_a_compiled_step_counts_once(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compiled = torch.compile(optimizer.step, backend="eager")
    with warnings.catch_warnings(), scaleprof.profile(tmp_path, sample_hz=0):
        warnings.simplefilter("ignore")
        for _ in range(6):
            model(torch.randn(4, 16)).mean().backward()
            compiled()
    assert len(steps_of(tmp_path)) == 6


def test_optimizers_of_other_threads_end_no_step(tmp_path: Path) -> None:
    import threading

    with scaleprof.profile(tmp_path, sample_hz=0):
        other = threading.Thread(target=plain(torch.optim.SGD), args=(4,))
        other.start()
        other.join()
        plain(torch.optim.SGD)(3)
    assert len(steps_of(tmp_path)) == 3


def test_steps_do_not_overlap_and_leave_a_gap_for_the_recorder(tmp_path: Path) -> None:
    with scaleprof.profile(tmp_path, sample_hz=0):
        plain(torch.optim.SGD)(8)
    steps = steps_of(tmp_path)
    assert [step["i"] for step in steps] == list(range(8))
    assert all(a["t1"] < b["t0"] for a, b in itertools.pairwise(steps))
    assert all(step["t0"] < step["t1"] for step in steps)


def test_the_first_explicit_step_takes_back_what_was_guessed(tmp_path: Path) -> None:
    def train() -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            for _ in range(2):  # two optimizer steps are one training step here
                model(torch.randn(4, 16)).mean().backward()
                optimizer.step()
            scaleprof.step(samples=8)

    scaleprof.profile(tmp_path, sample_hz=0)(train)()
    steps = steps_of(tmp_path)
    assert [(step["i"], step["samples"]) for step in steps] == [(0, 8), (1, 8), (2, 8), (3, 8)]
    assert steps[0]["bwd"] > 0


def test_a_loader_given_to_steps_sets_boundaries_samples_and_input_time(tmp_path: Path) -> None:
    import time

    def slow() -> object:
        for _ in range(4):
            time.sleep(0.01)
            yield torch.randn(5, 16), "labels"

    with scaleprof.profile(tmp_path, sample_hz=0) as prof:
        for inputs, _ in prof.steps(slow()):
            network()(inputs).mean().backward()
    steps = steps_of(tmp_path)
    assert [step["samples"] for step in steps] == [5] * 4
    assert all(step["data"] > 9e6 for step in steps)
