"""Which foreign trace files belong to one run: same folder, world size and process groups, each rank once.

The same rank twice is two windows of one rank only with the same process, the same known host and times that do not overlap; else it is another
run. A file that does not know its rank is a run of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from scaleprof.readers.base import FileFacts
from scaleprof.remote import AnyPath
from scaleprof.run import RankFiles, Run, RunInfo

_MOST_LISTED = 8


@dataclass(frozen=True)
class Found:
    """A foreign file, and the reader that knows it."""

    reader: str
    facts: FileFacts

    @property
    def rank(self) -> int:
        """The rank, 0 for a file that does not know it."""
        return self.facts.rank or 0

    @property
    def folder(self) -> AnyPath:
        """The folder whose files may form a run together."""
        return self.facts.folder or self.facts.path.parent


def of_each_device(reader: str, facts: FileFacts) -> list[Found]:
    """The file, once for each of the ranks in it."""
    if facts.devices == 1:
        return [Found(reader, facts)]
    first = (facts.rank or 0) * facts.devices
    return [Found(reader, replace(facts, rank=first + device)) for device in range(facts.devices)]


@dataclass
class _Group:
    """The files of a run while it grows."""

    ranks: dict[int, list[Found]] = field(default_factory=dict)

    def takes(self, found: Found) -> bool:
        """Whether the file may join: its rank is new here, or its windows follow those of the rank."""
        return all(_one_process(found.facts, other.facts) for other in self.ranks.get(found.rank, ()))

    def add(self, found: Found) -> None:
        """Takes the file in."""
        self.ranks.setdefault(found.rank, []).append(found)


def grouped(found: Sequence[Found]) -> list[Run]:
    """The runs that the files form, folder by folder."""
    runs: list[Run] = []
    for folder in dict.fromkeys(one.folder for one in found):
        here = [one for one in found if one.folder == folder]
        groups = _groups([one for one in here if one.facts.rank is not None])
        alone = [one for one in here if one.facts.rank is None]
        several = len(groups) + len(alone) > 1
        for place, group in enumerate(groups):
            files = [one for rank in sorted(group.ranks) for one in group.ranks[rank]]
            where = _stem(folder) if folder.is_file() else folder.resolve().name
            name = where if not several else f"{where}-{place + 1}"
            runs.append(foreign_run(_stem(files[0].facts.path) if several and len(files) == 1 else name, files))
        runs += [foreign_run(_stem(one.facts.path), [one]) for one in alone]
    return runs


def _groups(found: Sequence[Found]) -> list[_Group]:
    """Earlier files first, so that two jobs in one folder come apart by time."""
    by_key: dict[object, list[_Group]] = {}
    for one in sorted(found, key=lambda one: (one.facts.span_us or (0.0,), one.facts.path.name)):
        groups = by_key.setdefault(_agreement(one.facts), [])
        group = next((group for group in groups if group.takes(one)), None)
        if group is None:
            group = _Group()
            groups.append(group)
        group.add(one)
    return [group for groups in by_key.values() for group in groups]


def _agreement(facts: FileFacts) -> object:
    """What the files of one run have in common. A rank lists only the groups it is in: the largest one is everybody's."""
    largest = max((group.ranks for group in facts.process_groups), key=len, default=())
    return facts.world_size, largest


def _one_process(a: FileFacts, b: FileFacts) -> bool:
    if a.pid is None or a.pid != b.pid or a.host is None or a.host != b.host:
        return False
    one, other = a.whole_span_us(), b.whole_span_us()
    return bool(one and other and (one[1] <= other[0] or other[1] <= one[0]))


def foreign_run(name: str, found: Sequence[Found]) -> Run:
    """One run from its files; ranks that are said twice follow one another in time."""
    by_rank: dict[int, list[Found]] = {}
    for one in found:
        by_rank.setdefault(one.rank, []).append(one)
    world_size = max([max(by_rank) + 1, *(one.facts.world_size or 1 for one in found)])
    ranks = {rank: _rank_files(rank, by_rank[rank], world_size) for rank in sorted(by_rank)}
    hosts = {one.facts.host for one in found}
    first = found[0].facts
    info = RunInfo(
        name=name,
        world_size=world_size,
        framework="pytorch" if all(one.reader in ("kineto", "ascend") for one in found) else None,
        nodes=len(hosts) if None not in hosts else None,
        backend=first.backend,
        synthetic=any(one.facts.synthetic for one in found),
    )
    return Run(found[0].folder, info, ranks, missing_ranks(ranks, world_size))


def _rank_files(rank: int, found: list[Found], world_size: int) -> RankFiles:
    ordered = sorted(found, key=lambda one: (one.facts.span_us or (0.0,), one.facts.path.name))
    return RankFiles(rank, ordered[0].reader, tuple(one.facts.path for one in ordered), world_size=world_size)


def missing_ranks(present: Sequence[int] | dict[int, RankFiles], world_size: int) -> tuple[str, ...]:
    """A sentence naming the ranks of which nothing was found."""
    there = set(present)
    count = world_size - len(there)
    if count <= 0:
        return ()
    missing = islice((rank for rank in range(world_size) if rank not in there), _MOST_LISTED)
    listed = ", ".join(str(rank) for rank in missing) + (", ..." if count > _MOST_LISTED else "")
    which = f"rank {listed} of {world_size:,} is" if count == 1 else f"ranks {listed} of {world_size:,} are"
    many = f" ({count:,} in all)" if count > _MOST_LISTED else ""
    return (f"{which} missing{many}: what compares all ranks is incomplete",)


def _stem(path: AnyPath) -> str:
    """A file's name without what says that it is a trace."""
    name = path.name
    for suffix in (".gz", ".json", ".trace", ".pt", ".pb", ".xplane"):
        name = name.removesuffix(suffix)
    return name
