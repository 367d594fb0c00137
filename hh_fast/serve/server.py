"""Serves a site from memory over http or https, with a thread per connection."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import logging
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from hh_fast.errors import UsageError

logger = logging.getLogger(__name__)

POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"  # as in index.html, for other hosts
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
REQUEST_S = 10  # for the handshake, and between parts of a request
CHUNK_BYTES, CHUNK_S = 1 << 16, 20  # slower clients are disconnected
MAX_PACKED_RATIO = 0.9  # the runtime compresses to a third, a model's weights do not


class _Handler(http.server.BaseHTTPRequestHandler):
    server: "SiteServer"
    server_version, sys_version = "hh_fast", ""
    error_content_type, error_message_format = "text/plain", "%(code)d %(message)s\n"

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

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        body = self.server.files.get(name)
        if body is None:
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return
        tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        if self.headers.get("If-None-Match") == tag:
            self._send(http.HTTPStatus.NOT_MODIFIED, {"ETag": tag})
            return
        headers = {"Content-Type": TYPES[PurePosixPath(name).suffix], "ETag": tag}
        if name in self.server.packed and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = self.server.packed[name]
            headers["Content-Encoding"] = "gzip"
        self._send(http.HTTPStatus.OK, headers | {"Content-Length": str(len(body))}, body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        logger.debug("%s %s", self.client_address[0], format % args)


class SiteServer(http.server.ThreadingHTTPServer):
    """Serves `files` by exact path, to GET and HEAD, until closed: over https with a `context`, else over http."""

    request_queue_size = 256

    def __init__(self, host: str, port: int, files: Mapping[str, bytes], context: ssl.SSLContext | None = None):
        """Raises `UsageError` if it cannot listen on `host` and `port`."""
        self.files, self.context = files, context
        packed = {name: gzip.compress(body, compresslevel=1) for name, body in files.items()}
        self.packed = {name: body for name, body in packed.items() if len(body) < MAX_PACKED_RATIO * len(files[name])}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as e:
            if e.errno == errno.EADDRINUSE:
                raise UsageError(f"port {port} is used by another program: choose another (--port, --http_port)") from e
            raise UsageError(f"`host` must be an address of this machine. Received: {host} ({e})") from e

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serves in a thread while the block runs."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's own thread, including the handshake, so that a stalled client does not block others."""
        request.settimeout(REQUEST_S)
        if self.context is None:
            super().finish_request(request, client_address)
            return
        secure = self.context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(secure, client_address)
        finally:
            self.shutdown_request(secure)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Disconnected or slow clients are not errors of this server; all else is."""
        error = sys.exc_info()[1]
        show = logger.debug if isinstance(error, OSError) else logger.exception
        show("%s: %s", client_address[0], error)
