"""What communication costs that one could have otherwise: compressed gradients against plain ones, SyncBatchNorm against none (`method` 3.6).

Runs that differ in nothing but that are held against one another: what was measured stands beside what the parts add up to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.base import Analysis, Comparison, duration, many, percent
from scaleprof.analyses.extras import Extras, extras, extras_of
from scaleprof.analyses.steps import samples_per_rank, steady_steps, steady_times_ms
from scaleprof.analyses.time import NEEDS as TIME_NEEDS
from scaleprof.analyses.time import leaves_of
from scaleprof.models.communication import bus_factor
from scaleprof.results import Finding, Metric, Result, Table
from scaleprof.trace import UNKNOWN

HOOKS = ("fp16", "bf16", "powersgd", "batched_powersgd", "fp16_powersgd", "bf16_powersgd", "compressed")
SYNCBN = "syncbn"
WORTH = 0.03
HIGH = 0.1
"""Shares of the step that SyncBatchNorm must cost to be a finding, and one of high severity."""


def conclude(view: RunView, options: None) -> Result | None:
    """What encoding, decoding and SyncBatchNorm take of the step of one run; None where there is none of them."""
    found, leaves = extras_of(view), leaves_of(view)
    if found is None or leaves is None or not (found.encode_ms or found.decode_ms or found.syncbn_ms):
        return None
    step_ms = leaves.window_ns / len(leaves.rows) / 1e6
    metrics, said, findings = [], [], []
    if found.encode_ms or found.decode_ms:
        metrics += [
            Metric("compression.encode_ms", "Encoding gradients", found.encode_ms, "ms", note="a step and rank", better="lower"),
            Metric("compression.decode_ms", "Decoding gradients", found.decode_ms, "ms", note="a step and rank", better="lower"),
        ]  # fmt: skip
        said.append(f"encoding and decoding gradients takes {duration(found.encode_ms + found.decode_ms)} a step")
    if found.syncbn_ms:
        share = found.syncbn_exposed_ms / step_ms
        note = f"exposed communication of {found.syncbn_passes:.3g} passes a step"
        metrics.append(Metric("syncbn.cost_share", "SyncBatchNorm", share, "share", note=note, better="lower"))
        said.append(f"SyncBatchNorm keeps the ranks waiting for {percent(share)} of the step")
        if share > WORTH:
            findings.append(_of_syncbn(found, share))
    headline = "; ".join(said)
    return Result(
        "extras",
        "Only because it is distributed",
        headline[:1].upper() + headline[1:],
        tuple(metrics),
        findings=tuple(findings),
    )


def _of_syncbn(found: Extras, share: float) -> Finding:
    return Finding(
        id="syncbn",
        title="SyncBatchNorm keeps the ranks waiting",
        severity="high" if share >= HIGH else "medium",
        text=f"Each of its {found.syncbn_passes:.3g} passes a step sends a few numbers, and nothing hides that: {duration(found.syncbn_exposed_ms)}.",
        evidence="all ranks, the spans of its forward and backward passes",
        gain_share=share,
        gain_kind="ceiling",
        remedy="BatchNorm over each rank's own batch where that is large enough, GroupNorm, or a larger local batch.",
    )


EXTRAS = Analysis("extras", {**TIME_NEEDS, "extras": extras}, conclude)


@dataclass(frozen=True)
class Side:
    """One of two runs that are compared."""

    view: RunView
    step_ms: float
    payload_bytes: float
    """Of all collectives in a step of one rank, where their sizes are known."""
    bus_bytes: float
    """The same, times what a byte costs on the bus."""
    transfer_ms: float | None
    """On the wire in a step of one rank; None where that is not told."""
    exposed_ms: float
    extras: Extras | None


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
        wire += float(transfer[transfer != UNKNOWN].sum())
        count += len(np.unique(np.asarray(table["step"])[here]))
    steps = max(count, 1)
    exposed = leaves.exposed_ns / len(leaves.rows) / 1e6
    return Side(
        view,
        float(times.mean()),
        size / steps,
        bus / steps,
        wire / steps / 1e6 if told and count else None,
        exposed,
        extras_of(view),
    )


def _pairs(views: Sequence[RunView], without: Callable[[list[str]], list[str] | None]) -> list[tuple[Side, Side]]:
    """(plain, other) for every run whose strategy, less what is priced, is another run's of the same size, model, network and local batch."""
    pairs = []
    for view in views:
        words = (view.info.strategy or "").split("+")
        plain = without(words)
        if plain is None:
            continue
        for other in views:
            same = (other.info.strategy or "") == "+".join(plain) and _setting(other) == _setting(view)
            if same and (one := _side(other)) is not None and (two := _side(view)) is not None:
                pairs.append((one, two))
                break
    return pairs


def _setting(view: RunView) -> tuple[object, ...]:
    link = view.info.emulated.link if view.info.emulated is not None else None
    local = samples_per_rank(view)
    return view.info.world_size, view.info.model, view.info.precision, link, round(local or 0.0, 3)


