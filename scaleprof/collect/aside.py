"""What is no training is part of no step: an evaluation or a checkpoint between two steps, or in the middle of one."""

from collections.abc import Iterator
from contextlib import contextmanager

from scaleprof.collect.session import Session


@contextmanager
def left_out(session: Session) -> Iterator[None]:
    """Code between two steps moves the beginning of the next one behind it; a step that has begun to work is marked as perturbed instead.

    Either way the batches of an evaluation are none of the training's.
    """
    counters, inputs, number = session._counters, session.inputs, session.step_number
    held = counters.batch_samples, counters.input_ns, inputs.batches
    now = {"samples": counters.batch_samples, "data": counters.input_ns, "micro": counters.backward_passes}
    is_between = all(counters._before.get(name) == value for name, value in now.items())
    try:
        yield
    finally:
        with session.guard.on("an evaluation or a checkpoint counts as a part of a step"):
            if session.is_ours() and session.step_number == number:
                counters.batch_samples, counters.input_ns, inputs.batches = held
                if is_between:
                    session._begin_step()
                else:
                    session._perturbed = True
