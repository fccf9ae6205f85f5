"""How far the clocks of hosts are apart: one rank of each host plays ping-pong with rank 0, over the store that the job has anyway.

At the start and at the end of a recording, so that the drift between follows. No collective, and no waiting that could hang: nobody stays
longer than `BUDGET_S`, and who finds nobody to play with goes on unsynchronised. Keys are only asked for, never waited for: a wait that
runs out writes two lines of warning into the job's output and holds a connection that others of the process need. The keys of a ping-pong
stay in the store, 10 kB a host.

    host: set ask/<ticket>       rank 0: take the tickets one after the other
          set ping/<n>     ->            note the time, set pong/<n>
          note the time    <-            (50 times)
          get stamps       <-            set stamps: all the times noted
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scaleprof.clock import ClockAnchor, ClockOffset, HostClock
from scaleprof.collect.guard import Guard
from scaleprof.collect.written.about import Known
from scaleprof.collect.written.identity import from_process_group, short

BUDGET_S = 1.0
"""What the ping-pong may take, at the start and again at the end; ranks that come later than that find it closed."""
ROUNDS = 50
FEWEST_ROUNDS = 8
ROUND_S = 0.2
"""Who does not answer for so long is left: it was killed, or has other things to do."""
SPIN_S = 0.002
"""An answer comes sooner than that; what takes longer is not worth a busy core."""
SWITCH = "SCALEPROF_CLOCK_SYNC"
"""In the environment: `0` switches this off, `always` measures even where all ranks seem to be on one host."""
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_LOOPBACK = ("localhost", "127.", "::1")
_LAUNCHERS = (
    ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    ("SLURM_NTASKS", "", "SLURM_STEP_NUM_NODES", "SLURM_LOCALID"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "", "OMPI_COMM_WORLD_LOCAL_RANK"),
)
"""What says the number of ranks, of ranks on this host, of hosts, and this rank's number on its host."""
_WANTED, _NOT_WANTED = b"1", b"0"
UNSYNCHRONISED = "the clocks of the hosts could not be compared"


