"""A slow network on one machine: a network namespace per rank, joined by a bridge, each with a limit on what it sends.

Everything lives in namespaces of its own, the bridge too: the machine's own interfaces, addresses and routes are never touched, and removing
the namespaces removes it all. Names carry the process id, so several studies may run side by side and what a killed one left is found.
Linux with iproute2 and the right to make namespaces (root); `refusal` says why not elsewhere.
"""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scaleprof.errors import LaunchError, OptionError

PREFIX = "scaleprof"
INTERFACE = "eth0"
_NAMESPACES = Path("/var/run/netns")
_CLONE_NEWNET = 0x40000000
_RATE = re.compile(r"\d+(\.\d+)?(k|m|g)bit")


@dataclass(frozen=True)
class Network:
    """Namespaces that can reach one another, one per rank."""

    namespaces: tuple[str, ...]
    rate: str

    def address(self, rank: int) -> str:
        """The address of a rank, the same private ones in every study: nothing outside the namespaces sees them."""
        return _address(rank)

    def join(self, rank: int) -> None:
        """Move the calling process into a rank's namespace. Call it before any thread is started: only the calling thread moves."""
        descriptor = os.open(_NAMESPACES / self.namespaces[rank], os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"cannot join namespace {self.namespaces[rank]}: {os.strerror(number)}")
        finally:
            os.close(descriptor)

    def environment(self, rank: int) -> dict[str, str]:
        """What a rank's process needs to find the others; rank 0 hosts the store."""
        return {
            "MASTER_ADDR": _address(0),
            "GLOO_SOCKET_IFNAME": INTERFACE,
            "SCALEPROF_LINK": f"{self.rate} between namespaces",
        }


def refusal() -> str:
    """Why a slow network cannot be made here, empty if it can."""
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            return f"the command {tool} is missing (package iproute2)"
    name = f"{PREFIX}-{os.getpid()}-probe"
    try:
        _command("ip", "netns", "add", name)
    except LaunchError as error:
        return f"network namespaces cannot be made here ({error})"
    _remove([name])
    return ""


def available() -> bool:
    """Whether network namespaces can be made here."""
    return refusal() == ""


@contextmanager
def slow_network(ranks: int, *, rate: str = "200mbit") -> Iterator[Network]:
    """A network of one namespace per rank in which each rank sends at most `rate`; removed at the end, whatever happens."""
    if not _RATE.fullmatch(rate):
        raise OptionError(f"a network rate looks like 200mbit or 1gbit, not {rate!r}")
    reason = refusal()
    if reason:
        raise LaunchError(f"a slow network is not possible: {reason}")
    _remove(_left_behind())
    switch = f"{PREFIX}-{os.getpid()}-switch"
    names = tuple(f"{PREFIX}-{os.getpid()}-{rank}" for rank in range(ranks))
    try:
        _command("ip", "netns", "add", switch)
        _command("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        _command("ip", "-n", switch, "link", "set", "bridge", "up")
        for rank, name in enumerate(names):
            _attach(rank, name, switch, rate)
        yield Network(names, rate)
    finally:
        _remove([*names, switch])


def _attach(rank: int, name: str, switch: str, rate: str) -> None:
    """A namespace with one interface on the bridge, whose sending side is limited by a token bucket."""
    port = f"port{rank}"
    _command("ip", "netns", "add", name)
    _command("ip", "-n", switch, "link", "add", port, "type", "veth", "peer", "name", INTERFACE, "netns", name)
    _command("ip", "-n", switch, "link", "set", port, "master", "bridge", "up")
    _command("ip", "-n", name, "addr", "add", f"{_address(rank)}/24", "dev", INTERFACE)
    _command("ip", "-n", name, "link", "set", INTERFACE, "up")
    _command("ip", "-n", name, "link", "set", "lo", "up")
    # The queue behind the bucket is long enough (200 ms) that nothing is dropped: a drop would measure TCP, not the link.
    _command(
        "tc",
        "-n",
        name,
        "qdisc",
        "add",
        "dev",
        INTERFACE,
        "root",
        "tbf",
        "rate",
        rate,
        "burst",
        "64kb",
        "latency",
        "200ms",
    )


def _address(rank: int) -> str:
    return f"10.77.0.{rank + 1}"


def _left_behind() -> list[str]:
    """Namespaces of studies whose process has died."""
    if not _NAMESPACES.is_dir():
        return []
    found = [(entry.name, re.fullmatch(rf"{PREFIX}-(\d+)-\w+", entry.name)) for entry in _NAMESPACES.iterdir()]
    return [name for name, match in found if match and not Path(f"/proc/{match[1]}").exists()]


def _remove(names: Sequence[str]) -> None:
    for name in names:
        if (_NAMESPACES / name).exists():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _command(*words: str) -> None:
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise LaunchError(f"{' '.join(words)}: {said[-1] if said else f'exit code {error.returncode}'}") from error
    except OSError as error:
        raise LaunchError(f"{words[0]} cannot be run: {error.strerror}") from error
