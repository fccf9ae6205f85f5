"""How events are spelled: the layouts byte by byte, and that all say the same."""

import json
from typing import Any

import pytest

from scaleprof.synth.dialects import DIALECTS, Event, around, mark_of_array, rendered

KERNEL: Event = {
    "ph": "X",
    "cat": "kernel",
    "name": "gemm",
    "pid": 0,
    "tid": 7,
    "ts": 12.5,
    "dur": 3,
    "args": {"External id": 1, "queued": 0, "device": 0, "context": 1, "stream": 7, "grid": [1, 2, 3]},
}
FLOW: Event = {"ph": "f", "id": 5, "pid": 0, "tid": 7, "ts": 1, "cat": "ac2g", "name": "ac2g", "bp": "e"}
LABEL: Event = {"name": "thread_name", "ph": "M", "ts": 0, "pid": 1, "tid": 2, "args": {"name": "stream 7 "}}
MARK: Event = {"name": "Record Window End", "ph": "i", "s": "g", "pid": "", "tid": "", "ts": 9}
EVENTS = [KERNEL, FLOW, LABEL, MARK]
METADATA: dict[str, Any] = {
    "schemaVersion": 1,
    "deviceProperties": [{"id": 0, "name": "GPU"}],
    "distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 1},
    "host_name": "a",
    "scaleprof_synthetic": True,
    "traceName": "t.json",
    "displayTimeUnit": "ms",
    "baseTimeNanoseconds": 1,
}

NATIVE = """
{
  "schemaVersion": 1,
  "deviceProperties": [
    {
      "id": 0, "name": "GPU"
    }
  ],
  "distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 1},
  "host_name": "a",
  "scaleprof_synthetic": true,
  "traceEvents": [
  {
    "ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7,
    "ts": 12.5, "dur": 3,
    "args": {
      "External id": 1,
      "queued": 0,
      "device": 0, "context": 1,
      "stream": 7,
      "grid": [1, 2, 3]
    }
  },
  {
    "ph": "f", "id": 5, "pid": 0, "tid": 7, "ts": 1,
    "cat": "ac2g", "name": "ac2g", "bp": "e"
  },
  {
    "name": "thread_name", "ph": "M", "ts": 0, "pid": 1, "tid": 2,
    "args": {
      "name": "stream 7 "
    }
  },
  {
    "name": "Record Window End", "ph": "i", "s": "g",
    "pid": "", "tid": "",
    "ts": 9
  }
  ],
  "traceName": "t.json",
  "displayTimeUnit": "ms",
  "baseTimeNanoseconds": 1
}
"""
ONE_KEY_A_LINE = """\
  {
    "ph": "X",
    "cat": "kernel",
    "name": "gemm",
    "pid": 0,
    "tid": 7,
    "ts": 12.5,
    "dur": 3
    ,
    "args": {
      "External id": 1,
      "queued": 0,
      "device": 0, "context": 1,
      "stream": 7,
      "grid": [1, 2, 3]
    }
  },
  {
    "ph": "f",
    "id": 5,
    "pid": 0,
    "tid": 7,
    "ts": 1,
    "cat": "ac2g",
    "name": "ac2g"
    , "bp": "e"
  },
  {
    "ph": "M",
    "name": "thread_name",
    "ts": 0,
    "pid": 1,
    "tid": 2,
    "args": {
      "name": "stream 7 "
    }
  },
  {
    "ph": "i",
    
    "s": "g",
    "name": "Record Window End",
    "pid": "",
    "tid": "",
    "ts": 9
    
  }"""  # noqa: W293


def written(name: str, events: list[Event] = EVENTS) -> str:
    dialect = DIALECTS[name]
    head, tail = around(METADATA, dialect)
    return head + dialect.between.join(rendered(event, dialect) for event in events) + tail


def test_the_layout_of_torch_for_years() -> None:
    assert written("native") == NATIVE


def test_the_layout_of_torch_since_2026() -> None:
    text = written("oneline2026")
    assert ONE_KEY_A_LINE in text
    assert text.startswith(' {\n    "schemaVersion": 1,\n')
    assert text.endswith('\n  ],"traceName": "t.json" }')
    assert text.index('"baseTimeNanoseconds"') < text.index('"traceEvents"')


@pytest.mark.parametrize("name", [name for name in DIALECTS if name not in ("old2022", "array")])
def test_every_dialect_says_the_same(name: str) -> None:
    content = json.loads(written(name))
    assert content.pop("traceEvents") == EVENTS
    since_1970 = DIALECTS[name].clock == "epoch"
    left_out = {"displayTimeUnit", "baseTimeNanoseconds"} if since_1970 else set()
    assert content == {key: value for key, value in METADATA.items() if key not in left_out}


def test_files_that_were_saved_again() -> None:
    assert "\n" not in written("compact")
    assert '": ' not in written("compact")
    assert written("orjson").startswith('{"traceEvents":[{"ph":"X",')
    assert written("sorted").startswith('{"baseTimeNanoseconds": 1, "deviceProperties": ')
    assert '{"args": {"External id": 1, "context": 1,' in written("sorted")
    assert '\n    {\n      "ph": "X",\n' in written("indent")
    assert '"grid": [\n          1,\n' in written("indent")
    assert json.loads(written("array")) == EVENTS


def test_a_bare_list_is_marked_by_an_event() -> None:
    first = json.loads(written("array", [mark_of_array("0"), KERNEL]))[0]
    assert (first["name"], first["ph"]) == ("scaleprof_synthetic", "M")


def test_the_words_of_2022() -> None:
    told = {
        **KERNEL,
        "args": {**KERNEL["args"], "Collective name": "allreduce", "Seq": 4, "Process Group Ranks": "[0]"},
    }
    kernel, flow, *_ = json.loads(written("old2022", [told, FLOW]))["traceEvents"]
    assert (kernel["cat"], kernel["tid"]) == ("Kernel", "stream 7")
    assert kernel["args"] == {"external id": 1, "queued": 0, "device": 0, "context": 1, "stream": 7, "grid": [1, 2, 3]}
    assert (flow["cat"], flow["name"], flow["bp"]) == ("async", "launch", "e")
    mirror = {**KERNEL, "cat": "gpu_user_annotation"}
    told_on_host = {**KERNEL, "cat": "cpu_op", "name": "record_param_comms"}
    assert not rendered(mirror, DIALECTS["old2022"])
    assert not rendered(told_on_host, DIALECTS["old2022"])
    assert {key for key in json.loads(written("old2022")) if "ime" in key or "host" in key} == set()
