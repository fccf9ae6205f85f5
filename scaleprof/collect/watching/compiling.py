"""Keeps torch.compile from compiling the recorder: what a graph break calls is looked at frame by frame, our wrappers too."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

_PACKAGE = "scaleprof.collect"


def hide_from_compiler() -> bool:
    """Have torch skip the frames of the recorder, without loading its compiler; False where this torch has no means to."""
    skip = _skip()
    if skip is None:
        return False
    for name, module in list(sys.modules.items()):
        if name.startswith(_PACKAGE):
            for code in _codes_of(vars(module), name):
                skip(code)
    return True


def _skip() -> Callable[[CodeType], None] | None:
    # Through import_module: what torch's stubs do not know mypy cannot check.
    frames: Any = importlib.import_module("torch._C._dynamo.eval_frame")
    if hasattr(frames, "skip_code"):  # before torch 2.7
        skip: Callable[[CodeType], None] = frames.skip_code
        return skip
    needed = ("set_code_exec_strategy", "_FrameExecStrategy", "_FrameAction")
    if not all(hasattr(frames, name) for name in needed):
        return None
    action = frames._FrameAction
    strategy = frames._FrameExecStrategy(action.SKIP, action.DEFAULT)  # what the frame calls is the training's
    return lambda code: frames.set_code_exec_strategy(code, strategy)


def _codes_of(members: Any, module: str) -> Iterator[CodeType]:
    """The code of functions and methods, and of the functions within them, of one module."""
    for member in list(members.values()):
        if inspect.isclass(member) and member.__module__ == module:
            yield from _codes_of(vars(member), module)
            continue
        function = getattr(member, "fget", None) or inspect.unwrap(getattr(member, "__func__", member))
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType) and getattr(function, "__module__", "") == module:
            yield from _with_nested(code)


def _with_nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_nested(constant)
