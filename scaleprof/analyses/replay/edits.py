"""What-ifs as edits of a run's graph: what would be otherwise (`method` 7.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from scaleprof.errors import OptionError

REMOVABLE = {
    "input": "waiting for input",
    "gc": "garbage collection",
    "compile": "compilation",
    "checkpoint": "checkpoints",
}
"""What a host does beside training, and may be spared."""
HALVED = 0.5
"""What is left of 32-bit gradients that are sent as 16-bit ones."""


@dataclass(frozen=True)
class Edit:
    """What would be otherwise."""

    link: float = 1.0
    """Bandwidth of every link, times this."""
    group: str = ""
    """Only operations of this process group have another link; empty for all."""
    latency: float = 1.0
    """Latency of every link, times this."""
    no_stragglers: bool = False
    """All ranks of one role take as long as their mean, and transfers as long as their median (OSDI'25)."""
    normal_rank: int | None = None
    """This rank takes as long as the median of the others of its role."""
    overlap: bool = False
    """Nothing waits for communication before the last wait of a step."""
    compress: float = 1.0
    """Bytes of gradients, times this."""
    encode_ns_per_byte: float = 0.0
    """What encoding and decoding take for each byte of gradients before; negative for compression that is given up: all of its time goes."""
    ranks: int | None = None
    """So many ranks do what these do, in collectives of all of them."""
    batch: Literal["local", "global"] = "local"
    """What more ranks leave as it is: the batch of a rank, or that of all, of which each then computes less."""
    merge: int = 1
    """So many buckets of gradients that follow one another are sent as one."""
    split: int = 1
    """Each bucket of gradients is sent as so many, each as soon as its gradients are there."""
    micro_batches: int | None = None
    """Into so many parts a pipeline divides the batch of a step."""
    no_sync_batch_norm: bool = False
    no_host_syncs: bool = False
    """The host never waits for the device."""
    without: frozenset[str] = frozenset()
    """What takes no time, of `REMOVABLE`."""
    no_launches: bool = False
    """The host launches a step at once, as CUDA graphs do."""
    kernels: Mapping[str, float] = field(default_factory=dict)
    """Patterns of names of kernels, as of files, and how many times faster they are."""

    def __post_init__(self) -> None:
        for name in ("link", "compress"):
            if not (0 < getattr(self, name) < float("inf")):
                raise OptionError(f"{name} must be a positive number, not {getattr(self, name)}")
        if not (0 <= self.latency < float("inf")):
            raise OptionError(f"latency must be a number from 0 on, not {self.latency}")
        if unknown := sorted(self.without - set(REMOVABLE)):
            raise OptionError(f"without must be of {', '.join(REMOVABLE)}, not {unknown[0]!r}")
        if self.ranks is not None and self.ranks < 1:
            raise OptionError(f"ranks must be at least 1, not {self.ranks}")
        if self.micro_batches is not None and self.micro_batches < 1:
            raise OptionError(f"micro-batches must be at least 1, not {self.micro_batches}")
        for name in ("merge", "split"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, not {getattr(self, name)}")
        for pattern, times in self.kernels.items():
            if not (times > 0):
                raise OptionError(f"kernels {pattern!r} must be a positive number of times faster, not {times}")

    @property
    def parts(self) -> list["Edit"]:
        """Each thing that is otherwise, alone."""
        nothing = Edit()
        alone = [one for one in _ALONE if getattr(self, one) != getattr(nothing, one)]
        return [
            replace(nothing, **{name: getattr(self, name) for name in (one, *_BESIDE.get(one, ()))}) for one in alone
        ]

    def also(self, other: "Edit") -> "Edit":
        """Both; where they say different things of the same, what the other one says."""
        nothing = Edit()
        said = {
            one.name: getattr(other, one.name)
            for one in fields(Edit)
            if getattr(other, one.name) != getattr(nothing, one.name)
        }
        return replace(self, **{**said, "without": self.without | other.without})

    def without_part(self, part: "Edit") -> "Edit":
        """Everything but one of its parts."""
        nothing = Edit()
        return replace(
            self, **{one: getattr(nothing, one) for one in _ALONE if getattr(part, one) != getattr(nothing, one)}
        )

    @property
    def name(self) -> str:
        """Which parts there are, as part of a metric's id."""
        nothing = Edit()
        return "+".join(one for one in _ALONE if getattr(self, one) != getattr(nothing, one))

    @property
    def words(self) -> str:
        """`links 2 times as fast, no stragglers`."""
        said = []
        if self.link != 1:
            of = f" of group {self.group}" if self.group else ""
            said.append(f"links{of} {self.link:g} times as fast")
        if self.latency != 1:
            said.append(f"{self.latency:g} times the latency")
        if self.compress != 1:
            said.append(f"{self.compress:g} times the bytes of gradients")
        if self.ranks is not None:
            said.append(f"{self.ranks} ranks ({self.batch} batch as it is)")
        if self.merge != 1:
            said.append(f"{self.merge} buckets sent as one")
        if self.split != 1:
            said.append(f"each bucket sent as {self.split}")
        if self.micro_batches is not None:
            said.append(f"{self.micro_batches} micro-batches")
        if self.normal_rank is not None:
            said.append(f"rank {self.normal_rank} as fast as the median of the others")
        said += [words for name, words in _FLAGS.items() if getattr(self, name)]
        if self.without:
            said.append(f"no {' or '.join(words for one, words in REMOVABLE.items() if one in self.without)}")
        said += [f"kernels {pattern} {times:g} times as fast" for pattern, times in self.kernels.items()]
        return ", ".join(said) or "nothing changed"


_FLAGS = {
    "no_stragglers": "no stragglers",
    "overlap": "communication hidden wherever it can be",
    "no_sync_batch_norm": "no SyncBatchNorm",
    "no_host_syncs": "no host synchronisation",
    "no_launches": "a step launched at once",
}
_BESIDE = {"link": ("group",), "latency": ("group",), "compress": ("encode_ns_per_byte",), "ranks": ("batch",)}
"""What says more of an edit, and is none of its own."""
_ALONE = (
    "link",
    "latency",
    "compress",
    "ranks",
    "merge",
    "split",
    "micro_batches",
    "normal_rank",
    *_FLAGS,
    "without",
    "kernels",
)

NO_TRANSFER = Edit(link=1e6, latency=0)
"""Links on which nothing takes any time."""
PAUSES = frozenset(("gc", "compile", "checkpoint"))
"""Of `REMOVABLE` what stops the whole interpreter, or the training."""
