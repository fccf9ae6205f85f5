"""Gradient hooks of DistributedDataParallel: what they are called, which ones they call themselves, and what that does to what is sent."""

import functools
import inspect
import re
from contextlib import suppress
from typing import Any

_WORDS = (
    (re.compile(r"powersgd", re.IGNORECASE), "powersgd"),
    (re.compile(r"bf16|bfloat16", re.IGNORECASE), "bf16"),
    (re.compile(r"fp16|float16|half", re.IGNORECASE), "fp16"),
    (re.compile(r"post_?local_?sgd", re.IGNORECASE), "local-sgd"),
    (re.compile(r"^allreduce_hook$|^ALLREDUCE$|^hook_then_optimizer"), ""),
    (re.compile(r"^<lambda>$"), "hook"),
)
"""What a hook of this name does; a name that is none of these stands for itself, and an empty word changes nothing."""
_MOST_INSIDE = 8


def hook_name(hook: Any) -> str:
    """What a hook is called: the function's name, also of a partial one, or the class of an object that can be called."""
    while isinstance(hook, functools.partial):
        hook = hook.func
    return str(getattr(hook, "__name__", type(hook).__name__))


def hook_names(ddp: Any) -> list[str]:
    """The hooks of a DistributedDataParallel, each before those that it calls; torch's built-in ones, which are not kept in Python, from its log."""
    names = [name for entry in getattr(ddp, "_comm_hooks", []) for name in _with_those_inside(entry[0])]
    if names:
        return list(dict.fromkeys(names))
    logged = str(ddp._get_ddp_logging_data().get("comm_hook", ""))
    return [logged] if logged else []


def hook_words(names: list[str]) -> list[str]:
    """What hooks of these names do, in the order in which it is done: the innermost first."""
    words = (next((word for pattern, word in _WORDS if pattern.search(name)), name) for name in reversed(names))
    return [word for word in dict.fromkeys(words) if word]


def _with_those_inside(hook: Any) -> list[str]:
    """A hook's name and those of the hooks that it encloses, as torch's `fp16_compress_wrapper` does."""
    names, found = [hook_name(hook)], [hook]
    for one in found:
        if len(found) > _MOST_INSIDE:
            break
        inner = [cell for cell in _enclosed(one) if callable(cell) and _takes_a_bucket(cell)]
        found += inner
        names += [hook_name(cell) for cell in inner]
    return names


def _enclosed(hook: Any) -> list[Any]:
    while isinstance(hook, functools.partial):
        hook = hook.func
    found = []
    for cell in getattr(hook, "__closure__", None) or ():
        with suppress(ValueError):  # a variable that has no value yet
            found.append(cell.cell_contents)
    return found


def _takes_a_bucket(function: Any) -> bool:
    try:
        return "bucket" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
