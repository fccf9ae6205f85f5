"""How many floating-point operations an operator is, from the shapes that the profiler recorded of its inputs.

The conventions are those of `torch.utils.flop_counter`: a multiplication with its addition is two operations, only matrix products, convolutions
and attention count, and a causal mask is not deducted. Where torch forgets the groups of a convolution's backward, they are counted here.
An operator of these families may contain another one, as the global product of a distributed tensor contains the local one: every one of them gets
its number here, and who adds them up takes the innermost.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import msgspec
import numpy as np

from scaleprof.intervals import Ints
from scaleprof.readers.json_text.broken import BAD_TEXT, decode_event
from scaleprof.readers.schema import NO_ARGUMENTS, ONE, Complete
from scaleprof.trace import UNKNOWN, Ids

Shape = list[int]
_MOST = 2**62
_MOST_KNOWN = 1 << 16
_LONGEST = 4096
"""No operator has inputs of more letters than this: what hostile files hold is not remembered."""
_SHAPES = b'"Input Dims"'
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_CONCRETE = b'"Concrete Inputs"'
_VALUES = re.compile(rb'"Concrete Inputs":\s*\[(?:\s*"[^"\\]*",?)*\s*\]')
_WITHOUT_FORMULA = re.compile(
    r"aten::(_cudnn_rnn|miopen_rnn|mkldnn_rnn_layer)(_backward)?$|aten::_(int|weight_int4pack|weight_int8pack)_mm$"
    r"|triton_tem_|flash_attn\w*::|(mkldnn|onednn)::\w*(linear|conv|bmm)|quantized::(linear|conv)"
)
"""Names that do such work, too, but do not tell how much: they are counted as unknown instead of being left out unseen."""


class _NoShapes(Exception):
    """The inputs are not recorded, or are not those of the operator that the name stands for."""


def counts_flops(name: str) -> bool:
    """Whether an operator of this name multiplies matrices, convolves or attends."""
    return name in _FORMULAS or _WITHOUT_FORMULA.match(name) is not None


def flops_of_event(event: Complete) -> int:
    """The floating-point operations of an operator; UNKNOWN where its arguments do not tell."""
    arguments = event.args or NO_ARGUMENTS
    return flops_of(event.name, bytes(arguments.shapes), bytes(arguments.values))


def flops_of(name: str, shapes: bytes, values: bytes) -> int:
    """The same from the JSON of its `Input Dims` and `Concrete Inputs`."""
    values = values if name in _NEED_VALUES else b""
    return _flops_of(name, shapes, values) if len(shapes) + len(values) <= _LONGEST else UNKNOWN


class Flops:
    """The operations of events as text. An event is decoded once; others of its name whose text speaks of the same inputs have as many."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes, bytes], int] = {}
        self._need_values: dict[int, bool] = {}

    def of_texts(self, names: Ids, texts: Iterable[bytes]) -> Ints:
        """The operations of operators, each with the number of its name, and its text. The loop is over few of all events."""
        found = [self._of_text(name, text) for name, text in zip(names.tolist(), texts, strict=True)]
        return np.array(found, dtype=np.int64)

    def _of_text(self, name: int, text: bytes) -> int:
        need_values = self._need_values.get(name)
        if need_values is None:
            event = decode_event(text, ONE)
            if type(event) is not Complete:
                return UNKNOWN
            need_values = self._need_values[name] = event.name in _NEED_VALUES
        key = (name, _shapes_in(text), _values_in(text) if need_values else b"")
        flops = self._known.get(key)
        if flops is None:
            event = decode_event(text, ONE)
            flops = flops_of_event(event) if type(event) is Complete else UNKNOWN
            if len(text) <= 4 * _LONGEST:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[key] = flops
        return flops


def _shapes_in(text: bytes) -> bytes:
    """The text of the shapes, which has no quotes, and perhaps a little of what follows."""
    start = text.find(_SHAPES)
    if start < 0:
        return b""
    end = text.find(b'"', start + len(_SHAPES))
    return text[start : end if end >= 0 else len(text)]


def _values_in(text: bytes) -> bytes:
    """The text of a list of strings; all of it where it is something else."""
    if _CONCRETE not in text:
        return b""
    found = _VALUES.search(text)
    return found[0] if found else text


