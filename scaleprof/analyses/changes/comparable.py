"""What may be compared: which differences of two runs refuse an answer, which are the change itself where somebody says so, and which are a caveat.

A step is compared with a step that does the same work. So runs of another model, batch, strategy, precision, size or device are refused, unless
`--across` names that difference as what was changed on purpose. What was computed or emulated is not compared with what was recorded on a real
device: no option but `--anyway` allows that. What only colours the answer (versions, backend, level, network) is a caveat.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from scaleprof.analyses.base import percent
from scaleprof.errors import OptionError
from scaleprof.run import RunInfo, replicas_of

SAME = 0.005
"""Batches, which may be means over steps, are the same within this share."""


def _mesh(info: RunInfo) -> str | None:
    return " x ".join(f"{name} {size}" for name, size in (info.mesh or {}).items() if size > 1) or None


def _batch(info: RunInfo) -> float | None:
    """Samples a step of the whole job."""
    replicas = replicas_of(info)
    if info.global_batch is not None or info.local_batch is None or replicas is None:
        return info.global_batch
    return info.local_batch * replicas


@dataclass(frozen=True)
class _Property:
    words: str
    across: str
    """The word of `--across` that takes it as the change; empty where only `--anyway` does."""
    of: Callable[[RunInfo], object]


_PROPERTIES = (
    _Property("whether it was computed or recorded", "", lambda info: "synthetic" if info.synthetic else "recorded"),
    _Property(
        "whether the device was emulated", "", lambda info: "emulated device" if info.emulated else "real device"
    ),
    _Property("the world size", "ranks", lambda info: info.world_size),
    _Property("the framework", "framework", lambda info: info.framework),
    _Property("the model", "model", lambda info: info.model),
    _Property("the strategy", "strategy", lambda info: info.strategy),
    _Property("the parameters", "model", lambda info: info.parameters),
    _Property("the batch of a step", "batch", _batch),
    _Property("the precision", "precision", lambda info: info.precision),
    _Property("the mesh", "strategy", _mesh),
    _Property("the device", "device", lambda info: info.device),
    _Property("the device's name", "device", lambda info: info.device_name),
)
ACROSS = tuple(dict.fromkeys(one.across for one in _PROPERTIES if one.across))
"""The words of `--across`."""
_FOLLOWS = {"strategy": ("the parameters",), "ranks": ("the batch of a step", "the mesh"), "framework": ("the model",)}
"""Differences that come with one that was made on purpose: a rank of a pipeline counts its stage's parameters, weak scaling has a batch a rank."""


@dataclass(frozen=True)
class Comparable:
    """What the two runs differ in."""

    refusals: tuple[str, ...]
    """Why they are not compared; empty where they are."""
    changed: tuple[str, ...]
    """What was changed on purpose, in words."""
    caveats: tuple[str, ...]


def check_across(words: Collection[str]) -> None:
    """OptionError for a word that `--across` does not know."""
    for word in words:
        if word not in ACROSS:
            raise OptionError(f"--across knows {', '.join(ACROSS)}, not {word!r}")


def comparable(base: RunInfo, new: RunInfo, *, across: Collection[str] = (), anyway: bool = False) -> Comparable:
    """Whether NEW may be compared with BASE, and what to keep in mind then."""
    refusals, changed, caveats = [], [], []
    follows = {words for word in across for words in _FOLLOWS.get(word, ())}
    with_it: set[str] = set()
    for one in _PROPERTIES:
        ours, theirs = one.of(base), one.of(new)
        if ours is None or theirs is None:
            if (ours is None) != (theirs is None) and one.across in ("model", "batch", "precision", "strategy"):
                caveats.append(
                    f"{one.words} is known of {'NEW' if ours is None else 'BASE'} alone and taken to be the same"
                )
        elif not _is_same(ours, theirs):
            said = f"{one.words} ({_shown(ours)} in BASE, {_shown(theirs)} in NEW)"
            if anyway or one.across in across or one.words in follows:
                changed.append(said)
            else:
                refusals.append(f"{said}{', which comes with that' if one.words in with_it else _way_out(one)}")
                with_it.update(_FOLLOWS.get(one.across, ()))
    return Comparable(tuple(refusals), tuple(changed), (*caveats, *_remarks(base, new)))


def _way_out(one: _Property) -> str:
    if one.across == "ranks":
        return ": to see how one job scales, `scaleprof analyze` both together; to compare their steps all the same, --across ranks"
    return (
        f": if that is what was changed, --across {one.across}"
        if one.across
        else ": --anyway compares them all the same"
    )


def _is_same(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, int | float):
        return abs(ours - theirs) <= SAME * max(abs(ours), abs(theirs))
    return ours == theirs


def _shown(value: object) -> str:
    return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _remarks(base: RunInfo, new: RunInfo) -> list[str]:
    """Differences that may be the reason of a change, or blur it."""
    remarks = []
    plain: Mapping[str, tuple[object, object]] = {
        "the backend": (base.backend, new.backend),
        "the number of hosts": (base.nodes, new.nodes),
        "the emulated network": (
            base.emulated.link if base.emulated else None,
            new.emulated.link if new.emulated else None,
        ),
    }
    for words, (ours, theirs) in plain.items():
        if ours and theirs and ours != theirs:
            remarks.append(f"{words} differs: {ours} in BASE, {theirs} in NEW")
    versions = [
        f"{name} {base.versions[name]} in BASE, {new.versions[name]} in NEW"
        for name in sorted(set(base.versions) & set(new.versions))
        if base.versions[name] != new.versions[name]
    ]
    if versions:
        remarks.append(f"versions differ: {'; '.join(versions)}")
    if base.level and new.level and base.level != new.level:
        costs = [info.overhead.get("step_share") for info in (base, new)]
        cost = f" (measured: {', '.join(percent(one) for one in costs if one is not None)})" if any(costs) else ""
        remarks.append(
            f"BASE was recorded at level {base.level}, NEW at {new.level}: part of the change may be what recording costs{cost}"
        )
    return remarks
