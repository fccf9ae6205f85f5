"""What a rank wrote down of the tensors it handed to Horovod: when, under which name, for the how manyth time."""

from bisect import bisect_right
from dataclasses import dataclass, field

from scaleprof.readers.recorded.segments import Stream
from scaleprof.readers.schema import whole
from scaleprof.remote import AnyPath
from scaleprof.run import COLLECTIVES_FILE


@dataclass
class Issues:
    """One entry for each operation that was noted, in order of time; those that Horovod was handed have a name."""

    time_ns: list[int] = field(default_factory=list)
    """Unix time."""
    group: list[str] = field(default_factory=list)
    names: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    """By name: when, and for the how manyth time."""
    places: dict[tuple[str, int], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_ns)

    def latest(self, name: str, until_ns: int) -> int | None:
        """For the how manyth time it was handed over last, up to then; None for never."""
        times, numbers = self.names.get(name, ([], []))
        place = bisect_right(times, until_ns) - 1
        return numbers[place] if place >= 0 else None

    def row(self, name: str, nth: int) -> int | None:
        """The entry of a tensor's nth time; None where it is missing."""
        return self.places.get((name, nth))


def issues_in(folder: AnyPath) -> Issues:
    """The notes in a rank's folder; none where it holds none of Horovod's."""
    found: dict[int, tuple[int, int, str, int, str]] = {}
    # A loop over what was issued, few of all events.
    for place, line in enumerate(Stream(folder, COLLECTIVES_FILE)):
        time_ns = whole(line.get("time_created_ns"))
        if time_ns < 0:
            continue
        group = line.get("process_group")
        named = str(group[0]) if isinstance(group, list) and group else ""
        number = whole(line.get("record_id"), absent=-1 - place)
        found[number] = (time_ns, number, str(line.get("tensor", "")), whole(line.get("nth")), named)
    issues = Issues()
    for row, (time_ns, _, tensor, nth, group) in enumerate(sorted(found.values(), key=lambda one: one[0])):
        issues.time_ns.append(time_ns)
        issues.group.append(group)
        if tensor:
            times, numbers = issues.names.setdefault(tensor, ([], []))
            times.append(time_ns)
            numbers.append(nth)
            issues.places[tensor, nth] = row
    return issues