@lru_cache(maxsize=1 << 14)  # a layer has the same shapes in every step
def _flops_of(name: str, shapes: bytes, values: bytes) -> int:
    formula = _FORMULAS.get(name)
    if formula is None:
        return UNKNOWN
    try:
        flops = formula(_Inputs(_list(shapes), _list(values)))
    except _NoShapes:
        return UNKNOWN
    return flops if 0 <= flops < _MOST else UNKNOWN


class _Inputs:
    """What is recorded of an operator's inputs, by their places in its signature."""

    def __init__(self, shapes: Sequence[Any], values: Sequence[Any]) -> None:
        self._shapes, self._values = shapes, values

    def shape(self, place: int, dimensions: int | None = None) -> Shape:
        """The lengths of a tensor, of so many dimensions."""
        shape = self._shapes[place] if place < len(self._shapes) else None
        whole = isinstance(shape, list) and all(type(length) is int and length >= 0 for length in shape)
        if not whole or not shape or dimensions not in (None, len(shape)):
            raise _NoShapes
        return list(shape)

    def is_given(self, place: int) -> bool:
        """Whether an optional tensor is there."""
        return place < len(self._shapes) and self._shapes[place] != []

    def word(self, place: int) -> str:
        """A number or a truth value, as text."""
        value = self._values[place] if place < len(self._values) else ""
        if not isinstance(value, str) or not value:
            raise _NoShapes
        return value

    def listed(self, place: int) -> list[str]:
        """The members of a list of such."""
        return [part.strip() for part in self.word(place).strip("[]").split(",")]

    def numbers(self, place: int, count: int) -> list[int]:
        """A list of so many whole numbers; one alone stands for all."""
        parts = self.listed(place)
        if not all(_WHOLE.fullmatch(part) for part in parts) or len(parts) not in (1, count):
            raise _NoShapes
        return [int(part) for part in parts] * (count if len(parts) == 1 else 1)


def _product(first: int, second: int) -> Callable[[_Inputs], int]:
    """`[m, k] @ [k, n]`, at these places of the signature."""

    def flops(inputs: _Inputs) -> int:
        (m, k), (inner, n) = inputs.shape(first, 2), inputs.shape(second, 2)
        return _if(k == inner, 2 * m * k * n)

    return flops


def _batched(first: int, second: int) -> Callable[[_Inputs], int]:
    """`[b, m, k] @ [b, k, n]`"""

    def flops(inputs: _Inputs) -> int:
        (batch, m, k), (other, inner, n) = inputs.shape(first, 3), inputs.shape(second, 3)
        return _if(k == inner and batch == other, 2 * batch * m * k * n)

    return flops


def _grouped(inputs: _Inputs) -> int:
    """Products of groups of rows, or of columns, or of neither: only two stacks of matrices have a batch."""
    first, second = inputs.shape(0), inputs.shape(1)
    if not 2 <= len(first) <= 3 or not 2 <= len(second) <= 3:
        raise _NoShapes
    batch = first[0] if len(first) == len(second) == 3 else 1
    return _if(first[-1] == second[-2], 2 * batch * first[-2] * first[-1] * second[-1])


def _linear(inputs: _Inputs) -> int:
    """`[..., k] @ [n, k].T`"""
    rows, (n, k) = inputs.shape(0), inputs.shape(1, 2)
    return _if(rows[-1] == k, 2 * prod(rows) * n)


