"""How the combining half grows with the number of ranks: CPU seconds and peak memory of alignment and conclusions, from 64 ranks to 4,096.

The facts of every rank are made by `scaleprof.synth` without trace text and lie on disk; each size is combined in a process of its own.
`.venv/bin/python -m benchmarks.growth --sizes 64 128 256 512 1024` writes `growth.md` beside this file and its picture for the docs.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.growth_chart import drawn, exponent
from benchmarks.measuring import BUILD

STEPS, COLLECTIVES = 100, 200
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
LIMITS_MB = {1024: 2_000, 4096: 6_000}
"""What the project wants."""
HERE = Path(__file__).resolve().parent
PARTS = ("read", "align", "conclude", "replay")
REPLAYED = ("timeline", "critical_path", "whatif")
"""Analyses that work on the graph of a replay, which has at most so many nodes: they take the longest in the middle, and nothing at sizes that it
does not fit."""
_LATE_MS = 5.0


def made(ranks: int, workers: int) -> Path:
    """The run directory of a job of so many ranks, its facts in place of traces; made once, by forked processes that share what was computed."""
    from scaleprof.pipeline import write_facts_of
    from scaleprof.run import RUN_FILE, TRUTH_FILE, write_json
    from scaleprof.synth.records import run_info
    from scaleprof.synth.spec import Spec
    from scaleprof.synth.timeline import simulate
    from scaleprof.synth.truth import write_truth
    from scaleprof.synth.writing import write_rank_facts

    folder = _folder(ranks)
    if (folder / RUN_FILE).exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec = Spec(
        name="ddp", ranks=ranks, steps=STEPS - 1, layers=COLLECTIVES, buckets=COLLECTIVES, kernels_per_layer=1,
        communication_only=True, dialect="oneline2026", compute_ms=100.0, gradient_bytes=4_000_000_000, jitter=0.02, exit_us=3.0,
        alpha_us=0.02, bandwidth_gbps=400.0,  # what the network takes hardly grows with the ranks, so that the late one shows at every size
        late_rank=late_of(ranks), late_ms=_LATE_MS, clock_offset_ms=(0.0, 12.5, -3.0), clock_drift_ppm=(0.0, 2.0),
    )  # fmt: skip
    timeline, children = simulate(spec), []
    for worker in range(workers):
        if not (child := os.fork()):
            for rank in range(worker, ranks, workers):
                write_rank_facts(timeline, rank, folder, write_facts_of)
            os._exit(0)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        raise SystemExit(f"{folder}: the facts could not be written")
    write_truth(timeline, folder / TRUTH_FILE, operations=False)
    write_json(run_info(timeline), folder / RUN_FILE)
    return folder


def late_of(ranks: int) -> int:
    """The rank that is late."""
    return ranks * 2 // 3


def true_waiting(folder: Path) -> float:
    """The share of all steps in which ranks do nothing but wait for others, in truth."""
    from scaleprof.run import TRUTH_FILE

    steps: dict[str, list[int]] = json.loads((folder / TRUTH_FILE).read_text())["steps"]
    return sum(steps["exposed_wait_ns"]) / sum(steps["window_ns"])


def _folder(ranks: int) -> Path:
    return BUILD / "growth" / f"ddp-n{ranks}"


def _run(*words: str) -> bytes:
    """What this script prints in a process of its own, which begins with no more memory than this one has: so nothing large is imported here."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.growth", *words]
    return subprocess.run(command, check=True, capture_output=True, env=environment).stdout


def combined(folder: Path) -> dict[str, Any]:
    """What combining the facts in a folder takes: CPU seconds by stage, peak memory, and what was found."""
    from scaleprof.analyses import ANALYSES
    from scaleprof.pipeline import Options
    from scaleprof.pipeline.facts import facts_of_all, view_of
    from scaleprof.readers import find_runs

    took: dict[str, float] = {}
    [run] = find_runs([folder])
    with _timed("facts", took):
        [facts], _ = facts_of_all([run], Options(engine="serial", use_cache=False), lambda stage, done, total: None)
    start_mb = _peak_mb()
    with _timed("align", took):
        view = view_of(run, facts)
    align_mb = _peak_mb()
    metrics, caveats = {}, []
    for analysis in ANALYSES:
        with _timed(analysis.name, took):
            result = analysis.conclude(view, analysis.options() if analysis.options else None)
        if result is not None:
            metrics |= {metric.id: metric.value for metric in result.metrics}
            caveats += [f"{result.name}: {caveat}" for caveat in result.caveats]
    rows = sum(len(number) for number in view.matching.of_row.values())
    return {
        "ranks": len(view.ranks), "rows": rows, "took": took, "facts_mb": start_mb, "align_mb": align_mb, "peak_mb": _peak_mb(),
        "found": {name: metrics.get(name) for name in ("straggler.rank", "collectives.matched_share", "time.exposed_wait_share")},
        "true_waiting": true_waiting(folder),
        "caveats": caveats,
    }  # fmt: skip


