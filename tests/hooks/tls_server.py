"""A small server behind TLS that knows one key, which may change."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_JOB = b'{"id": "job-finished", "workflow_id": "wf-succeeds", "status": "completed"}'


class _Server(http.server.ThreadingHTTPServer):
    key = ""
    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Jobs)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self.url = f"https://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[Any, Any]:
        plain, address = super().get_request()
        return self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, *_: Any) -> None:
        """Keep still about clients that don't trust it."""


class _Jobs(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        known = not self.server.key or self.headers["Authorization"] == f"Bearer {self.server.key}"
        body = _JOB if known else b'{"error": {"message": "who are you?"}}'
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep still."""


@contextlib.contextmanager
def serve_tls(certificate: Path) -> Iterator[_Server]:
    """Serve until the block ends."""
    server = _Server(certificate)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
