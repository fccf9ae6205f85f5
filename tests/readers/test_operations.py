"""Floating-point operations from shapes: every formula with the answer on paper, and what cannot be told."""

import json
from typing import Any

import pytest

from scaleprof.readers.kineto.operations import counts_flops, flops_of
from scaleprof.trace import UNKNOWN


def flops(name: str, shapes: Any, values: Any = None) -> int:
    return flops_of(f"aten::{name}", json.dumps(shapes).encode(), json.dumps(values).encode())


QUERY, SHORT, WIDE = [2, 4, 10, 8], [2, 2, 6, 8], [2, 2, 6, 16]
"""Attention: batch 2, 4 heads (2 of keys), 10 queries, 6 keys, width 8, values 16 wide."""


def by_length(shape: list[int]) -> list[int]:
    return [shape[0], shape[2], shape[1], shape[3]]


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        ("mm", [[2, 3], [3, 5]], 2 * 2 * 3 * 5),
        ("mm", [[2, 3], [3, 5], [2, 5]], 2 * 2 * 3 * 5),  # into a given output
        ("addmm", [[5], [2, 3], [3, 5], [], []], 60),
        ("_addmm_activation", [[5], [2, 3], [3, 5], [], [], []], 60),
        ("_scaled_mm", [[2, 3], [3, 5], [], []], 60),
        ("bmm", [[7, 2, 3], [7, 3, 5]], 420),
        ("baddbmm", [[7, 2, 5], [7, 2, 3], [7, 3, 5]], 420),
        ("linear", [[4, 2, 3], [5, 3], [5]], 2 * 4 * 2 * 3 * 5),
        ("_grouped_mm", [[20, 3], [4, 3, 5], [4]], 2 * 20 * 3 * 5),
        ("_grouped_mm", [[2, 12], [12, 5], [4]], 2 * 2 * 12 * 5),
        ("_grouped_mm", [[4, 2, 3], [4, 3, 5]], 4 * 60),
        ("_grouped_mm", [[4, 2, 3], [3, 20], [4]], 2 * 2 * 3 * 20),
        ("mm", [[0, 3], [3, 5]], 0),
    ],
)
def test_products(name: str, shapes: Any, expected: int) -> None:
    assert counts_flops(f"aten::{name}")
    assert flops(name, shapes) == expected


FORWARD = 2 * 2 * 4 * 10 * 6 * (8 + 16)
BACKWARD = 2 * 2 * 4 * 10 * 6 * (3 * 8 + 2 * 16)


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        ("scaled_dot_product_attention", [QUERY, SHORT, WIDE], FORWARD),
        ("_scaled_dot_product_flash_attention_for_cpu", [QUERY, SHORT, WIDE, [], []], FORWARD),
        ("_scaled_dot_product_efficient_attention", [QUERY, SHORT, WIDE, [], []], FORWARD),
        ("_scaled_dot_product_cudnn_attention_backward", [[2, 4, 10, 16], QUERY, SHORT, WIDE], BACKWARD),
        ("_scaled_dot_product_flash_attention_for_cpu_backward", [QUERY] * 6, 5 * 2 * 2 * 4 * 10 * 10 * 8),
        ("_flash_attention_forward", [by_length(QUERY), by_length(SHORT), by_length(WIDE), [], []], FORWARD),
        ("_flash_attention_backward", [by_length(QUERY), *map(by_length, (QUERY, SHORT, WIDE)), [], [], []], BACKWARD),
        ("_efficient_attention_forward", [*map(by_length, (QUERY, SHORT, WIDE)), [], []], FORWARD),
    ],
)
def test_attention_has_no_discount_for_a_causal_mask(name: str, shapes: Any, expected: int) -> None:
    assert flops(name, shapes) == expected


def test_backward_is_two_and_a_half_forwards_where_all_are_equally_wide() -> None:
    forward = flops("_scaled_dot_product_flash_attention", [QUERY] * 3)
    assert flops("_scaled_dot_product_flash_attention_backward", [QUERY] * 4) == 2.5 * forward


def convolved(data: Any, kernel: Any, stride: str, padding: str, dilation: str, transposed: str = "False") -> int:
    values = ["", "", "", stride, padding, dilation, transposed, "[0, 0]", "1"]
    return flops("convolution", [data, kernel, [kernel[0]], [], [], [], [], [], []], values)


