"""Traces that torch.profiler wrote on its own, without this project's recorder: from the files of a rank to its Trace."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scaleprof.intervals import EMPTY
from scaleprof.readers.assemble import Draft, assemble
from scaleprof.readers.base import Columns
from scaleprof.readers.groups import with_groups_of
from scaleprof.readers.kineto.facts import facts_in
from scaleprof.readers.kineto.kineto import read_columns
from scaleprof.readers.windows import Windows, annotated_windows, stretches
from scaleprof.run import RankFiles, RankInfo
from scaleprof.trace import Samples, Steps, Trace

_VERSIONS = ("cuda_runtime_version", "cuda_driver_version", "cupti_version", "hip_runtime_version", "roctracer_version")


def read_foreign(files: RankFiles, own: Sequence[str] = ()) -> Trace:
    """One rank's Trace from Kineto files alone; `own` are the user's patterns of names that communicate."""
    columns = read_columns(files.traces)
    facts = facts_in(columns.metadata, files.traces[0])
    draft = assemble(columns, facts.process_groups, own=own)
    windows = whole_steps(annotated_windows(draft, stretches(columns)), columns)
    info, caveats, extra = rank_info(files, columns, draft), columns.caveats, columns.extra
    del columns  # the facts are measured without what the trace does not need
    return trace_of(info, draft, windows, caveats=caveats, extra=extra)


def trace_of(
    info: RankInfo, draft: Draft, windows: Windows, *, caveats: Sequence[str], extra: Mapping[str, int]
) -> Trace:
    """The Trace of a profiler's file, which holds neither counters nor waits; `caveats` and `extra` are those of reading it."""
    return Trace(
        info=info,
        names=draft.names,
        lanes=draft.lanes,
        events=windows.events,
        comm=draft.comm,
        copies=draft.copies,
        operations=draft.operations,
        stream_waits=draft.stream_waits,
        steps=windows.steps,
        samples=Samples(np.zeros(0, dtype=np.int64), {}),
        waits=EMPTY,
        caveats=(*caveats, *windows.caveats),
        step_source=windows.source,
        extra={**extra, **windows.extra},
    )


def whole_steps(windows: Windows, columns: Columns) -> Windows:
    """The steps outside of files that are cut off: kernels stand behind the operators of all steps, so what is missing may belong to any."""
    lost = np.isin(columns.file, tuple(columns.cut_off))
    if not lost.any() or not len(windows.steps):
        return windows
    start, end = columns.start_ns[lost], columns.start_ns[lost] + columns.dur_ns[lost]
    kept = (windows.steps.host_end_ns <= start.min()) | (windows.steps.host_start_ns >= end.max())
    row = np.full(len(kept) + 1, -1, dtype=np.int32)
    row[:-1][kept] = np.arange(int(kept.sum()))
    columns_of_steps = {
        field.name: getattr(windows.steps, field.name)[kept] for field in dataclasses.fields(windows.steps)
    }
    return dataclasses.replace(
        windows,
        steps=Steps(**columns_of_steps),
        events=dataclasses.replace(windows.events, step=row[windows.events.step]),
        caveats=("the steps of the file that is cut off are left out: any of them may have lost events",),
    )


def rank_info(files: RankFiles, columns: Columns, draft: Draft) -> RankInfo:
    """What the trace says about its process."""
    facts = facts_in(columns.metadata, files.traces[0])
    on_device = bool((draft.lanes.device >= 0).any())
    pids = Counter(key.pid for key in columns.lanes if not key.on_device and isinstance(key.pid, int))
    return RankInfo(
        rank=files.rank,
        world_size=max(facts.world_size or 1, files.rank + 1),
        host=facts.host,
        pid=pids.most_common(1)[0][0] if pids else facts.pid,
        device=_device(columns) if on_device else "cpu",
        device_name=facts.device_name if on_device else None,
        backend=facts.backend,
        framework="pytorch",
        process_groups=with_groups_of(facts.process_groups, columns.notes.values(), facts.world_size),
        versions=_versions(columns.metadata),
    )


def _device(columns: Columns) -> str:
    """What torch calls the accelerator; ROCm's is `cuda`, too."""
    families = {category.split("_")[0] for category, _ in columns.names}
    return next((family for family in ("mtia", "xpu") if family in families), "cuda")


def _versions(metadata: Mapping[str, Any]) -> dict[str, str]:
    info = metadata.get("distributedInfo")
    nccl = info.get("nccl_version") if isinstance(info, dict) else None
    known = {key.removesuffix("_version"): str(metadata[key]) for key in _VERSIONS if metadata.get(key)}
    return {**known, "nccl": str(nccl)} if nccl else known
