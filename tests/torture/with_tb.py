"""Run by the Python that has torch-tb-profiler: reads requests on standard input, writes its answers, as JSON. Knows nothing of this project.

A request is {"name": ..., "folder": ...}; the answer has by worker, in us of a step, what its distributed view shows: compute, overlap,
communication that nothing hides, other; and data transfer and synchronizing.
"""

import contextlib
import json
import logging
import sys


def _answer(request: dict) -> dict:  # type: ignore[type-arg]
    from torch_tb_profiler import io
    from torch_tb_profiler.profiler.loader import RunLoader

    said: dict = {"name": request["name"]}  # type: ignore[type-arg]
    try:
        run = RunLoader(request["name"], request["folder"], io.Cache()).load()
        views = [one for one in run.profiles.values() if getattr(one, "steps_to_overlap", None)]
        if not views:
            said["failed"] = "it shows no distributed view"
            return said
        said["overlap"] = views[0].steps_to_overlap["data"]["all"]
        said["wait"] = views[0].steps_to_wait["data"]["all"]
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is its answer
        said["failed"] = f"{type(error).__name__}: {error}"
    return said


def _main() -> None:
    logging.disable(logging.CRITICAL)
    requests = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        answers = [_answer(request) for request in requests]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    _main()
