"""The emulator of Google Cloud Storage, which here can also take back an upload: ``google_server.py PORT``.

Google answers such a DELETE with status 499. The emulator doesn't know it, and each would be tried again for
half a minute.
"""

from __future__ import annotations

import sys

from gcp_storage_emulator.server import RequestHandler, create_server

_delete = RequestHandler.do_DELETE


def _cancel_or_delete(handler: RequestHandler) -> None:
    if "upload_id=" not in handler.path:
        _delete(handler)
        return
    handler.send_response(499, "Client Closed Request")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


if __name__ == "__main__":
    RequestHandler.do_DELETE = _cancel_or_delete
    create_server("127.0.0.1", int(sys.argv[1]), True).run()
