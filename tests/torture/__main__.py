"""`python -m tests.torture [--seeds N] [--quick]` prints the table of `README.md` beside this file; `--peers` that of `PEERS.md`."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from scaleprof.engine import cores, map_processes
from tests.torture import table
from tests.torture.cases import matrix, quick
from tests.torture.peers import compared, record_overlap, traces_folder
from tests.torture.scoring import Outcome, outcome

SEEDS = 2
_EVERY_S = 10.0


def main() -> int:
    """Run what was asked for; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="230 jobs each")
    parser.add_argument("--quick", action="store_true", help="only the jobs of the tests")
    parser.add_argument("--peers", action="store_true", help="HTA and torch-tb-profiler on the same files instead")
    parser.add_argument("--only", default="", help="jobs whose name contains this, as `ddp+pp, pause, 5%%`")
    given = parser.parse_args()
    os.environ["SCALEPROF_CACHE"] = "0"
    if given.peers:
        return _peers()
    cases = [case for case in (quick() if given.quick else matrix(given.seeds)) if given.only in case.name]
    outcomes: list[Outcome] = []
    shown = began = time.monotonic()
    for _, one in map_processes(outcome, cases, workers=cores()):
        outcomes.append(one)
        if time.monotonic() - shown > _EVERY_S or len(outcomes) == len(cases):
            shown = time.monotonic()
            sys.stderr.write(f"{len(outcomes)} of {len(cases)} jobs, {shown - began:.0f} s\n")
    outcomes.sort(key=lambda one: cases.index(one.case))
    _say("## What was found", table.by_fault(outcomes), table.by_strategy(outcomes))
    _say("## How far the numbers are off", table.errors(outcomes))
    _say("## What was not judged as it must be", table.failures(outcomes))
    return 0


def _peers() -> int:
    with tempfile.TemporaryDirectory() as folder:
        answers = compared(Path(folder))
    _say(table.beside(answers))
    _say("Where a tool gave no answer:", table.why_nothing(answers))
    traces = traces_folder()
    if traces is not None:
        record_overlap(traces)
    return 0


def _say(*parts: str) -> None:
    sys.stdout.write("\n\n".join(parts) + "\n\n")


if __name__ == "__main__":
    sys.exit(main())
