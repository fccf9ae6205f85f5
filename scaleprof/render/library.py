"""The part of plotly.js that the charts of a page need, cut from the whole library that comes with the Python package: a quarter of it.

A browser reads every letter of a script before it draws. The whole library has 50 kinds of traces, maps and 3D among them; a page draws three.

The bundle is one function. In it stand a few helpers, then modules that run when they are first called for, then `return b();`, which runs the one
that registers every kind. A module is `var b=W((e,t)=>{...});`, or, of the newer kind, `var x,y,b=E(()=>{...});` with its functions before it. Any
other module that needs it calls it, `b()`. Kept, word for word and in order, is what such calls reach when fewer kinds are registered. A name of
another scope that looks alike keeps a module in vain and breaks nothing. Where a library is not built as told here, all of it is taken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

KINDS = frozenset({"bar", "heatmap", "scatter"})
"""Traces that figures consist of: a test holds every figure to them."""

_STRING = r""""(?:[^"\\\n]++|\\(?s:.))*+"|'(?:[^'\\\n]++|\\(?s:.))*+'"""
_COMMENT = r"/\*(?s:.)*?\*/|//[^\n]*+"
# A slash begins a pattern where no value stands before it; elsewhere it divides.
_PATTERN = (
    r"(?:(?<=[(,=:\[!&|?{};+\-*%~^<>\n])|(?<=\breturn)|(?<=\btypeof)|(?<=\bcase)|(?<=\bof)|(?<=\bin))"
    r"/(?![*/])(?:[^/\\\[\n]++|\\.|\[(?:[^\]\\\n]++|\\.)*+\])++/"
)


def _template(inside: str) -> str:
    """A template whose expressions hold strings, braces one deep, and what is said."""
    part = rf"[^`\"'{{}}]++|{_STRING}{inside}"
    return rf"`(?:[^`\\$]++|\\(?s:.)|\$(?!\{{)|\$\{{(?:{part}|\{{(?:{part})*+\}})*+\}})*+`"


_TEMPLATE = _template("|" + _template("|" + _template("")))
_PLAIN = rf"{_STRING}|{_COMMENT}|{_PATTERN}|/|{_TEMPLATE}"
_FLAT = rf"[^\"'`/(){{}}\[\]]++|{_PLAIN}"
# Brackets that hold no brackets, or only such, are passed over at once: that is five times faster than to count each.
_NEAR = rf"{_FLAT}|[(\[{{](?:{_FLAT}|[(\[{{](?:{_FLAT})*+[)\]}}])*+[)\]}}]"
_TO_BRACKET = re.compile(rf"(?:{_NEAR})*+([(){{}}\[\]])")
_TO_BRACKET_OR_END = re.compile(rf"(?:[^\"'`/(){{}}\[\];]++|{_PLAIN})*+([(){{}}\[\];])")

_NAME = r"[\w$]+"
_HEAD = re.compile(r'"use strict";\s*var Plotly=\(\(\)=>\{')
_TAIL = re.compile(r"\}\)\(\);(?P<notices>.*)window\.Plotly = Plotly;\s*return Plotly;\s*\}\)\);?\s*", re.DOTALL)
_NOTICE = re.compile(r"\s*(/\*.*?\*/)", re.DOTALL)
_WRAPPER = re.compile(
    rf"({_NAME})=\((\w),(\w)\)=>\(\)=>(?:\(|\{{try\{{return )\3\|\|\2\(\(\3=\{{exports:\{{\}}\}}\)\.exports,\3\)"
)
_NEWER = re.compile(rf"({_NAME})=\((\w),(\w)(?:,\w)?\)=>\(\)=>.*?\2&&\(\3=\2\(\2=0\)\)")
_FUNCTION = re.compile(rf"\s*(?:async )?function\*? ?{_NAME}\(")
_LAST = re.compile(rf"\s*return {_NAME}\(\);\s*")
_CALL = re.compile(rf"({_NAME})\(\)")
_REGISTER = re.compile(rf"\.register\(\[((?:{_NAME}\(\),?)+)\]\)")
_PASSED_ON = re.compile(rf"exports=({_NAME})\(\)")
_KIND = re.compile(r'moduleType:"trace",name:"(\w+)"')


class _NotAsTold(Exception):
    """The bundle is built in another way."""


@dataclass(frozen=True)
class _Bundle:
    """What stands in the one function."""

    helpers: str
    modules: dict[str, str]
    """By name, in their order."""
    last: str


