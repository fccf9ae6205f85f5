"""Columns that grow while a file is read: the core table's, and side tables of some of its rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.readers.order import moved

_FIRST_ROWS = 1 << 21
"""Room in a new column: memory that is asked for and not written costs nothing."""


class Grown:
    """A column that grows: memory is asked for in advance, and belongs to nobody before it is written."""

    def __init__(self, dtype: type) -> None:
        self._values: NDArray[Any] = np.empty(_FIRST_ROWS, dtype=dtype)
        self.count = 0

    def append(self, part: NDArray[Any]) -> None:
        """Add values; where they are too large for the column, it becomes a wider one."""
        count = self.count + len(part)
        narrow = self._values.dtype.itemsize < part.dtype.itemsize
        wider = narrow and len(part) > 0 and int(part.max()) > np.iinfo(self._values.dtype).max
        if wider or count > len(self._values):
            size = len(self._values) if count <= len(self._values) else max(2 * len(self._values), count)
            larger = np.empty(size, dtype=np.int64 if wider else self._values.dtype)
            larger[: self.count] = self._values[: self.count]
            self._values = larger
        self._values[self.count : count] = part
        self.count = count

    @property
    def values(self) -> NDArray[Any]:
        """What is there."""
        return self._values[: self.count]

    def cut(self, count: int) -> None:
        """Forget all values but the first."""
        self.count = count


class GrownSide:
    """A number for some rows of the core table: the rows, ascending, and the numbers."""

    def __init__(self) -> None:
        self._rows, self._numbers = Grown(np.int32), Grown(np.int64)

    def append(self, part: tuple[Ints, Ints], before: int) -> None:
        """Add rows that are counted from the row `before`."""
        self._rows.append(part[0] + before)
        self._numbers.append(part[1])

    @property
    def values(self) -> tuple[Ints, Ints]:
        """The rows and their numbers."""
        return self._rows.values, self._numbers.values

    def cut(self, rows: int) -> None:
        """Forget what belongs to a row from there on."""
        count = int(np.searchsorted(self._rows.values, rows))
        self._rows.cut(count)
        self._numbers.cut(count)

    def move(self, row_of: NDArray[np.int32]) -> None:
        """The rows stand elsewhere now, each at a place of its own."""
        self._rows.values[:], self._numbers.values[:] = moved(self.values, row_of)
