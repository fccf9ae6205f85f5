"""Which runs scale one job: a series is the sizes of one study, strong or weak, each size with its repeats."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import samples_per_rank, steady_times_ms
from scaleprof.analyses.base import run_name, some
from scaleprof.models.scaling import SAME, Kind, kind_of
from scaleprof.run import RunInfo, replicas_of


@dataclass(frozen=True)
class Series:
    """Runs of one job at several world sizes."""

    id: str
    """The word that stands in metric ids: `scaling.<id>.efficiency`."""
    label: str
    kind: Kind
    sizes: dict[int, tuple[RunView, ...]]
    """World size, ascending, to the repeats at it."""
    is_named: bool = False
    """The label is somebody's name for it, to be spelled as it is."""

    @property
    def title(self) -> str:
        """The label at the start of a sentence."""
        return self.label if self.is_named else self.label[:1].upper() + self.label[1:]


@dataclass(frozen=True)
class _Candidate:
    view: RunView
    local: float
    total: float

    @property
    def size(self) -> int:
        return self.view.info.world_size


def find_series(views: Sequence[RunView]) -> tuple[list[Series], list[str]]:
    """The series among runs, and a sentence for every run that belongs to none.

    Runs of one stated series, model, precision and strategy; among these the subsets with constant global batch (strong) and with constant
    local batch (weak). One rank without a strategy may open the series of any strategy. A stated series with neither is mixed.
    """
    candidates, blind = _with_batch(views)
    caveats = []
    if blind and len({view.info.world_size for view in views}) > 1:
        names = some(blind, most=4)
        caveats.append(
            f"samples per step are unknown in {names}, so these runs join no scaling study: pass samples_per_step= to profile() or "
            "samples= to step()"
        )
    found: list[tuple[str, str, Kind, list[_Candidate]]] = []
    for key, members in _groups(candidates).items():
        subsets = _subsets(members)
        if not subsets and key[0] and len({member.size for member in members}) > 1:
            subsets = [("mixed", members)]
        found += [(key[0], key[3], kind, subset) for kind, subset in subsets]
    series = [_named(stated, strategy, kind, subset, found) for stated, strategy, kind, subset in found]
    used = {id(view) for one in series for views_ in one.sizes.values() for view in views_}
    alone = [candidate.view for candidate in candidates if id(candidate.view) not in used]
    if len(views) > 1:
        caveats += _why_alone(alone, candidates)
    return series, caveats


def _with_batch(views: Sequence[RunView]) -> tuple[list[_Candidate], list[str]]:
    """Runs that can scale, and the names of those that cannot because nobody knows how much work a step is."""
    candidates, blind = [], []
    for view in views:
        local = samples_per_rank(view)
        if local is None:
            blind.append(run_name(view.info))
        elif len(steady_times_ms(view)):
            candidates.append(_Candidate(view, local, local * view.info.world_size))
    return candidates, blind


_Key = tuple[str, str, str, str, int]


def _groups(candidates: Sequence[_Candidate]) -> dict[_Key, list[_Candidate]]:
    """Members by (stated series, model, precision, strategy, ranks that hold one replica), in order of appearance."""
    groups: dict[_Key, list[_Candidate]] = {}
    openers = []
    for candidate in candidates:
        info = candidate.view.info
        key = (
            info.series or "",
            info.model or "",
            info.precision or "",
            info.strategy or "single",
            _replica_size(info),
        )
        if key[3] == "single" and info.world_size == 1:
            openers.append((key, candidate))
        else:
            groups.setdefault(key, []).append(candidate)
    for key, candidate in openers:
        joined = [members for other, members in groups.items() if other[:3] == key[:3]]
        for members in joined or [groups.setdefault(key, [])]:
            members.append(candidate)
    return groups


def _replica_size(info: RunInfo) -> int:
    """How many ranks hold one replica in a mesh of several dimensions, over which it is the replicas that grow; else 0."""
    replicas = replicas_of(info)
    return info.world_size // replicas if replicas and len(info.mesh or {}) > 1 else 0


def _subsets(members: Sequence[_Candidate]) -> list[tuple[Kind, list[_Candidate]]]:
    """Largest sets of constant global (strong) or local (weak) batch with at least two sizes; none that another one contains."""
    found: list[tuple[Kind, list[_Candidate]]] = []
    for batch in ("total", "local"):
        rest = sorted(members, key=lambda member: float(getattr(member, batch)))
        while rest:
            limit = getattr(rest[0], batch) * (1 + SAME)
            same = [member for member in rest if getattr(member, batch) <= limit]
            rest = rest[len(same) :]
            if len({member.size for member in same}) > 1:
                kind = kind_of([member.local for member in same], [member.total for member in same])
                found.append((kind, same))
    return [(kind, subset) for kind, subset in found if not any(_inside(subset, other) for _, other in found)]


def _inside(subset: Sequence[_Candidate], other: Sequence[_Candidate]) -> bool:
    return len(subset) < len(other) and {id(member.view) for member in subset} <= {id(member.view) for member in other}


def _named(
    stated: str,
    strategy: str,
    kind: Kind,
    subset: list[_Candidate],
    all_found: Sequence[tuple[str, str, Kind, list[_Candidate]]],
) -> Series:
    strategies = {other[1] for other in all_found if other[0] == stated}
    kinds = {other[2] for other in all_found if other[:2] == (stated, strategy)}
    words = [stated] if stated else []
    if len(strategies) > 1:
        words.append(strategy)
    if not stated or len(kinds) > 1:
        words.append(kind)
    label = " ".join(words)
    if sum(1 for other in all_found if other[:3] == (stated, strategy, kind)) > 1:  # only the batch tells these apart
        batch = subset[0].total if kind == "strong" else subset[0].local
        label += f" {batch:g}"
    sizes: dict[int, tuple[RunView, ...]] = {}
    for member in sorted(subset, key=lambda one: (one.size, one.view.info.repeat, one.view.info.name)):
        sizes[member.size] = (*sizes.get(member.size, ()), member.view)
    return Series(re.sub(r"[^a-z0-9_]+", "-", label.lower()).strip("-") or "series", label, kind, sizes, bool(stated))


MOST_NAMED = 3
"""Runs that are named one by one where they have the same reason."""


def _why_alone(alone: Sequence[RunView], candidates: Sequence[_Candidate]) -> list[str]:
    sentences: list[str] = []
    why: dict[str, list[str]] = {}
    for view in alone:
        info = view.info
        others = [one.view.info for one in candidates if one.view is not view]
        same = [
            other
            for other in others
            if (other.model, other.precision) == (info.model, info.precision) and other.world_size != info.world_size
        ]
        if not others:
            continue
        if not any((o.model, o.precision) == (info.model, info.precision) for o in others):
            what = f"another model or precision ({info.model or 'unknown'}, {info.precision or 'unknown'}) than the other runs"
        elif not same:
            what = "no other world size of the same model and precision"
        else:
            what = "neither the global nor the local batch of another size"
        why.setdefault(what, []).append(run_name(info))
    for what, names in why.items():
        if len(names) <= MOST_NAMED:
            sentences += [f"run {name} scales with no other run: it has {what}" for name in names]
        else:
            sentences.append(
                f"{len(names)} runs scale with no other run ({some(names, most=MOST_NAMED)}): each has {what}"
            )
    return sentences
