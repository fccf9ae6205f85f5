"""Servers on this machine that hold traces: of the web, with every fault that one may have, and of a store that speaks S3."""

import http.server
import logging
import os
import select
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_CHUNK = 1 << 16


@dataclass
class Web:
    """A web server, and how it behaves towards files; each may be changed while it runs."""

    folder: Path
    address: str = ""
    ranges: bool = True
    """Whether it sends parts of files."""
    listing: bool = True
    breaks: Counter[str] = field(default_factory=Counter)
    """By name: so many times the connection breaks in the middle of the file."""
    after_bytes: int = 100_000
    """So far it sends before it breaks the connection."""
    says: dict[str, list[int]] = field(default_factory=dict)
    """By name: the answers that it gives in place of the file, one after the other; the last one stays."""
    delay_s: float = 0.0
    """Before each piece."""
    wants: str = ""
    """An `Authorization` that it insists on."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """What was asked for: method, path, range."""
    sent_bytes: int = 0


class _Handler(http.server.SimpleHTTPRequestHandler):
    web: Web

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        web = self.web
        self.close_connection = True
        web.asked.append((self.command, self.path, self.headers.get("Range", "")))
        path = Path(self.translate_path(self.path))
        answers = web.says.get(path.name, [])
        status = answers.pop(0) if len(answers) > 1 else next(iter(answers), 200)
        if web.wants and self.headers.get("Authorization") != web.wants:
            status = 401
        if status != 200:
            self.send_error(status)
        elif path.is_dir():
            if web.listing:
                super().do_GET() if with_body else super().do_HEAD()
            else:
                self.send_error(403)
        elif path.is_file():
            with suppress(ConnectionError):
                self._send(path, with_body=with_body)
        else:
            self.send_error(404)

    def _send(self, path: Path, *, with_body: bool) -> None:
        web, size, start = self.web, path.stat().st_size, 0
        asked = self.headers.get("Range", "")
        if web.ranges and asked.startswith("bytes="):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(size - start))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        if not with_body:
            return
        left = size - start
        if web.breaks[path.name] > 0:
            web.breaks[path.name] -= 1
            left = min(left, web.after_bytes)
        with path.open("rb") as file:
            file.seek(start)
            while left > 0 and (piece := file.read(min(_CHUNK, left))):
                time.sleep(web.delay_s)
                self.wfile.write(piece)
                web.sent_bytes += len(piece)
                left -= len(piece)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def web_server(folder: Path) -> Iterator[Web]:
    """A web server for what is in a folder."""
    web = Web(folder)

    class Handler(_Handler):
        def __init__(self, *args: Any) -> None:
            self.web = web
            super().__init__(*args, directory=str(folder))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a store that speaks S3, moto's."""
    pytest.importorskip("s3fs", reason="the extra 'remote' is not installed")
    server_of = pytest.importorskip("moto.moto_server.threaded_moto_server", reason="moto is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@contextmanager
def s3_environment(address: str) -> Iterator[None]:
    """The environment in which S3 is that server, for this process and those that it starts."""
    import s3fs

    stated = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "a-secret-key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in stated}
    os.environ.update(stated)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def upload(address: str, folder: Path, where: str) -> None:
    """Put a folder into a bucket: `bucket/traces`."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    bucket, _, below = where.partition("/")
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=bucket)
    for file in sorted(folder.rglob("*") if folder.is_dir() else [folder]):
        if file.is_file():
            name = file.relative_to(folder).as_posix() if folder.is_dir() else file.name
            client.put_object(Bucket=bucket, Key=f"{below}/{name}".strip("/"), Body=file.read_bytes())


@contextmanager
def breaking_proxy(address: str, *, times: int, after_bytes: int) -> Iterator[tuple[str, list[int]]]:
    """A server that hands on to another one and breaks the connection in the middle of long answers, so many times; and how often it did."""
    host, _, port = address.removeprefix("http://").partition(":")
    broken: list[int] = []
    ended = threading.Event()

    class HandOn(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            with socket.create_connection((host, int(port))) as store, suppress(ConnectionError):
                answered = 0
                while not ended.is_set():
                    for source in select.select([client, store], [], [], 0.05)[0]:
                        piece = source.recv(_CHUNK)
                        if not piece:
                            return
                        answered = answered + len(piece) if source is store else 0
                        if answered > after_bytes and len(broken) < times:
                            broken.append(answered)
                            return
                        (client if source is store else store).sendall(piece)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), HandOn) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", broken
        finally:
            ended.set()
            server.shutdown()
            thread.join()


@contextmanager
def ready_to_fetch() -> Iterator[None]:
    """What fetching starts once in a process, before a test looks at what it leaves running."""
    asyn = pytest.importorskip("fsspec.asyn", reason="the extra 'remote' is not installed")
    pytest.importorskip("aiohttp", reason="the extra 'remote' is not installed")
    loop, threads = asyn.get_loop(), ThreadPoolExecutor(1)
    loop.call_soon_threadsafe(loop.set_default_executor, threads)
    threads.submit(int).result()
    yield
