"""Run by the Python that has HTA: reads requests on standard input, writes its answers, as JSON. Knows nothing of this project.

A request is {"name": ..., "files": {rank: path}}; the answer has by rank compute, idle and overlap in percent, and the ranks that may be stragglers.
"""

import contextlib
import json
import logging
import sys


def _answer(request: dict) -> dict:  # type: ignore[type-arg]
    from hta.trace_analysis import TraceAnalysis

    files = {int(rank): path for rank, path in request["files"].items()}
    said: dict = {"name": request["name"]}  # type: ignore[type-arg]
    try:
        trace = TraceAnalysis(trace_files=files, trace_dir="/", include_last_profiler_step=True)
        times = trace.get_temporal_breakdown(visualize=False)
        said["compute"] = dict(zip(times["rank"].tolist(), times["compute_time_pctg"].tolist(), strict=True))
        said["idle"] = dict(zip(times["rank"].tolist(), times["idle_time_pctg"].tolist(), strict=True))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is its answer
        said["failed"] = f"{type(error).__name__}: {error}"
        return said
    for what, of in (("overlap", _overlap), ("stragglers", _stragglers)):
        try:
            said[what] = of(trace)
        except Exception as error:  # noqa: BLE001
            said[f"{what} failed"] = f"{type(error).__name__}: {error}"
    return said


def _overlap(trace) -> dict:  # type: ignore[no-untyped-def,type-arg]
    table = trace.get_comm_comp_overlap(visualize=False)
    shares = dict(zip(table["rank"].tolist(), table["comp_comm_overlap_pctg"].tolist(), strict=True))
    return {rank: None if value != value else value for rank, value in shares.items()}  # NaN is no JSON


def _stragglers(trace) -> list:  # type: ignore[no-untyped-def,type-arg]
    return [int(rank) for rank in trace.get_potential_stragglers(num_candidates=1)]


def _main() -> None:
    logging.disable(logging.CRITICAL)
    requests = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        answers = [_answer(request) for request in requests]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    _main()
