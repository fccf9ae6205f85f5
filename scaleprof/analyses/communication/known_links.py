"""What the links are known to carry, from a log of nccl-tests: looked up at the sizes and operations of a job."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.analyses.communication.bandwidth import Kind, Transfers
from scaleprof.models.communication import CostModel, bus_factor, cost_model
from scaleprof.results import Table


@dataclass(frozen=True)
class KnownLink:
    """One operation on one number of ranks, as measured elsewhere."""

    op: str
    ranks: int
    """-1 where nothing tells."""
    factor: float
    """Bytes on the bus for each byte of size."""
    model: CostModel

    def busbw_gbps(self, bytes: float) -> tuple[float, str]:
        """The bus bandwidth of a size in GB/s, and whether it was `interpolated` or `extrapolated`."""
        predicted = self.model.predict(bytes)
        return bytes * self.factor / predicted.time_ns, predicted.how

    def share_of(self, transfers: Transfers) -> tuple[float, str]:
        """What transfers reach of this, at the same sizes: the time that it would have taken over the time taken, and how it was read off.

        Sizes inside the measured range only; where there are none, the largest size beyond it.
        """
        sizes = transfers.model.bytes
        inside = (sizes >= self.model.bytes[0]) & (sizes <= self.model.bytes[-1])
        chosen = np.flatnonzero(inside) if inside.any() else np.array([len(sizes) - 1])
        needed = taken = 0.0
        counts = transfers.counts()
        for place in chosen.tolist():
            size = float(sizes[place])
            needed += counts[place] * size * transfers.kind.factor / self.busbw_gbps(size)[0]
            taken += counts[place] * float(transfers.model.times_ns[place])
        how = "interpolated at the same sizes" if inside.any() else "extrapolated: it measured other sizes"
        return needed / taken, how


def known_links(reference: Table) -> list[KnownLink]:
    """Each operation and number of ranks of a log, repeated tests taken together."""
    links = []
    ranks, bytes, times, factors = (np.asarray(reference[name]) for name in ("ranks", "bytes", "time_us", "factor"))
    ops = np.array(reference["op"], dtype=object)
    for op, number in dict.fromkeys(zip(ops.tolist(), ranks.tolist(), strict=True)):
        here = (ops == op) & (ranks == number)
        factor = bus_factor(op, number) if number > 0 else float(np.median(factors[here]))
        links.append(KnownLink(op, number, factor, cost_model(bytes[here].astype(np.float64), times[here] * 1e3)))
    return links


def best_known(links: Sequence[KnownLink], kind: Kind) -> KnownLink | None:
    """What to hold a kind of operations against: the same operation, on as many ranks or else on the most similar number."""
    same = [link for link in links if link.op == ("send" if kind.op == "recv" else kind.op)]
    return min(same, key=lambda link: abs(np.log(max(link.ranks, 1e-9) / kind.ranks)), default=None)