@cache
def library_for_pages(source: str, kinds: frozenset[str] = KINDS) -> str:
    """A script that sets `window.Plotly`, which draws at least these kinds of traces."""
    try:
        return _cut(source, kinds)
    except _NotAsTold:
        return source


def _cut(source: str, kinds: frozenset[str]) -> str:
    notice, head = _NOTICE.match(source), _HEAD.search(source)
    if notice is None or head is None:
        raise _NotAsTold
    statements = list(_statements_from(source, head.end()))
    tail = _TAIL.fullmatch(source, head.end() + sum(map(len, statements)))
    if tail is None:
        raise _NotAsTold
    bundle = _bundle_of(statements)
    modules = _reached(replace(bundle, modules=_registering(bundle.modules, kinds)))
    kept = "\n".join([bundle.helpers, *modules, bundle.last])
    if not kinds <= set(_KIND.findall(kept)):
        raise _NotAsTold
    return f'{notice[1]}\nwindow.Plotly=(()=>{{"use strict";{kept}\n}})();{tail["notices"]}'


def _statements_from(source: str, at: int) -> Iterator[str]:
    """The statements from there to the end of the block, each as it stands."""
    start, depth = at, 0
    while True:
        found = (_TO_BRACKET if depth else _TO_BRACKET_OR_END).match(source, at)
        if found is None:
            raise _NotAsTold
        at, mark = found.end(), found[1]
        depth += (mark in "([{") - (mark in ")]}")
        if depth < 0:
            return
        if depth == 0 and (mark == ";" or (mark == "}" and _FUNCTION.match(source, start))):
            yield source[start:at]
            start = at


def _bundle_of(statements: list[str]) -> _Bundle:
    """The statements told apart: what stands alone belongs to the next module of the newer kind."""
    wrapper = _only([found[1] for text in statements if (found := _WRAPPER.match(text, len("var ")))])
    newer = _only([found[1] for text in statements if (found := _NEWER.match(text, len("var ")))])
    module = re.compile(rf"\s*var (?:({_NAME})={re.escape(wrapper)}|(?:{_NAME},)*({_NAME})={re.escape(newer)})\(")
    modules: dict[str, str] = {}
    alone: list[str] = []
    helpers = ""
    for text in statements:
        found = module.match(text)
        if found is None:
            alone.append(text)
            continue
        if not modules:
            helpers, alone = "".join(alone), []
        if alone and not found[2]:
            raise _NotAsTold
        name = found[1] or found[2]
        if name in modules or not text.endswith("});"):
            raise _NotAsTold
        # A browser reads a function twice that is called later, and once where it stands in brackets.
        modules[name] = "".join([*alone, text[: found.end()], "(", text[found.end() : -2], "));"])
        alone = []
    if len(alone) != 1 or not _LAST.fullmatch(alone[0]):
        raise _NotAsTold
    return _Bundle(helpers, modules, alone[0])


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise _NotAsTold
    return names[0]


def _registering(modules: dict[str, str], kinds: frozenset[str]) -> dict[str, str]:
    """The modules, where the one that registers every kind registers these; what every page has, scatter, is registered elsewhere."""
    place = _only([name for name, text in modules.items() if len(text) < 5_000 and _REGISTER.search(text)])
    calls = _CALL.findall(_REGISTER.findall(modules[place])[0])
    fewer = ",".join(f"{call}()" for call in calls if _kind_of(call, modules) in kinds)
    return modules | {place: _REGISTER.sub(lambda _: f".register([{fewer}])", modules[place])}


def _kind_of(module: str, modules: dict[str, str]) -> str | None:
    """The kind of trace that a module is, or that the module which it passes on is."""
    for _ in range(4):
        text = modules.get(module, "")
        if found := _KIND.search(text):
            return found[1]
        passed_on = _PASSED_ON.search(text)
        module = passed_on[1] if passed_on else ""
    return None


def _reached(bundle: _Bundle) -> list[str]:
    """The modules that are called for from the last statement, from there, and so on, in their order."""
    waiting = [bundle.helpers, bundle.last]
    kept: set[str] = set()
    while waiting:
        found = set(_CALL.findall(waiting.pop())) & bundle.modules.keys() - kept
        waiting += [bundle.modules[name] for name in found]
        kept |= found
    return [text for name, text in bundle.modules.items() if name in kept]
