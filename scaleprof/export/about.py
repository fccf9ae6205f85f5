"""What stands in an exported file about the run and its ranks."""

from dataclasses import dataclass, field

from scaleprof import __version__
from scaleprof.clock import RankClock
from scaleprof.export.lanes import shortened
from scaleprof.run import RankInfo, RunInfo

MADE_BY = f"scaleprof {__version__}"


@dataclass(frozen=True)
class AboutRank:
    """How a rank is called."""

    rank: int
    name: str
    labels: str
    """Where it ran, and how well its clock is known."""

    @property
    def pid(self) -> int:
        """Viewers take process 0 for the operating system."""
        return self.rank + 1


@dataclass(frozen=True)
class AboutRun:
    """What a file says of itself."""

    info: RunInfo
    origin_ns: int
    remarks: list[str] = field(default_factory=list)

    def told(self) -> dict[str, str]:
        """Everything as text, for a viewer's page of information."""
        of_run = {
            "run": self.info.name,
            "world size": str(self.info.world_size),
            "time 0": f"{self.origin_ns} ns of unix time on the clock of rank 0's host",
            "made by": MADE_BY,
        }
        if self.info.synthetic:
            of_run["synthetic"] = "computed, not recorded"
        if self.info.emulated is not None:
            of_run["emulated"] = self.info.emulated.what
        return of_run | {f"remark {place}": remark for place, remark in enumerate(self.remarks, 1)}


def about_rank(info: RankInfo, clock: RankClock, *, is_told: bool) -> AboutRank:
    """A rank's name and labels; `is_told`: whether its clock can be compared with the others'."""
    parts = [shortened(info.host, 60)] if info.host else []
    parts += [shortened(one, 60) for one in (info.device_name or info.device,) if one]
    error = clock.error_ns
    if not is_told:
        parts.append("clock not comparable")
    elif error:
        parts.append(f"clock ±{error / 1000:.3g} µs")
    return AboutRank(info.rank, f"rank {info.rank}", ", ".join(parts))
