"""Forked ranks: what they are told, and that none survives. Each test forks from a Python of its own, which has no threads."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path


def forked(body: str, *, world_size: int = 2, timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
    """Run ranks whose training function is `body`, and print the failures."""
    code = (
        "import os, signal, sys, time\n"
        "from scaleprof.launch.ranks import fork_ranks\n"
        f"def train():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
        f"for failure in fork_ranks(train, {world_size}, environment={{'COLOUR': 'blue'}}, timeout_s={timeout_s}):\n"
        "    print('rank', failure.rank, failure.reason)\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_ranks_see_the_environment_of_torchrun(tmp_path: Path) -> None:
    body = f"""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "COLOUR")
    open({str(tmp_path)!r} + "/" + os.environ["RANK"], "w").write(" ".join(os.environ[name] for name in names))
    assert int(os.environ["MASTER_PORT"]) > 1024
    """
    assert forked(body, world_size=3).stdout == ""
    assert [(tmp_path / str(rank)).read_text() for rank in range(3)] == [
        f"{rank} {rank} 3 3 127.0.0.1 blue" for rank in range(3)
    ]


def test_a_rank_that_fails_is_named_with_its_stack_trace() -> None:
    done = forked("if os.environ['RANK'] == '1': raise ValueError('no such layer')")
    assert done.stdout == "rank 1 ended with exit code 1\n"
    assert "ValueError: no such layer" in done.stderr


def test_a_killed_rank_is_named_with_its_signal() -> None:
    done = forked("os.kill(os.getpid(), signal.SIGKILL)", world_size=1)
    assert done.stdout == "rank 0 ended with signal SIGKILL\n"


def test_a_rank_that_hangs_is_ended_in_time() -> None:
    began = time.monotonic()
    done = forked("time.sleep(60)", world_size=1, timeout_s=0.3)
    assert done.stdout == "rank 0 was still running after 0 s\n"
    assert time.monotonic() - began < 10


def test_the_others_do_not_wait_for_a_rank_that_failed(tmp_path: Path) -> None:
    body = f"""
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid())) if os.environ["RANK"] == "0" else sys.exit(3)
    time.sleep(60)
    """
    done = forked(body)
    assert "rank 0 was ended, because another rank failed" in done.stdout
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()
