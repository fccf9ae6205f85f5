"""What things are called: every rule about names must know them."""

import pytest

from scaleprof.readers.rules import kind_of
from scaleprof.synth.names import FRAMES, OF_PHASE, OLD_ALL_REDUCE_KERNEL, work_of
from scaleprof.trace import Kind

KINDS = {"copy": Kind.COPY, "all_reduce": Kind.COLLECTIVE}


@pytest.mark.parametrize("phase", OF_PHASE)
def test_every_kernel_is_recognised_by_its_name(phase: str) -> None:
    for work in OF_PHASE[phase]:
        category = "gpu_memcpy" if phase == "copy" else "kernel"
        assert kind_of(category, work.kernel) == (KINDS.get(phase, Kind.COMPUTE), True)
    assert kind_of("kernel", OLD_ALL_REDUCE_KERNEL) == (Kind.COLLECTIVE, True)


def test_each_layer_begins_the_row_anew() -> None:
    operators = [work.operator for work in work_of("forward", 9, per_layer=4)]
    assert operators[:4] == operators[4:8]
    assert operators[8] == operators[0]


def test_a_stack_has_a_name_for_each_frame() -> None:
    assert len({name.format(layer=3) for name in FRAMES}) == 6
