"""What recording costs over a day: memory and disk of a job of so many steps at level `light`, and what reading it takes.

The steps go through the recorder's own code, one by one; only the clock is made up (a step takes 100 ms) and what torch's flight recorder and the
wait points would report, so that a day takes minutes. `.venv/bin/python -m benchmarks.long_job --steps 864000 --collectives 20 --waits 2`
"""

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import psutil
import torch.distributed as dist

import scaleprof
from scaleprof.collect import recording, session
from scaleprof.collect.watching.flight import FlightRecorder
from scaleprof.collect.written import output

STEP_NS = 100_000_000
PARTS = 8
"""Lines printed about the recording."""
_READ = """
import resource, sys, time
import scaleprof
began = time.process_time()
report = scaleprof.analyze([sys.argv[1]])
for run in report.runs:
    print(*(f"- {caveat}" for caveat in run.caveats), sep="\\n")
print(f"analyze: {time.process_time() - began:.1f} s CPU, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")
"""


class Day:
    """A clock that goes by steps, and what the job of that day communicates."""

    def __init__(self, collectives: int) -> None:
        self.now_ns = time.perf_counter_ns()
        self.unix_ns = time.time_ns() - self.now_ns
        self.collectives = collectives
        self.issued = 0
        self.read = 0

    def install(self) -> None:
        """Put it in the place of the recorder's clock and of torch's flight recorder."""
        clock = types.SimpleNamespace(perf_counter_ns=lambda: self.now_ns, monotonic=lambda: self.now_ns / 1e9)
        session.time = output.time = clock  # type: ignore[attr-defined, assignment]
        FlightRecorder.issued = staticmethod(lambda: self.issued)  # type: ignore[method-assign]
        FlightRecorder.new_entries = self._new_entries  # type: ignore[method-assign, assignment]
        FlightRecorder.is_due = lambda recorder: self.issued - self.read > 1500  # type: ignore[method-assign]

    def _new_entries(self, *_: object) -> list[dict[str, Any]]:
        entries = []
        for number in range(self.read, self.issued):
            late = number // max(self.collectives, 1) * STEP_NS + number % max(self.collectives, 1) * 1_234_567
            entries.append(
                {
                    "collective_seq_id": number, "input_dtypes": ["Float"], "input_sizes": [[1_600_000 + number % 20]], "is_p2p": False,
                    "op_id": number, "output_dtypes": ["Float"], "output_sizes": [[1_600_000 + number % 20]], "p2p_seq_id": 0, "pg_id": 0,
                    "process_group": ["0", "default_pg"], "profiling_name": "gloo:all_reduce", "record_id": number, "retired": True,
                    "state": "scheduled", "thread_id": "140019859557248", "thread_name": "python",
                    "time_created_ns": self.unix_ns + self.start_ns + late, "time_discovered_completed_ns": 0,
                    "time_discovered_started_ns": 0, "timeout_ms": 1_800_000,
                }
            )  # fmt: skip
        self.read = self.issued
        return entries

    def live(self, steps: int, waits: int, folder: Path) -> None:
        """The job."""
        self.start_ns = self.now_ns
        process = psutil.Process()
        with scaleprof.profile(folder, level="light", sample_hz=0):
            current = recording._Process.current
            assert current is not None
            for number in range(steps):
                for place in range(waits):
                    current.on_wait(
                        self.now_ns + place * 20_000_000, 7_000_000 + number % 9973, 5, {"what": "Work.wait"}
                    )
                self.now_ns += STEP_NS
                self.issued += self.collectives
                scaleprof.step(samples=8)
                if number + 1 in {max(1, steps * part // PARTS) for part in range(PARTS + 1)} or number == 1000:
                    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                    print(
                        f"| {number + 1:,} | {process.memory_info().rss / 2**20:,.1f} | {disk / 1e6:,.1f} |", flush=True
                    )


def main() -> None:
    """Record, then analyze in a process of its own, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=864_000)
    parser.add_argument("--collectives", type=int, default=20, help="a step")
    parser.add_argument("--waits", type=int, default=2, help="a step")
    given = parser.parse_args()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    with tempfile.TemporaryDirectory() as place:
        day = Day(given.collectives)
        day.install()
        print("| steps | RSS MB | disk MB |\n| --- | --- | --- |")
        began = time.process_time()
        day.live(given.steps, given.waits, Path(place))
        cost_us = (time.process_time() - began) / given.steps * 1e6
        print(
            f"\n{cost_us:,.0f} us of CPU a step, peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB"
        )
        for stream, files in itertools.groupby(
            sorted(Path(place).glob("*/rank-*/*.jsonl*")), lambda file: file.name.split(".")[0]
        ):
            sizes = [file.stat().st_size for file in files]
            print(f"{stream}: {len(sizes)} segments, {sum(sizes) / 1e6:,.1f} MB")
        print(subprocess.run([sys.executable, "-c", _READ, place], capture_output=True, text=True, check=False).stdout)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