class HostClocks:
    """Measures this host's clock against rank 0's, once at the start and once at the end."""

    def __init__(self, known: Known, number: int, guard: Guard) -> None:
        self._known = known
        self._number = number
        self._guard = guard
        self._done: set[str] = set()
        self._failed = False

    def at_start(self) -> bool:
        """Between two steps: measure once, as soon as there is a process group. Whether hosts met, which disturbs the next step of all ranks."""
        return self._measure("start")

    def at_end(self) -> None:
        """Measure again, if that went well at the start and there still is a store."""
        if "start" in self._done and not self._failed:
            self._measure("end")

    def before_destroy(self, group: Any = None, **_: Any) -> None:
        """The store goes with the default process group: this is the last chance to measure again."""
        with self._guard.on(UNSYNCHRONISED):
            import torch.distributed as dist

            if group is None or group == dist.group.WORLD:
                self.at_end()

    def _measure(self, phase: str) -> bool:
        if phase in self._done:
            return False
        met, self._failed = False, True
        with self._guard.on(UNSYNCHRONISED):
            here = from_process_group()
            if here is not None:
                self._done.add(phase)
                store = _store(self._number, phase) if here.world_size > 1 else None
                if store is not None and phase == "end" and not _reachable(_innermost(store)):
                    store = None
                hosts = hosts_of(here.world_size, store, os.environ) if store is not None else None
                met = hosts is not None
                if hosts is not None and hosts.takes_part:
                    self._take_part(store, here.rank, hosts.parties)
                elif hosts is not None and self._known.clock is None:
                    self._known.clock = HostClock(clock_id())
            self._failed = False
        return met

    def _take_part(self, store: Any, rank: int, parties: int) -> None:
        began = time.monotonic()
        id, deadline = clock_id(), began + BUDGET_S
        rounds = max(FEWEST_ROUNDS, min(ROUNDS, 20 * ROUNDS // parties))  # the hosts take turns within one budget
        try:
            if rank == 0:
                self._known.clock = HostClock(id, id)
                served = serve(store, id, parties, rounds, deadline)
            else:
                before = self._known.clock or HostClock(id)
                self._known.clock = before
                reference, wanted, offset = ask(store, id, rounds, deadline)
                served = reference is not None and (offset is not None or not wanted)
                offsets = (*before.offsets, offset) if offset else before.offsets
                self._known.clock = HostClock(id, reference or before.reference, offsets)
            self._known.capabilities["clocks"] = served and self._known.capabilities.get("clocks", True)
        finally:
            spent_ms = (time.monotonic() - began) * 1e3
            self._known.overhead["clock_sync_ms"] = self._known.overhead.get("clock_sync_ms", 0.0) + spent_ms


def clock_id() -> str:
    """The same for processes that share a clock: those of one boot of one machine, also in different containers."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return short(file.read().strip())
    except OSError:
        return short(os.uname().nodename)


@dataclass(frozen=True)
class Hosts:
    """Who measures: one rank per host where a launcher tells them apart, else every rank."""

    parties: int
    takes_part: bool


def hosts_of(world_size: int, store: Any, environment: Mapping[str, str]) -> Hosts | None:
    """Who measures; None where all ranks are on one host."""
    switch = environment.get(SWITCH, "").lower()
    if switch in ("0", "off", "false"):
        return None
    for names in _LAUNCHERS:
        size, local_size, hosts, local_rank = (_number_of(environment, name) for name in names)
        if size != world_size:
            continue  # nobody's, or left over from something else
        if switch != "always" and (local_size == size or hosts == 1):
            return None
        if hosts is not None and hosts > 1 and local_rank is not None:
            return Hosts(hosts, local_rank == 0)
    if switch != "always" and str(_innermost(store).host).startswith(_LOOPBACK):
        return None
    return Hosts(world_size, True)


def serve(store: Any, id: str, parties: int, rounds: int, deadline: float) -> bool:
    """Rank 0: answer all others that take part, in the order in which they come. Whether they all came in time."""
    anchor = ClockAnchor.now()
    store.set("reference", id)
    try:
        for ticket in range(1, parties):
            if not _comes(store, f"ask/{ticket}", deadline):
                return False
            if store.get(f"ask/{ticket}") == _WANTED:
                _answer(store, f"{ticket}/", anchor, rounds, deadline)
        return True
    finally:
        store.set("closed", "")


def _answer(store: Any, ticket: str, anchor: ClockAnchor, rounds: int, deadline: float) -> None:
    stamps = []
    for number in range(rounds):
        if not _comes(store, f"{ticket}ping/{number}", min(deadline, time.monotonic() + ROUND_S)):
            break
        stamps.append(time.perf_counter_ns())
        store.set(f"{ticket}pong/{number}", "")
    anchored = (anchor.real_before_ns, anchor.mono_ns, anchor.real_after_ns)
    store.set(f"{ticket}stamps", json.dumps([anchored, stamps]))
    if stamps:  # the store may end with this process, but not while somebody reads
        _comes(store, f"{ticket}read", min(deadline, time.monotonic() + ROUND_S))


def ask(store: Any, id: str, rounds: int, deadline: float) -> tuple[str | None, bool, ClockOffset | None]:
    """Another rank: the id of rank 0's clock, whether this rank is to measure, and how far it is; None for what did not come in time.

    The first to ask of each host plays for all of them, and nobody who shares rank 0's clock.
    """
    if not _comes(store, "reference", deadline):
        return None, True, None
    reference: str = store.get("reference").decode()
    wanted = reference != id and store.add(f"of/{id}", 1) == 1
    ticket = store.add("tickets", 1)
    store.set(f"ask/{ticket}", _WANTED if wanted else _NOT_WANTED)
    return reference, wanted, _play(store, f"{ticket}/", rounds, deadline) if wanted else None


def _play(store: Any, ticket: str, rounds: int, deadline: float) -> ClockOffset | None:
    trips: list[tuple[int, int]] = []
    for number in range(rounds):
        # The first answer comes when it is this host's turn.
        until = min(deadline, time.monotonic() + ROUND_S) if number else deadline
        sent = time.perf_counter_ns()
        store.set(f"{ticket}ping/{number}", "")
        if not _comes(store, f"{ticket}pong/{number}", until, unless="" if number else "closed"):
            break
        trips.append((sent, time.perf_counter_ns()))
    if not trips or not _comes(store, f"{ticket}stamps", min(deadline, time.monotonic() + 2 * ROUND_S)):
        return None
    anchored, stamps = json.loads(store.get(f"{ticket}stamps"))
    store.set(f"{ticket}read", "")
    met = [(sent, seen, back) for (sent, back), seen in zip(trips, stamps, strict=False)]
    return ClockOffset.of_rounds(met, ClockAnchor.now(), ClockAnchor(*anchored))


def _comes(store: Any, key: str, until: float, *, unless: str = "") -> bool:
    """Whether the key comes before `until`, on the monotonic clock, and before the key `unless`."""
    spun = time.monotonic() + SPIN_S
    while not store.check([key]):
        now = time.monotonic()
        if now > until:
            return False
        if now > spun:
            if unless and store.check([unless]):
                return bool(store.check([key]))
            time.sleep(0.001)
    return True


def _store(number: int, phase: str) -> Any | None:
    """A corner of the job's store; None where that is not a server that can be asked without waiting."""
    from torch._C._distributed_c10d import PrefixStore, TCPStore
    from torch.distributed.distributed_c10d import _get_default_store

    store = _get_default_store()
    return PrefixStore(f"scaleprof/{number}/clock/{phase}", store) if isinstance(_innermost(store), TCPStore) else None


def _reachable(server: Any) -> bool:
    """Whether the store is still there: it ends with the process that has it, and to ask it then fills the job's output with C++ frames."""
    try:
        with socket.create_connection((server.host, server.port), timeout=ROUND_S):
            return True
    except OSError:
        return False


def _innermost(store: Any) -> Any:
    from torch._C._distributed_c10d import PrefixStore

    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return store


def _number_of(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "") if name else ""
    return int(text) if text.isdecimal() else None
