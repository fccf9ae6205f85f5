"""The slow network: what it limits, that it is gone afterwards, and what is said where it cannot be."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from scaleprof.errors import LaunchError, OptionError
from scaleprof.launch import network
from scaleprof.launch.network import refusal, slow_network

needs_namespaces = pytest.mark.skipif(bool(refusal()), reason=refusal() or "namespaces can be made")


def namespaces() -> set[str]:
    """The namespaces that this process made."""
    folder = Path("/var/run/netns")
    return {path.name for path in folder.glob(f"scaleprof-{os.getpid()}-*")} if folder.is_dir() else set()


@needs_namespaces
def test_each_rank_has_a_namespace_and_all_are_removed() -> None:
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    with slow_network(2, rate="100mbit") as made:
        assert set(made.namespaces) < namespaces()
        inside = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        assert inside == links, "the machine's own interfaces were touched"
    assert namespaces() == set()


@needs_namespaces
def test_a_failure_inside_leaves_no_namespace() -> None:
    with pytest.raises(ZeroDivisionError), slow_network(1):
        raise ZeroDivisionError
    assert namespaces() == set()


@needs_namespaces
def test_two_megabytes_take_the_time_that_the_rate_says() -> None:
    receive = (
        "import socket; s=socket.create_server(('10.77.0.1', 5001)); print('up', flush=True); c,_=s.accept()\n"
        + ("n=0\nwhile chunk := c.recv(65536): n += len(chunk)\nprint(n)")
    )
    send = "import socket; c=socket.create_connection(('10.77.0.1', 5001)); c.sendall(bytes(2_000_000)); c.close()"
    with slow_network(2, rate="80mbit") as made:
        inside = [["ip", "netns", "exec", name, sys.executable, "-c"] for name in made.namespaces]
        with subprocess.Popen([*inside[0], receive], stdout=subprocess.PIPE, text=True) as receiver:
            assert receiver.stdout is not None
            receiver.stdout.readline()
            began = time.monotonic()
            subprocess.run([*inside[1], send], check=True)
            assert receiver.stdout.read() == "2000000\n"
            took_s = time.monotonic() - began
    assert 0.15 < took_s < 5.0, "2 MB at 10 MB/s are 0.2 s, less one bucket"


@needs_namespaces
def test_a_process_that_joins_sees_only_its_own_interfaces() -> None:
    with slow_network(1) as made:
        code = textwrap.dedent(f"""
            from scaleprof.launch.network import Network
            Network({made.namespaces!r}, "1gbit").join(0)
            import socket
            print(sorted(name for _, name in socket.if_nameindex()))
        """)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'eth0'" in done.stdout
    assert "'lo'" in done.stdout


@needs_namespaces
def test_what_a_killed_study_left_is_removed_by_the_next() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    subprocess.run(["ip", "netns", "add", f"scaleprof-{gone.pid}-0"], check=True)
    with slow_network(1):
        assert not Path(f"/var/run/netns/scaleprof-{gone.pid}-0").exists()


def test_a_rate_without_a_unit_is_refused() -> None:
    with pytest.raises(OptionError, match="200mbit"), slow_network(2, rate="200"):
        pass


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.shutil, "which", lambda tool: None)
    assert "iproute2" in refusal()
    assert not network.available()
    with pytest.raises(LaunchError, match="not possible: the command ip is missing"), slow_network(2):
        pass
