"""What an analysis and a comparison are made of, and the words they share for people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scaleprof.align import LEAVES, RunView
from scaleprof.results import Result, Table
from scaleprof.run import RunInfo
from scaleprof.trace import Trace

Fact = Callable[[Trace], Table]
"""Measures one rank; has no options."""


@dataclass(frozen=True)
class Analysis:
    """One question about one run."""

    name: str
    needs: Mapping[str, Fact]
    """The facts it sees, by the name under which `RunView.fact` finds them."""
    conclude: Callable[[RunView, Any], Result | None]
    """Judges; None where there is nothing to say."""
    options: type | None = None
    """A dataclass of thresholds; `OPTIONS` names it for `--set <name>.<field>=value`."""


@dataclass(frozen=True)
class Comparison:
    """One question about several runs."""

    name: str
    conclude: Callable[[Sequence[RunView], Any], Result | None]
    options: type | None = None


MOST_IN_A_SENTENCE = 3
"""Series that are all named in a sentence or by a tile; of more the least and the most efficient."""
LEAF_LABELS = {
    "compute": "Compute",
    "exposed_comm": "Exposed communication",
    "exposed_transfer": "Exposed transfer",
    "exposed_wait": "Waiting for slow ranks",
    "bubble": "Pipeline bubble",
    "exposed_untold": "Exposed, not told apart",
    "exposed_memory": "Exposed memory copies",
    "idle": "Idle",
}
LEAF_COLORS = {leaf: leaf for leaf in LEAVES} | {"exposed_untold": "exposed_comm"}
"""Keys of the palette."""


def leaf_labels(*amounts: Mapping[str, float]) -> dict[str, str]:
    """The leaves that any of these accounts has something of, with their labels, in order; compute, copies and idle always.

    Where nothing at all was told apart, that is simply the exposed communication.
    """
    always = ("compute", "exposed_memory", "idle")
    there = [leaf for leaf in LEAVES if leaf in always or any(amount[leaf] for amount in amounts)]
    labels = {leaf: LEAF_LABELS[leaf] for leaf in there}
    if "exposed_untold" in labels and not set(labels) & {"exposed_transfer", "exposed_wait", "bubble"}:
        labels["exposed_untold"] = LEAF_LABELS["exposed_comm"]
    return labels


HIGH, MEDIUM = 0.1, 0.03
"""Shares of the step from which what could be gained is of high and of medium severity."""


def severity_of(gain: float) -> Literal["high", "medium", "low"]:
    """How urgent a finding with this gain is."""
    return "high" if gain >= HIGH else "medium" if gain >= MEDIUM else "low"


def percent(share: float) -> str:
    """`7.1 %`, with more digits where it is small."""
    digits = 1 if abs(share) >= 0.00095 or share == 0 else 2
    return f"{100 * share:.{digits}f} %"


def duration(ms: float) -> str:
    """Milliseconds with three significant digits: `0.512 ms`, `48.1 ms`, `1.28 s`."""
    if abs(ms) >= 1000:
        return f"{ms / 1000:.3g} s"
    return f"{ms:.3g} ms"


def many(count: int, what: str) -> str:
    """`1 rank`, `4 ranks`."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def some(names: Sequence[str], *, most: int = MOST_IN_A_SENTENCE, what: str = "") -> str:
    """`a, b, c and 4 more`, each name once; `what` says what the others are."""
    names = list(dict.fromkeys(names))
    others = f" and {len(names) - most} more" + (f" {what}" if what else "")
    return ", ".join(names[:most]) + (others if len(names) > most else "")


def run_name(info: RunInfo) -> str:
    """`ddp (4 ranks)`: a run in a sentence."""
    return f"{info.name} ({many(info.world_size, 'rank')})"


def listed(numbers: Sequence[int], *, most: int = 8) -> str:
    """`0, 1, 2` or `0, 1, 2, ... (64 in all)`."""
    shown = ", ".join(str(number) for number in numbers[:most])
    return shown if len(numbers) <= most else f"{shown}, ... ({len(numbers):,} in all)"
