"""What communication costs that one could have otherwise: compressed gradients against plain ones, SyncBatchNorm against none (`method` 3.6).

Runs that differ in nothing but that are held against one another: what was measured stands beside what the parts add up to.
"""

from collections.abc import Sequence

from scaleprof.align import RunView
from scaleprof.analyses.account.extras import Extras, extras, extras_of
from scaleprof.analyses.account.time import NEEDS as TIME_NEEDS
from scaleprof.analyses.account.time import leaves_of
from scaleprof.analyses.base import Analysis, Comparison, duration, many, percent, severity_of
from scaleprof.analyses.strategies import compression
from scaleprof.analyses.strategies.compression import HOOKS, Tried
from scaleprof.analyses.strategies.pairs import Side, pairs_of
from scaleprof.results import Finding, Metric, Result, Table

SYNCBN = "syncbn"
WORTH = 0.03
"""Share of the step that SyncBatchNorm must cost to be a finding."""


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
        severity=severity_of(share),
        text=f"Each of its {found.syncbn_passes:.3g} passes a step sends a few numbers, and nothing hides that: {duration(found.syncbn_exposed_ms)}.",
        evidence="all ranks, the spans of its forward and backward passes",
        gain_share=share,
        gain_kind="ceiling",
        remedy="BatchNorm over each rank's own batch where that is large enough, GroupNorm, or a larger local batch.",
    )


EXTRAS = Analysis("extras", {**TIME_NEEDS, "extras": extras}, conclude)


def compare(views: Sequence[RunView], options: None) -> Result | None:
    """Every pair of runs that prices something."""
    hooks = [Tried(*pair) for pair in pairs_of(views, _less_hooks)]
    norms = pairs_of(views, lambda words: [word for word in words if word != SYNCBN] if SYNCBN in words else None)
    if not hooks and not norms:
        return None
    tables, metrics, caveats, said = {}, list[Metric](), list[str](), list[str]()
    if hooks:
        tables["compression"] = compression.table_of(hooks)
        said += compression.sentences_of(hooks)
        metrics += compression.metrics_of(hooks)
        if any(not one.other.cost_ms for one in hooks):
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
    charts = compression.charts_of(hooks)
    return Result(
        "prices", "The price of communication", headline, tuple(metrics), tables, charts, caveats=tuple(caveats)
    )


def _less_hooks(words: list[str]) -> list[str] | None:
    return [word for word in words if word not in HOOKS] if set(words) & set(HOOKS) else None


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
