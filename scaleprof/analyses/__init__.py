"""The tables of contents: every question asked about one run (ANALYSES) and about several (COMPARISONS), in the order of the report."""

from scaleprof.analyses.account.flops import FLOPS
from scaleprof.analyses.account.idle import IDLE
from scaleprof.analyses.account.kernels import KERNELS
from scaleprof.analyses.account.steps import STEPS
from scaleprof.analyses.account.time import TIME
from scaleprof.analyses.base import Analysis, Comparison, Fact
from scaleprof.analyses.communication.collectives import COLLECTIVES
from scaleprof.analyses.communication.links import LINKS, LinkOptions
from scaleprof.analyses.findings.findings import FINDINGS
from scaleprof.analyses.machine.hardware import HARDWARE
from scaleprof.analyses.overview import OVERVIEW
from scaleprof.analyses.replay.critical import CRITICAL
from scaleprof.analyses.replay.whatif import WHATIF
from scaleprof.analyses.scaling.efficiency import EFFICIENCY
from scaleprof.analyses.scaling.growth import GROWTH
from scaleprof.analyses.scaling.hierarchy import HIERARCHY
from scaleprof.analyses.scaling.scaling import SCALING
from scaleprof.analyses.scaling.study import ScalingOptions
from scaleprof.analyses.stragglers.ranks import RANKS
from scaleprof.analyses.stragglers.stragglers import STRAGGLERS
from scaleprof.analyses.stragglers.tasks import TASK_SCALING, TASKS
from scaleprof.analyses.strategies.prices import EXTRAS, PRICES
from scaleprof.analyses.strategies.strategies import STRATEGIES
from scaleprof.analyses.timeline.timeline import TIMELINE

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
