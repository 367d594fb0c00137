"""Hands a site out of memory over http and https, on one port, and lets no client hold it up."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import io
import ipaddress
import logging
import re
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from hh_fast.errors import UsageError

logger = logging.getLogger(__name__)

POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"  # as in index.html, which other hosts hand out alone
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tflite": "application/octet-stream",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
MAX_CONNECTIONS = 128
REQUEST_S = 10  # for the handshake, and again for all of the request
CHUNK_BYTES, CHUNK_S = 1 << 16, 20  # a client slower than that is let go
WORTH_PACKING = 0.9  # the runtime shrinks to a third, a model's weights do not
TLS_HANDSHAKE = b"\x16"  # the first byte of a client that speaks TLS
SAFE_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)


class _UntilDeadline(io.RawIOBase):
    """What a socket receives, all of it before one moment, however slowly it drips."""

    def __init__(self, connection: socket.socket, seconds: float):
        self.connection, self.end = connection, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: "SiteServer"
    server_version, sys_version = "hh_fast", ""
    error_content_type, error_message_format = "text/plain", "%(code)d %(message)s\n"

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_UntilDeadline(self.connection, REQUEST_S))

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def _send(self, code: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.connection.settimeout(CHUNK_S)
        for start in range(0, len(body), CHUNK_BYTES):
            self.wfile.write(body[start : start + CHUNK_BYTES])

    def _must_redirect(self) -> bool:
        """Plain http where https is offered is for this machine alone: browsers trust that as they trust https."""
        is_plain = self.server.context is not None and not isinstance(self.connection, ssl.SSLSocket)
        return is_plain and not ipaddress.ip_address(self.client_address[0]).is_loopback

    def do_GET(self) -> None:
        self.server.request_was_read(self.client_address)
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        body = self.server.files.get(name)
        if self._must_redirect():
            host = self.headers.get("Host", "")
            if not SAFE_HOST.fullmatch(host):
                self.send_error(http.HTTPStatus.BAD_REQUEST)
            else:
                self._send(http.HTTPStatus.TEMPORARY_REDIRECT, {"Location": f"https://{host}/", "Content-Length": "0"})
        elif body is None:
            self.send_error(http.HTTPStatus.NOT_FOUND)
        elif self.headers.get("If-None-Match") == self.server.tags[name]:
            self._send(http.HTTPStatus.NOT_MODIFIED, {"ETag": self.server.tags[name]})
        else:
            headers = {"Content-Type": TYPES[PurePosixPath(name).suffix], "ETag": self.server.tags[name]}
            if name in self.server.packed and "gzip" in self.headers.get("Accept-Encoding", ""):
                body = self.server.packed[name]
                headers["Content-Encoding"] = "gzip"
            self._send(http.HTTPStatus.OK, headers | {"Content-Length": str(len(body))}, body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        logger.debug("%s %s", self.client_address[0], format % args)


class SiteServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves `files` by their exact paths, to GET and HEAD, until closed.

    Each connection is one request in a thread of its own, its handshake too. Where all `MAX_CONNECTIONS` are taken, the
    one that has waited longest with its request gives way.
    """

    daemon_threads, block_on_close = True, False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], files: Mapping[str, bytes], context: ssl.SSLContext | None):
        """Raises `UsageError` where `address` cannot be listened at."""
        self.files, self.context = files, context
        packed = {name: gzip.compress(body, compresslevel=1) for name, body in files.items()}
        self.packed = {name: body for name, body in packed.items() if len(body) < WORTH_PACKING * len(files[name])}
        self.tags = {name: f'W/"{hashlib.sha256(body).hexdigest()[:32]}"' for name, body in files.items()}
        self.lock = threading.Lock()
        self.num_connections = 0
        self.waiting: dict[Any, socket.socket] = {}  # by client, those that have not sent a whole request, oldest first
        try:
            super().__init__(address, _Handler)
        except (OSError, OverflowError) as e:
            if getattr(e, "errno", None) == errno.EADDRINUSE:
                raise UsageError(
                    f"`port` must be free. Received: {address[1]}, which another program uses; choose another"
                ) from e
            raise UsageError(
                f"`host` and `port` must be this machine's. Received: {address[0]} {address[1]} ({e})"
            ) from e

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def request_was_read(self, client_address: Any) -> None:
        with self.lock:
            self.waiting.pop(client_address, None)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            if self.num_connections >= MAX_CONNECTIONS:
                if not self.waiting:
                    self.shutdown_request(request)
                    return
                oldest = self.waiting.pop(next(iter(self.waiting)))
                with contextlib.suppress(OSError):  # its thread finds the end, and ends; or has ended by now
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)
            self.num_connections += 1
            self.waiting[client_address] = request
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.lock:
                self.num_connections -= 1
                self.waiting.pop(client_address, None)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(REQUEST_S)
        if self.context is None or request.recv(1, socket.MSG_PEEK) != TLS_HANDSHAKE:
            super().finish_request(request, client_address)
            return
        secure = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with self.lock:
            if client_address in self.waiting:
                self.waiting[client_address] = secure
        try:
            secure.do_handshake()
            super().finish_request(secure, client_address)
        finally:
            self.shutdown_request(secure)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that breaks off, or is too slow, is no fault of ours; anything else is."""
        error = sys.exc_info()[1]
        show = logger.debug if isinstance(error, OSError) else logger.exception
        show("%s: %s", client_address[0], error)