def compare(views: Sequence[RunView], options: None) -> Result | None:
    """Every pair of runs that prices something."""
    hooks = _pairs(
        views, lambda words: [word for word in words if word not in HOOKS] if set(words) & set(HOOKS) else None
    )
    norms = _pairs(views, lambda words: [word for word in words if word != SYNCBN] if SYNCBN in words else None)
    if not hooks and not norms:
        return None
    tables, metrics, caveats, said = {}, list[Metric](), list[str](), list[str]()
    if hooks:
        tables["compression"] = _compression(hooks)
        said += _of_compression(hooks)
        metrics += _compression_metrics(hooks)
        if any(not _cost_ms(other) for _, other in hooks):
            caveats.append(
                "encoding and decoding were not recorded in some of these runs, so that they have no break-even bandwidth"
            )
    if norms:
        tables["syncbn"] = _syncbn(norms)
        plain, with_it = max(norms, key=lambda pair: pair[1].view.info.world_size)
        said.append(
            f"SyncBatchNorm costs {duration(with_it.step_ms - plain.step_ms)} a step on {many(with_it.view.info.world_size, 'rank')} "
            f"({percent(with_it.step_ms / plain.step_ms - 1)} of the step without)"
        )
    headline = ". ".join(f"{sentence[:1].upper()}{sentence[1:]}" for sentence in said)
    return Result("prices", "The price of communication", headline, tuple(metrics), tables, caveats=tuple(caveats))


def _cost_ms(side: Side) -> float:
    return side.extras.encode_ms + side.extras.decode_ms if side.extras is not None else 0.0


def break_even_gbps(plain: Side, other: Side) -> float | None:
    """Below this bus bandwidth (GB/s) the bytes saved are worth what encoding and decoding cost, if nothing hides either; None where that is
    unknown."""
    cost_ms = _cost_ms(other)
    saved = plain.bus_bytes - other.bus_bytes
    return saved / cost_ms / 1e6 if cost_ms > 0 and saved > 0 else None


def _compression(pairs: Sequence[tuple[Side, Side]]) -> Table:
    """One row per pair: what was saved on the wire, and what came of it."""
    rows = []
    for plain, other in pairs:
        info = other.view.info
        link = info.emulated.link if info.emulated is not None else None
        wire = (
            plain.transfer_ms - other.transfer_ms
            if plain.transfer_ms is not None and other.transfer_ms is not None
            else None
        )
        encode, decode = (other.extras.encode_ms, other.extras.decode_ms) if other.extras is not None else (None, None)
        ratio = plain.payload_bytes / other.payload_bytes if other.payload_bytes else None
        rows.append(
            [info.strategy, info.world_size, link or "", ratio, encode or None, decode or None, plain.step_ms, other.step_ms,
             plain.step_ms - other.step_ms, wire, plain.exposed_ms - other.exposed_ms, break_even_gbps(plain, other)]
        )  # fmt: skip
    names = ("strategy", "ranks", "link", "ratio", "encode_ms", "decode_ms", "plain_step_ms", "step_ms", "saved_ms", "wire_saved_ms",
             "exposed_saved_ms", "break_even_gbps")  # fmt: skip
    return Table.of_rows(names, rows)


def _of_compression(pairs: Sequence[tuple[Side, Side]]) -> list[str]:
    largest = max(other.view.info.world_size for _, other in pairs)
    said = []
    for plain, other in pairs:
        if other.view.info.world_size != largest:
            continue
        hook = next(word for word in (other.view.info.strategy or "").split("+") if word in HOOKS)
        saved = plain.step_ms - other.step_ms
        verb = "saves" if saved >= 0 else "loses"
        said.append(
            f"{hook} {verb} {duration(abs(saved))} of {duration(plain.step_ms)} a step on {many(largest, 'rank')}"
        )
    return said[:3]


def _compression_metrics(pairs: Sequence[tuple[Side, Side]]) -> list[Metric]:
    """Of the pair that saves most."""
    plain, other = max(pairs, key=lambda pair: (pair[0].step_ms - pair[1].step_ms) / pair[0].step_ms)
    note = f"{other.view.info.strategy} on {many(other.view.info.world_size, 'rank')}"
    metrics = [
        Metric(
            "compression.saved_ms",
            "Saved by compression",
            plain.step_ms - other.step_ms,
            "ms",
            note=note,
            better="higher",
        )
    ]
    if other.payload_bytes:
        metrics.append(
            Metric(
                "compression.ratio", "Bytes, plain to compressed", plain.payload_bytes / other.payload_bytes, note=note
            )
        )
    even = break_even_gbps(plain, other)
    if even is not None:
        metrics.append(Metric("compression.break_even_gbps", "Worth it on links below", even, "GB/s", note=note))
    return metrics


def _syncbn(pairs: Sequence[tuple[Side, Side]]) -> Table:
    """One row per pair: the step with and without, and what its own collectives add up to."""
    rows = []
    for plain, other in pairs:
        info, own = other.view.info, other.extras
        computed = own.syncbn_exposed_ms if own is not None else None
        rows.append(
            [
                info.strategy,
                info.world_size,
                plain.step_ms,
                other.step_ms,
                other.step_ms - plain.step_ms,
                computed,
                own.syncbn_passes if own else None,
            ]
        )
    return Table.of_rows(
        ("strategy", "ranks", "plain_step_ms", "step_ms", "measured_ms", "computed_ms", "passes"), rows
    )


PRICES = Comparison("prices", compare)
