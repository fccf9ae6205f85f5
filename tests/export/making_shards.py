"""A small shard made by hand, for what writes it."""

import numpy as np

from scaleprof.export.about import AboutRank, AboutRun
from scaleprof.export.series import Series
from scaleprof.export.shard import Shard
from scaleprof.export.thinning import LeftOut
from scaleprof.export.tracks import Tie, Track
from scaleprof.run import RunInfo

ABOUT = AboutRun(RunInfo("made", 2), 1_700_000_000_000_000_000)
RANK = AboutRank(1, "rank 1", "host, clock ±2 µs")
SHARD = Shard(
    (
        Track("steps", [("step 0", "step")], np.array([0]), np.array([0]), np.array([2_000_001])),
        Track(
            "stream 20",
            [('sum "é"', "kernel,collective"), ("wait", "wait")],
            np.array([0, 1]),
            np.array([1_001, 1_001]),
            np.array([9_000, 4_000]),
            args={0: {"number": 4, "wait_us": 2.999, "group": "0"}},
            ties={0: Tie(4, comes=True, goes=True)},
        ),
    ),
    (Series("GPU power", "W", np.array([5, 1_000_005]), np.array([151.25, 0.1])),),
    LeftOut(),
    0,
)
