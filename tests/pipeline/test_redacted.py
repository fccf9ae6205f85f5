"""Facts and traces of a redacted export: in every text that is written from them short names stand for hosts, users and paths."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from scaleprof.align import RankFacts
from scaleprof.pipeline.options import Options
from scaleprof.pipeline.redacted import redacted_facts, redacted_runs, redacted_trace, redaction_of
from scaleprof.redaction import Redaction
from scaleprof.run import Emulated, RankFiles, RankInfo, Run, RunInfo
from scaleprof.trace import UNKNOWN, Blocked, Kind, Tasks, Trace
from tests.making import HOST, Event, Made, Step, make_trace

PLACE = "/data/frobfolder/grumble.bin"
SECRETS = ("quuxnode", "frobfolder", "grumble")
INFO = RankInfo(0, 1, host="quuxnode7.example", device_name="NVIDIA H200 of quuxnode7")


def redaction() -> Redaction:
    made = Redaction([], [])
    made.host(INFO.host)
    return made


def telling() -> Trace:
    """Every text of it names the host or a path."""
    trace = make_trace(Made([Event(HOST, Kind.COLLECTIVE, 0, 10)], [Step(0, 20)], info=INFO))
    one = np.array([0], dtype=np.int64)
    said = f"at quuxnode7 {PLACE}"
    return replace(
        trace,
        names=replace(trace.names, text=(f"load {PLACE}",), category=(f"cat {said}",)),
        lanes=replace(trace.lanes, label=(f"lane {said}", "pt_gloo_runloop")),
        comm=replace(trace.comm, op=(f"op {said}",), dtype=(f"dtype {said}",), group=(f"group {said}",)),
        blocked=Blocked(one, one + 5, (f"what {said}",), (f"op {said}",), np.array([UNKNOWN], dtype=np.int32)),
        tasks=Tasks(one, (f"fit {said}",), one - 1, one, one + 9, one, (f"Error {said}",)),
    )


def texts_of(trace: Trace) -> list[str]:
    names, lanes, comm, blocked, tasks = trace.names, trace.lanes, trace.comm, trace.blocked, trace.tasks
    columns = (
        names.text, names.category, lanes.label, comm.op, comm.dtype, comm.group, blocked.what, blocked.op, tasks.name, tasks.error,
    )  # fmt: skip
    return [text for column in columns for text in column] + [str(trace.info.host), str(trace.info.device_name)]


def test_no_text_of_a_trace_tells_where_it_was_recorded() -> None:
    told = texts_of(redacted_trace(telling(), redaction()))
    assert not [text for text in told if any(secret in text for secret in SECRETS)]
    said = "at host-1 path-1"
    assert told == [
        "load path-1", f"cat {said}", f"lane {said}", "pt_gloo_runloop", f"op {said}", f"dtype {said}", f"group {said}", f"what {said}", f"op {said}",
        f"fit {said}", f"Error {said}", "host-1", "NVIDIA H200 of host-1",
    ]  # fmt: skip


def test_numbers_of_a_trace_stay() -> None:
    before, after = telling(), redacted_trace(telling(), redaction())
    assert after.events == before.events or (after.events.start_ns == before.events.start_ns).all()
    assert after.names.kind.tolist() == before.names.kind.tolist()
    assert after.comm.bytes.tolist() == before.comm.bytes.tolist()
    assert after.tasks.end_ns.tolist() == before.tasks.end_ns.tolist()


def test_facts_have_short_names_of_hosts_and_are_otherwise_the_same() -> None:
    facts: Mapping[int, RankFacts] = {3: RankFacts(replace(INFO, rank=3), {})}
    found = redacted_facts(facts, redaction())
    assert (found[3].info.host, found[3].info.rank) == ("host-1", 3)
    assert facts[3].info.host == INFO.host, "what was given is as it was"


def test_a_run_that_was_given_a_telling_name_loses_it() -> None:
    info = RunInfo("on quuxnode7", 1, emulated=Emulated(f"as in {PLACE}"))
    run = Run(Path("x"), info, {0: RankFiles(0, "recorded", folder=Path("x/rank-00000"))})
    [found] = redacted_runs([run], redaction())
    assert found.info.name == "on host-1"
    assert found.info.emulated is not None and found.info.emulated.what == "as in path-1"
    plain = Run(Path("x"), RunInfo("ddp", 1), {0: RankFiles(0, "recorded", folder=Path("x/rank-00000"))})
    assert redacted_runs([plain], redaction()) == [plain]


def test_nobody_who_did_not_ask_gets_a_redaction() -> None:
    assert redaction_of(["x"], [], Options()) is None
    asked = redaction_of(["/data/frobfolder"], [], Options(redact=True))
    assert asked is not None and asked.text("/data/frobfolder/a.json") == "path-1"
