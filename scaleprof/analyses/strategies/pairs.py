"""Pairs of runs that differ in one thing alone, so that the difference of their steps is its price."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.account.extras import Extras, extras_of
from scaleprof.analyses.account.steps import samples_per_rank, steady_steps, steady_times_ms
from scaleprof.analyses.account.time import leaves_of
from scaleprof.intervals import Spans, length, union
from scaleprof.models.communication import bus_factor
from scaleprof.trace import UNKNOWN


@dataclass(frozen=True)
class Side:
    """One of two runs that are compared."""

    view: RunView
    step_ms: float
    steps_ms: NDArray[np.float64]
    """Of every steady step."""
    payload_bytes: float
    """Of all collectives in a step of one rank, where their sizes are known."""
    bus_bytes: float
    """The same, times what a byte costs on the bus."""
    transfer_ms: float | None
    """In a step of one rank, while anything was on the wire; None where that is not told."""
    exposed_ms: float
    extras: Extras | None

    @property
    def ranks(self) -> int:
        """World size."""
        return self.view.info.world_size

    @property
    def link(self) -> str:
        """The emulated network; empty where it is what it is."""
        emulated = self.view.info.emulated
        return emulated.link or "" if emulated is not None else ""

    @property
    def bus_gbps(self) -> float | None:
        """Bus bandwidth of all its collectives together, in GB/s."""
        return self.bus_bytes / self.transfer_ms / 1e6 if self.transfer_ms else None

    @property
    def cost_ms(self) -> float:
        """Encoding and decoding in a step of one rank; 0 where nothing was recorded of it."""
        return self.extras.encode_ms + self.extras.decode_ms if self.extras is not None else 0.0


def _side(view: RunView) -> Side | None:
    times, leaves = steady_times_ms(view), leaves_of(view)
    if not len(times) or leaves is None:
        return None
    wanted = steady_steps(view)
    size = bus = wire = 0.0
    count, told = 0, True
    for rank, table in view.fact("collectives").items():
        here = np.isin(table["step"], wanted) & (np.asarray(table["bytes"]) > 0)
        sizes = np.asarray(table["bytes"])[here]
        ranks = np.maximum(view.exchange.ranks[rank][here], view.info.world_size)
        ops = [op for op, chosen in zip(table["op"], here.tolist(), strict=True) if chosen]
        size += float(sizes.sum())
        bus += float(
            sum(
                one * bus_factor(op, int(many_))
                for one, op, many_ in zip(sizes.tolist(), ops, ranks.tolist(), strict=True)
            )
        )
        transfer = view.exchange.transfer_ns[rank][here]
        told &= bool((transfer != UNKNOWN).any())
        known = transfer != UNKNOWN
        end = (np.asarray(table["start_ns"]) + np.asarray(table["dur_ns"]))[here][known]
        wire += length(union(Spans(end - transfer[known], end)))  # two at once share the wire: time counts once
        count += len(np.unique(np.asarray(table["step"])[here]))
    steps = max(count, 1)
    exposed = leaves.exposed_ns / len(leaves.rows) / 1e6
    return Side(
        view,
        float(times.mean()),
        times,
        size / steps,
        bus / steps,
        wire / steps / 1e6 if told and count else None,
        exposed,
        extras_of(view),
    )


def pairs_of(views: Sequence[RunView], without: Callable[[list[str]], list[str] | None]) -> list[tuple[Side, Side]]:
    """(plain, other) for every run whose strategy, less what is priced, is another run's of the same size, model, network and local batch."""
    pairs = []
    for view in views:
        words = (view.info.strategy or "").split("+")
        plain = without(words)
        if plain is None:
            continue
        alike_first = sorted(views, key=lambda other: other.info.level != view.info.level)
        for other in alike_first:
            same = (other.info.strategy or "") == "+".join(plain) and _setting(other) == _setting(view)
            if same and (one := _side(other)) is not None and (two := _side(view)) is not None:
                pairs.append((one, two))
                break
    return pairs


def _setting(view: RunView) -> tuple[object, ...]:
    link = view.info.emulated.link if view.info.emulated is not None else None
    local = samples_per_rank(view)
    return view.info.world_size, view.info.model, view.info.precision, link, round(local or 0.0, 3)
