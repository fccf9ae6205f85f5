"""The tables of contents: every question asked about one run (ANALYSES) and about several (COMPARISONS), in the order of the report."""

from scaleprof.analyses.base import Analysis, Comparison, Fact
from scaleprof.analyses.collectives import COLLECTIVES
from scaleprof.analyses.critical import CRITICAL
from scaleprof.analyses.efficiency import EFFICIENCY
from scaleprof.analyses.findings import FINDINGS
from scaleprof.analyses.flops import FLOPS
from scaleprof.analyses.growth import GROWTH
from scaleprof.analyses.hardware import HARDWARE
from scaleprof.analyses.hierarchy import HIERARCHY
from scaleprof.analyses.idle import IDLE
from scaleprof.analyses.kernels import KERNELS
from scaleprof.analyses.links import LINKS, LinkOptions
from scaleprof.analyses.overview import OVERVIEW
from scaleprof.analyses.prices import EXTRAS, PRICES
from scaleprof.analyses.ranks import RANKS
from scaleprof.analyses.scaling import SCALING
from scaleprof.analyses.steps import STEPS
from scaleprof.analyses.stragglers import STRAGGLERS
from scaleprof.analyses.strategies import STRATEGIES
from scaleprof.analyses.study import ScalingOptions
from scaleprof.analyses.tasks import TASK_SCALING, TASKS
from scaleprof.analyses.time import TIME
from scaleprof.analyses.timeline import TIMELINE
from scaleprof.analyses.whatif import WHATIF

ANALYSES: tuple[Analysis, ...] = (
    FINDINGS,
    TIME,
    IDLE,
    EFFICIENCY,
    STEPS,
    RANKS,
    STRAGGLERS,
    TIMELINE,
    CRITICAL,
    WHATIF,
    COLLECTIVES,
    LINKS,
    KERNELS,
    FLOPS,
    TASKS,
    EXTRAS,
    HARDWARE,
)
COMPARISONS: tuple[Comparison, ...] = (OVERVIEW, SCALING, HIERARCHY, GROWTH, STRATEGIES, PRICES, TASK_SCALING)
OPTIONS: dict[str, type] = {"scaling": ScalingOptions, "links": LinkOptions}
"""Names of `--set <name>.<field>=value` to the dataclass of thresholds that analyses and comparisons share under it."""

__all__ = ["ANALYSES", "COMPARISONS", "OPTIONS", "Analysis", "Comparison", "Fact"]
