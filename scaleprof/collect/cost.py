"""What recording costs, measured by the recording itself: blocks of steps with and without its hooks take turns, by the number of the step.

All ranks count their steps alike, so that a block is bare on all of them at once, and a step that waits for others is compared with its like.
Bare steps are marked perturbed: nothing but their length is known.
"""

import math
from dataclasses import dataclass, field
from statistics import fmean, stdev

FIRST = 60
"""The first step of the comparison: short trainings are recorded whole."""
BLOCK = 6
"""Steps in a block. The first of each is left out: the change itself is in it."""
PAIRS = 8
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365)
"""97.5 % quantiles of Student's t for 1 to 7 degrees of freedom."""


@dataclass
class OwnCost:
    """The steps of the comparison as they come; `overhead` is what they say."""

    _wall_ns: dict[int, list[int]] = field(default_factory=dict)
    _cpu_ns: dict[int, list[int]] = field(default_factory=dict)

    @staticmethod
    def is_bare(step: int) -> bool:
        """Whether the hooks are off in this step."""
        block = _block_of(step)
        return block is not None and block % 2 == 1

    def add(self, step: int, wall_ns: int, cpu_ns: int) -> None:
        """A step has ended."""
        block = _block_of(step)
        if block is not None and (step - FIRST) % BLOCK:
            self._wall_ns.setdefault(block, []).append(wall_ns)
            self._cpu_ns.setdefault(block, []).append(cpu_ns)

    def overhead(self) -> dict[str, float]:
        """What the hooks add to a step, in ms and with its 95 % interval from the pairs of blocks; nothing below three pairs.

        `step_` is by the wall clock, `cpu_` the training thread's own time; `step_share` and its bounds are shares of a bare step.
        """
        found: dict[str, float] = {}
        for name, blocks in (("step", self._wall_ns), ("cpu", self._cpu_ns)):
            pairs = [
                (blocks[block], blocks[block + 1])
                for block in range(0, 2 * PAIRS, 2)
                if blocks.keys() >= {block, block + 1}
            ]
            if len(pairs) < 3:
                return {}
            gaps_ms = [(fmean(recorded) - fmean(bare)) / 1e6 for recorded, bare in pairs]
            middle = fmean(gaps_ms)
            half = _T95[len(gaps_ms) - 2] * stdev(gaps_ms) / math.sqrt(len(gaps_ms))
            found |= {f"{name}_ms": middle, f"{name}_low_ms": middle - half, f"{name}_high_ms": middle + half}
            if name == "step":
                bare_ms = fmean([fmean(bare) for _, bare in pairs]) / 1e6
                ends = ("share", middle), ("low_share", middle - half), ("high_share", middle + half)
                found |= {f"step_{end}": value / bare_ms for end, value in ends}
        return found


def _block_of(step: int) -> int | None:
    """The number of the block that a step lies in: even ones are recorded, odd ones bare; None outside the comparison."""
    block, _ = divmod(step - FIRST, BLOCK)
    return block if 0 <= block < 2 * PAIRS else None