@contextmanager
def _timed(name: str, took: dict[str, float]) -> Iterator[None]:
    began = time.process_time()
    yield
    took[name] = time.process_time() - began


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def table(found: Sequence[dict[str, Any]]) -> str:
    """The table, with what is wanted and how the numbers grow."""
    names = (
        "ranks",
        "rows",
        *(f"{part}, s" for part in PARTS),
        "us a row",
        "facts MB",
        "align MB",
        "peak MB",
        "matched",
        "late rank",
        "waiting, % of the step",
        "in truth, %",
    )
    lines = [f"| {' | '.join(names)} |", "|" + "---:|" * len(names)]
    for one in found:
        seconds = parts(one)
        whole = 1e6 * (seconds["align"] + seconds["conclude"]) / one["rows"]
        sizes = [f"{one[name]:,.0f}" for name in ("facts_mb", "align_mb", "peak_mb")]
        matched = f"{one['found']['collectives.matched_share']:.0%}"
        cells = [
            f"{one['ranks']:,}",
            f"{one['rows']:,}",
            *(f"{value:.1f}" for value in seconds.values()),
            f"{whole:.1f}",
            *sizes,
            matched,
            str(one["found"]["straggler.rank"])
            + (" ✓" if one["found"]["straggler.rank"] == late_of(one["ranks"]) else " ✗"),
            f"{100 * one['found']['time.exposed_wait_share']:.4f}",
            f"{100 * one['true_waiting']:.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    wanted = ", ".join(f"{limit:,} MB at {ranks:,} ranks" for ranks, limit in LIMITS_MB.items())
    lines.append(f"\nWanted: {wanted}. `us a row` is that of aligning and concluding together.")
    if len(found) > 1:
        ranks = [one["ranks"] for one in found]
        grows = {part: exponent(ranks, [parts(one)[part] for one in found]) for part in ("align", "conclude")}
        said = ", ".join(f"{part} as ranks^{power:.2f}" for part, power in grows.items())
        lines.append(f"CPU time grows: {said} (least squares on logarithms, all sizes).")
    return "\n".join(lines) + "\n"


def parts(one: dict[str, Any]) -> dict[str, float]:
    """CPU seconds: of reading the heads of the facts, of alignment, of all conclusions but those that replay, and of these."""
    took: dict[str, float] = one["took"]
    replayed = sum(took[name] for name in REPLAYED)
    rest = sum(value for name, value in took.items() if name not in ("facts", "align", *REPLAYED))
    return dict(zip(PARTS, (took["facts"], took["align"], rest, replayed), strict=True))


def main() -> None:
    """Measure the sizes that are asked for, one after the other."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    asked.add_argument("--workers", type=int, default=2, help="processes that make the facts")
    asked.add_argument("--one", type=Path, help="combine the facts in this folder, and print what that took as JSON")
    asked.add_argument("--make", type=int, help="only make the facts of so many ranks")
    asked.add_argument("--keep", action="store_true", help="keep the facts: 2.7 MB a rank")
    given = asked.parse_args()
    if given.make:
        made(given.make, given.workers)
        return
    if given.one:
        print(json.dumps(combined(given.one)))
        return
    found = []
    for ranks in given.sizes:
        folder = _folder(ranks)
        _run("--make", str(ranks), "--workers", str(given.workers))
        found.append(json.loads(_run("--one", str(folder))))
        print(table(found), flush=True)
        if not given.keep:
            shutil.rmtree(folder)
        (HERE / "growth.json").write_text(json.dumps(found, indent=1) + "\n")
    written()


def written() -> None:
    """Table and picture of what `growth.json` holds."""
    found = json.loads((HERE / "growth.json").read_text())
    said: dict[str, list[str]] = {}
    for one in found:
        for caveat in one["caveats"]:
            said.setdefault(caveat.replace(f"{one['ranks']:,}", "N").replace(str(one["ranks"]), "N"), []).append(
                f"{one['ranks']:,}"
            )
    caveats = "".join(f"- {', '.join(ranks)} ranks: {caveat}\n" for caveat, ranks in said.items())
    picture = "![CPU seconds and memory over ranks](../docs/figures/growth.svg)"
    (HERE / "growth.md").write_text(f"{_HEAD}{table(found)}\n{picture}\n\nWhat the reports say they lack:\n\n{caveats}")
    (HERE.parent / "docs" / "figures" / "growth.svg").write_text(drawn(found, parts))


_HEAD = f"""# How combining grows with the ranks

Facts of every rank on disk, {STEPS} steps of {COLLECTIVES} collectives, data-parallel, one late rank: a row is one rank's part in one collective.
Alignment and every analysis in one process; CPU seconds (user and system), and the kernel's peak memory of that process (`facts MB`: before it
aligns).
Made by `make growth`.

"""

if __name__ == "__main__":
    main()