def _convolution(inputs: _Inputs) -> int:
    """Every place of the output (of the input, if transposed) meets the whole kernel; its second length is that of one group."""
    data, kernel = inputs.shape(0), inputs.shape(1)
    sides = len(kernel) - 2
    if sides < 1 or len(data) != len(kernel):
        raise _NoShapes
    if inputs.word(6) == "True":
        return 2 * data[0] * prod(data[2:]) * prod(kernel)
    stride, padding, dilation = (inputs.numbers(place, sides) for place in (3, 4, 5))
    if min(stride) < 1:
        raise _NoShapes
    rows = zip(data[2:], kernel[2:], stride, padding, dilation, strict=True)
    output = [(length + 2 * pad - far * (width - 1) - 1) // by + 1 for length, width, by, pad, far in rows]
    return _if(min(output) >= 0, 2 * data[0] * prod(output) * prod(kernel))


def _convolution_backward(inputs: _Inputs) -> int:
    """One convolution for the gradient of the input and one for that of the kernel, each as much as the forward, if they are asked for."""
    gradient, data, kernel = inputs.shape(0), inputs.shape(1), inputs.shape(2)
    if not len(gradient) == len(data) == len(kernel) > 2:
        raise _NoShapes
    wanted = inputs.listed(10)[:2].count("True")  # the third is the bias: a sum
    places = data[2:] if inputs.word(7) == "True" else gradient[2:]
    return wanted * 2 * data[0] * prod(places) * prod(kernel)


def _attention(
    *, backward: bool = False, heads_first: bool = True, ragged: int | None = None
) -> Callable[[_Inputs], int]:
    """Scores and their weighted sum; backward the scores once more and four gradients.

    Tensors are `[batch, heads, length, width]` or, without `heads_first`, `[batch, length, heads, width]`. `ragged` is the place of the tensor that
    says where the sequences of a batch end: how long they are stands nowhere.
    """
    first = 1 if backward else 0

    def flops(inputs: _Inputs) -> int:
        query, key, value = (inputs.shape(first + place, 4) for place in range(3))
        if ragged is not None and inputs.is_given(ragged):
            raise _NoShapes
        if not heads_first:
            query, key, value = ([shape[0], shape[2], shape[1], shape[3]] for shape in (query, key, value))
        batch, heads, rows, width = query
        fits = key[:1] + key[2:] == [batch, value[2], width] and value[0] == batch
        across, along = 2 * batch * heads * rows * key[2] * width, 2 * batch * heads * rows * key[2] * value[3]
        return _if(fits, 3 * across + 2 * along if backward else across + along)

    return flops


def _if(fits: bool, flops: int) -> int:
    if not fits:
        raise _NoShapes
    return flops


_MATRICES: Mapping[str, Callable[[_Inputs], int]] = {
    "aten::mm": _product(0, 1),
    "aten::_scaled_mm": _product(0, 1),
    "aten::addmm": _product(1, 2),
    "aten::addmm_": _product(1, 2),
    "aten::_addmm_activation": _product(1, 2),
    "aten::bmm": _batched(0, 1),
    "aten::baddbmm": _batched(1, 2),
    "aten::baddbmm_": _batched(1, 2),
    "aten::addbmm": _batched(1, 2),
    "aten::_grouped_mm": _grouped,
    "aten::_scaled_grouped_mm": _grouped,
    "aten::linear": _linear,
}
_CONVOLUTIONS: Mapping[str, Callable[[_Inputs], int]] = {
    # What a library calls its own convolution stands inside of these, and says the same in another order.
    "aten::convolution": _convolution,
    "aten::_convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
}
_ATTENTION: Mapping[str, Callable[[_Inputs], int]] = {
    "aten::scaled_dot_product_attention": _attention(),
    **{
        f"aten::_scaled_dot_product_{kind}{way}": _attention(backward=way != "")
        for kind in ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention")
        for way in ("", "_backward")
    },
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention(),
    "aten::_scaled_dot_product_fused_attention_overrideable_backward": _attention(backward=True),
    "aten::_flash_attention_forward": _attention(heads_first=False, ragged=3),
    "aten::_flash_attention_backward": _attention(backward=True, heads_first=False, ragged=6),
    "aten::_efficient_attention_forward": _attention(heads_first=False, ragged=4),
    "aten::_efficient_attention_backward": _attention(backward=True, heads_first=False, ragged=6),
    "flash_attn::_flash_attn_forward": _attention(heads_first=False),
    "flash_attn::_flash_attn_backward": _attention(backward=True, heads_first=False),
}
_FORMULAS: Mapping[str, Callable[[_Inputs], int]] = {**_MATRICES, **_CONVOLUTIONS, **_ATTENTION}
_NEED_VALUES = frozenset(_CONVOLUTIONS)


def _list(raw: bytes) -> list[Any]:
    try:
        value = msgspec.json.decode(raw) if raw else None
    except BAD_TEXT:
        return []
    return value if isinstance(value, list) else []
