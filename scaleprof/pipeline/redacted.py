"""Facts and traces without names of hosts, users, folders and files, where a redacted report or export was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaleprof.align import RankFacts
from scaleprof.pipeline.options import Options
from scaleprof.redaction import Redaction
from scaleprof.remote import AnyPath
from scaleprof.run import RankInfo, Run
from scaleprof.trace import Trace


def redaction_of(paths: Sequence[AnyPath | str], runs: Sequence[Run], options: Options) -> Redaction | None:
    """What is to be taken out of everything on these runs; None where nobody asked for that."""
    if not options.redact:
        return None
    reference = [options.link_reference] if options.link_reference else []
    return Redaction([*paths, *reference], runs, stated=[name for name, _ in options.run_globs])


def redacted_facts(facts: Mapping[int, RankFacts], redaction: Redaction) -> dict[int, RankFacts]:
    """Facts by rank, with short names for the hosts."""
    return {rank: replace(of_rank, info=_info(of_rank.info, redaction)) for rank, of_rank in facts.items()}


def redacted_trace(trace: Trace, redaction: Redaction) -> Trace:
    """A trace whose events, lanes and groups have names that tell nothing of where it was recorded."""
    names, lanes, comm = trace.names, trace.lanes, trace.comm
    return replace(
        trace,
        info=_info(trace.info, redaction),
        names=replace(names, text=tuple(map(redaction.text, names.text))),
        lanes=replace(lanes, label=tuple(map(redaction.text, lanes.label))),
        comm=replace(comm, group=tuple(map(redaction.text, comm.group))),
    )


def _info(info: RankInfo, redaction: Redaction) -> RankInfo:
    return replace(info, host=redaction.host(info.host))
