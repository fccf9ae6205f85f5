"""What can be done about it: rules that judge a run's numbers, each with its evidence, a gain, and something to paste (`method` 8).

Every gain here is a ceiling: what the step would save if all of that time went away. Gains are never added up. A rule says nothing below its own
threshold, nor below what the step times themselves vary by.
"""

from dataclasses import replace

from scaleprof.align import RunView
from scaleprof.analyses.account.extras import extras
from scaleprof.analyses.account.idle import NEEDS as IDLE_NEEDS
from scaleprof.analyses.account.idle import idle_of
from scaleprof.analyses.account.steps import steady_times_ms
from scaleprof.analyses.account.time import leaves_of
from scaleprof.analyses.account.work import work
from scaleprof.analyses.base import HIGH, Analysis, many
from scaleprof.analyses.findings.judged import Judged
from scaleprof.analyses.findings.rules import HEALTH, RULES
from scaleprof.analyses.findings.rules_setup import SETUP
from scaleprof.analyses.machine.hardware import hardware
from scaleprof.models.statistics import median_interval
from scaleprof.results import Finding, Result

_IDLE = (
    "starved",
    "host-sync",
    "launch-bound",
    "allocation",
    "compilation",
    "collection",
    "checkpoint",
)
_TIME = ("exposed-copies", "bubble", "exposed-transfer", "distortion", "healthy-communication")
_RANKS = ("transient-imbalance", "stage-imbalance", "healthy-balance")
_COLLECTIVES = ("small-messages", "no-sync", "gloo-on-gpus", "unused-parameters")
EVIDENCE = (
    dict.fromkeys((*_IDLE, "healthy-input", "healthy-launch"), "idle")
    | dict.fromkeys(_TIME, "time")
    | dict.fromkeys(_RANKS, "ranks")
    | dict.fromkeys(_COLLECTIVES, "collectives")
    | {"small-kernels": "kernels", "optimizer": "kernels", "throttled": "hardware"}
)
"""The section that shows what a finding is about."""
LEAST_GAIN = 0.01
"""Share of the step that a finding must be worth."""


def conclude(view: RunView, options: None) -> Result | None:
    """All findings of a run, and what is healthy; None without an account."""
    leaves = leaves_of(view)
    if leaves is None:
        return None
    found_idle = idle_of(view)
    sums = found_idle.groups(found_idle.by_cause) if found_idle is not None else {}
    judged = Judged(view, leaves, found_idle, sums, _noise(view))
    found = [
        finding for rule in (*RULES, *SETUP) if (finding := rule(judged)) is not None and _worth(finding, judged.noise)
    ]
    healthy = [finding for rule in HEALTH if (finding := rule(judged)) is not None]
    found = [replace(finding, see=EVIDENCE.get(finding.id, "")) for finding in found]
    healthy = [replace(finding, see=EVIDENCE.get(finding.id, "")) for finding in healthy]
    found.sort(key=lambda finding: -(finding.gain_share or 0.0))
    if not found and not healthy:
        return None
    headline = f"{many(len(found), 'thing')} to act on" if found else "Nothing to act on here"
    if found:
        headline += f"; the first: {found[0].title[0].lower()}{found[0].title[1:]}"
    return Result("findings", "What to do", headline, findings=(*found, *healthy))


def _noise(view: RunView) -> float:
    interval = median_interval(steady_times_ms(view))
    if interval.low is None or interval.high is None or not interval.value:
        return 0.0
    return (interval.high - interval.low) / 2 / interval.value


def _worth(finding: Finding, noise: float) -> bool:
    """Noise hides no finding of high severity: what it finds may be what makes the times vary."""
    return finding.gain_share is None or finding.gain_share >= max(LEAST_GAIN, min(noise, HIGH))


FINDINGS = Analysis("findings", {**IDLE_NEEDS, "work": work, "extras": extras, "hardware": hardware}, conclude)
