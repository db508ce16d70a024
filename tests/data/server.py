"""An HTTP server on loopback that misbehaves on request. It is a real one: sockets and a thread."""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Resource:
    """A file and what goes wrong with it; lists are used up, one entry per request."""

    body: bytes
    etag: str | None = '"first"'
    modified: str | None = None
    ranges: bool = True
    if_range: bool = True  # False: sends 206 even if the file has changed
    length: bool = True  # False: no Content-Length, the connection's end is the end
    rate: float | None = None  # bytes per second
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)  # close the connection after so many bytes
    silences: list[float] = field(default_factory=list)  # seconds before the answer
    wrong_start: bool = False  # answers Range with another range


@dataclass
class Asked:
    path: str
    range: str | None
    if_range: str | None
    encoding: str | None
    status: int


class Server:
    """``with Server({"/a.zip": Resource(b"...")}) as server: server.url, server.asked``."""

    def __init__(self, resources: dict[str, Resource]):
        self.resources = resources
        self.asked: list[Asked] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "Server":
        self.thread.start()
        return self

    def __exit__(self, *error) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(10)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        resource = self.resources.get(handler.path)
        asked = handler.headers.get("Range")
        start, status, extra = 0, 200, {}
        if resource is None:
            status = 404
        elif resource.statuses:
            status, extra = resource.statuses.pop(0)
        elif asked and resource.ranges:
            condition = handler.headers.get("If-Range")
            same = condition in (None, resource.etag, resource.modified)
            if same or not resource.if_range:
                start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
                if start >= len(resource.body):
                    status = 416
        if resource is not None and resource.silences:
            time.sleep(resource.silences.pop(0))
        about = (handler.path, asked, handler.headers.get("If-Range"))
        self.asked.append(Asked(*about, handler.headers.get("Accept-Encoding"), status))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._send(handler, resource, status, start, extra)

    def _send(self, handler, resource, status, start, extra) -> None:
        body = resource.body[start:] if status in (200, 206) else b"no"
        handler.send_response(status)
        for name, value in extra.items():
            handler.send_header(name, value)
        if status in (200, 206):
            if resource.etag:
                handler.send_header("ETag", resource.etag)
            if resource.modified:
                handler.send_header("Last-Modified", resource.modified)
            if resource.ranges:
                handler.send_header("Accept-Ranges", "bytes")
        if status == 206:
            first = start + 1 if resource.wrong_start else start
            total = len(resource.body)
            handler.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        if resource is None or resource.length:
            handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        if status not in (200, 206):
            handler.wfile.write(body)
            return
        if resource.drops:
            self._write(handler, body[: resource.drops.pop(0)], resource.rate)
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        self._write(handler, body, resource.rate)

    def _write(self, handler, body: bytes, rate: float | None) -> None:
        step = len(body) or 1 if rate is None else max(1, int(rate / 50))
        for at in range(0, len(body), step):
            handler.wfile.write(body[at : at + step])
            handler.wfile.flush()
            if rate is not None:
                time.sleep(1 / 50)
