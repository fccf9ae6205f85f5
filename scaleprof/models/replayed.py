"""What one run says of other numbers of ranks, as a law of scaling with a single coefficient: the whole curve, times a constant."""

from dataclasses import dataclass

import numpy as np

from scaleprof.models.laws import Floats, Law

DOUBLINGS = 6
"""How often the largest size of a study is doubled: as far as extrapolations give numbers."""


@dataclass(frozen=True)
class Replayed:
    """Times per sample and rank at other sizes, from a replay of one."""

    of: int
    """The size that was replayed."""
    ranks: Floats
    """Ascending."""
    times: Floats
    """N / X, in any unit."""

    def law(self) -> Law:
        """The curve through these, straight between two sizes on logarithmic axes and beyond the last."""
        at, times = np.log(self.ranks), np.log(self.times)

        def basis(ranks: Floats) -> Floats:
            asked = np.log(np.asarray(ranks, dtype=np.float64))
            place = np.clip(np.searchsorted(at, asked, side="right") - 1, 0, len(at) - 2)
            slope = (times[place + 1] - times[place]) / (at[place + 1] - at[place])
            return np.asarray(np.exp(times[place] + slope * (asked - at[place])))[..., np.newaxis]

        formula = f"N / X = c times what a replay of the run of {self.of} ranks takes with N"
        return Law("replay", "the replay", formula, basis, 1)