def test_a_convolution_meets_its_kernel_at_every_place_of_its_output() -> None:
    kernel = 8 * 3 * 3 * 3
    assert convolved([2, 3, 16, 16], [8, 3, 3, 3], "[1, 1]", "[1, 1]", "[1, 1]") == 2 * 2 * 16 * 16 * kernel
    assert convolved([2, 3, 16, 16], [8, 3, 3, 3], "[2, 2]", "[1, 1]", "[1, 1]") == 2 * 2 * 8 * 8 * kernel
    assert convolved([2, 3, 16, 17], [8, 3, 3, 3], "[1, 2]", "[0, 1]", "[2, 1]") == 2 * 2 * 12 * 9 * kernel
    assert convolved([2, 3, 16, 16], [8, 3, 3, 3], "[2]", "[1]", "[1]") == 2 * 2 * 8 * 8 * kernel
    assert convolved([2, 4, 100], [6, 4, 3], "[1]", "[0]", "[1]") == 2 * 2 * 98 * 6 * 4 * 3


def test_groups_and_transposed_convolutions() -> None:
    assert convolved([2, 8, 8, 8], [8, 2, 3, 3], "[1, 1]", "[1, 1]", "[1, 1]") == 2 * 2 * 64 * 8 * 2 * 9
    assert convolved([2, 8, 8, 8], [8, 4, 3, 3], "[2, 2]", "[0, 0]", "[1, 1]", "True") == 2 * 2 * 64 * 8 * 4 * 9


@pytest.mark.parametrize(
    ("mask", "times"),
    [("[True, True, True]", 2), ("[False, True, True]", 1), ("[True, False, False]", 1), ("[False, False, True]", 0)],
)
@pytest.mark.parametrize(("transposed", "places"), [("False", 8 * 8), ("True", 16 * 16)])
def test_the_backward_of_a_convolution_computes_what_is_asked_for(
    mask: str, times: int, transposed: str, places: int
) -> None:
    shapes = [[2, 8, 8, 8], [2, 3, 16, 16], [8, 3, 3, 3], *[[]] * 8]
    values = ["", "", "", "[8]", "[2, 2]", "[1, 1]", "[1, 1]", transposed, "[0, 0]", "1", mask]
    assert flops("convolution_backward", shapes, values) == times * 2 * 2 * places * 8 * 3 * 9


@pytest.mark.parametrize(
    ("name", "shapes", "values"),
    [
        ("mm", None, None), ("mm", [], None), ("mm", [[2, 3]], None), ("mm", [[2, 3], [4, 5]], None),
        ("mm", [[2, -3], [-3, 5]], None), ("mm", [[2, "3"], [3, 5]], None), ("mm", [[2**40, 2**40], [2**40, 2**40]], None),
        ("mm", "no list", None), ("bmm", [[2, 3], [3, 5]], None), ("linear", [[4, 3], [5, 4]], None),
        ("mm", [[2, 3], [3, 5], list(range(5000))], None),
        ("convolution", [[1, 3, 8], [4, 3, 3]], None),
        ("convolution", [[1, 3, 8], [4, 3, 3]], ["", "", "", "[--1]", "[0]", "[1]", "False"]),
        ("convolution", [[1, 3, 8], [4, 3, 3]], ["", "", "", "[0]", "[0]", "[1]", "False"]),
        ("convolution", [[1, 3, 8], [4, 3, 3]], ["", "", "", "[" + "9" * 4500 + "]", "[0]", "[1]", "False"]),
        ("convolution_backward", [[1, 4, 6], [1, 3, 8], [4, 3, 3]], ["", "", ""]),
        ("_flash_attention_forward", [[20, 4, 8], [20, 4, 8], [20, 4, 8], [3], [3]], None),
        ("_efficient_attention_forward", [[1, 20, 4, 8]] * 3 + [[], [3], [3]], None),
        ("scaled_dot_product_attention", [QUERY, QUERY, [2, 4, 11, 8]], None),
        ("_int_mm", [[2, 3], [3, 5]], None),
    ],
)  # fmt: skip
def test_what_the_inputs_do_not_tell_is_unknown(name: str, shapes: Any, values: Any) -> None:
    assert counts_flops(f"aten::{name}")
    assert flops(name, shapes, values) == UNKNOWN


def test_other_operators_are_none_of_this() -> None:
    assert not any(map(counts_flops, ("aten::add", "aten::matmul", "aten::mkldnn_convolution", "aten::t", "mm", "")))
    assert counts_flops("triton_tem_fused_mm_3")
    assert counts_flops("flash_attn::_flash_attn_varlen_forward")
