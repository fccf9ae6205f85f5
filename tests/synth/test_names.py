"""What things are called: every rule about names must know them."""

import pytest

from scaleprof.readers.rules import kind_of
from scaleprof.synth.names import COMMUNICATION, FRAMES, OF_PHASE, kernel_of, work_of
from scaleprof.trace import Kind

KINDS = {"copy": Kind.COPY, **dict.fromkeys(COMMUNICATION, Kind.COLLECTIVE)}


@pytest.mark.parametrize("phase", OF_PHASE)
def test_every_kernel_is_recognised_by_its_name(phase: str) -> None:
    for work in OF_PHASE[phase]:
        category = "gpu_memcpy" if phase == "copy" else "kernel"
        assert kind_of(category, work.kernel) == (KINDS.get(phase, Kind.COMPUTE), True)
    if phase in COMMUNICATION:
        assert kind_of("kernel", COMMUNICATION[phase].old_kernel) == (Kind.COLLECTIVE, True)


def test_a_kernel_says_its_type_where_it_reduces() -> None:
    assert "_Sum_bf16_" in kernel_of("all_reduce", is_half=True, is_old=False)
    assert "_Sum___nv_bfloat16(" in kernel_of("reduce_scatter", is_half=True, is_old=True)
    for op in COMMUNICATION:
        for is_old in (False, True):
            assert kind_of("kernel", kernel_of(op, is_half=True, is_old=is_old)) == (Kind.COLLECTIVE, True)
    assert kernel_of("send", is_half=True, is_old=False) == COMMUNICATION["send"].kernel


def test_each_layer_begins_the_row_anew() -> None:
    operators = [work.operator for work in work_of("forward", 9, per_layer=4)]
    assert operators[:4] == operators[4:8]
    assert operators[8] == operators[0]


def test_a_stack_has_a_name_for_each_frame() -> None:
    assert len({name.format(layer=3) for name in FRAMES}) == 6
