"""Facts and traces without names of hosts, users, folders and files, where a redacted report or export was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaleprof.align import RankFacts
from scaleprof.pipeline.options import Options
from scaleprof.redaction import Redaction
from scaleprof.remote import AnyPath
from scaleprof.run import RankInfo, Run, RunInfo
from scaleprof.trace import Trace


def redaction_of(paths: Sequence[AnyPath | str], runs: Sequence[Run], options: Options) -> Redaction | None:
    """What is to be taken out of everything on these runs; None where nobody asked for that."""
    if not options.redact:
        return None
    reference = [options.link_reference] if options.link_reference else []
    return Redaction([*paths, *reference], runs, stated=[name for name, _ in options.run_globs])


def redacted_runs(runs: Sequence[Run], redaction: Redaction) -> list[Run]:
    """Runs whose names, and what is said of an emulation, tell nothing of where they were recorded."""
    return [replace(run, info=_info_of_run(run.info, redaction)) for run in redaction.runs(runs)]


def redacted_facts(facts: Mapping[int, RankFacts], redaction: Redaction) -> dict[int, RankFacts]:
    """Facts by rank, with short names for the hosts."""
    return {rank: replace(of_rank, info=_info(of_rank.info, redaction)) for rank, of_rank in facts.items()}


def redacted_trace(trace: Trace, redaction: Redaction) -> Trace:
    """A trace in which no text of events, lanes, operations, waits and tasks tells anything of where it was recorded."""
    names, lanes, comm, blocked, tasks = trace.names, trace.lanes, trace.comm, trace.blocked, trace.tasks

    def told(texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(map(redaction.text, texts))

    return replace(
        trace,
        info=_info(trace.info, redaction),
        names=replace(names, text=told(names.text), category=told(names.category)),
        lanes=replace(lanes, label=told(lanes.label)),
        comm=replace(comm, op=told(comm.op), dtype=told(comm.dtype), group=told(comm.group)),
        blocked=replace(blocked, what=told(blocked.what), op=told(blocked.op)),
        tasks=replace(tasks, name=told(tasks.name), error=told(tasks.error)),
    )


def _info(info: RankInfo, redaction: Redaction) -> RankInfo:
    device = redaction.text(info.device_name) if info.device_name else info.device_name
    return replace(info, host=redaction.host(info.host), device_name=device)


def _info_of_run(info: RunInfo, redaction: Redaction) -> RunInfo:
    emulated = replace(info.emulated, what=redaction.text(info.emulated.what)) if info.emulated else None
    return replace(info, name=redaction.text(info.name), emulated=emulated)
