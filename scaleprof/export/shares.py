"""How many bytes of a file each rank may have."""

from collections.abc import Mapping

from scaleprof.export.shard import OPERATION_BYTES, RANK_BYTES, SAID_BYTES

_NAME_BYTES = 150
"""What the names of an operation or wait take beside what a shard counts for it."""


class Shares:
    """What its operations and waits need, and an even part of what is left when all ranks have that.

    So a rank that comes early takes nothing from one that sends more.
    """

    def __init__(self, total: int, shown: Mapping[int, tuple[int, int]]) -> None:
        self._left = total
        self._needed = {
            rank: RANK_BYTES + operations * (OPERATION_BYTES + _NAME_BYTES) + waits * (SAID_BYTES + _NAME_BYTES)
            for rank, (operations, waits) in shown.items()
        }

    def of(self, rank: int) -> int:
        """The bytes that a rank may have which is not written yet."""
        needed = sum(self._needed.values())
        if needed >= self._left:
            return self._left * self._needed[rank] // needed
        return self._needed[rank] + (self._left - needed) // len(self._needed)

    def took(self, rank: int, written: int) -> None:
        """What a rank has had; what it left over is for the others."""
        del self._needed[rank]
        self._left -= written
