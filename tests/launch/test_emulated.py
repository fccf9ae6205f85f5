"""The emulated device: known time, real gradients."""

import time

import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch


def test_a_step_takes_the_time_that_was_asked_for() -> None:
    from scaleprof.launch.emulated import EmulatedModel

    model = EmulatedModel(layers=4, ms_per_sample=20, gradient_mb=0.1)
    began = time.perf_counter()
    model(torch.ones(3, 1)).sum().backward()
    took_ms = (time.perf_counter() - began) * 1e3
    assert took_ms >= 59.9, "3 samples of 20 ms"


def test_two_thirds_of_the_time_are_spent_in_the_backward_pass() -> None:
    from scaleprof.launch.emulated import EmulatedModel

    model = EmulatedModel(layers=2, ms_per_sample=60, gradient_mb=0.1)
    began = time.perf_counter()
    loss = model(torch.ones(1, 1)).sum()
    forward_ms = (time.perf_counter() - began) * 1e3
    loss.backward()
    backward_ms = (time.perf_counter() - began) * 1e3 - forward_ms
    assert forward_ms >= 19.9
    assert backward_ms >= 39.9


def test_gradients_are_real_and_of_the_size_that_was_asked_for() -> None:
    from scaleprof.launch.emulated import EmulatedModel

    model = EmulatedModel(layers=4, ms_per_sample=0.01, gradient_mb=0.8)
    model(torch.ones(3, 1)).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert sum(gradient.nbytes for gradient in gradients if gradient is not None) == 800_000
    assert [float(gradient[0]) for gradient in gradients if gradient is not None] == [3.0] * 4


def test_a_gradient_is_ready_only_after_its_layer_has_computed() -> None:
    from scaleprof.launch.emulated import EmulatedModel

    model = EmulatedModel(layers=2, ms_per_sample=60, gradient_mb=0.1)
    ready: list[float] = []
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: ready.append(time.perf_counter()))
    loss = model(torch.ones(1, 1)).sum()
    began = time.perf_counter()
    loss.backward()
    assert [moment - began >= least for moment, least in zip(ready, (0.0199, 0.0399), strict=True)] == [True, True]
