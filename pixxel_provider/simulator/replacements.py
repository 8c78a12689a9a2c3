"""What is sent instead of the API's own answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

from starlette.types import Scope, Send

from pixxel_provider.simulator.faults import CHUNK, Fault
from pixxel_provider.simulator.problems import CODES, envelope
from pixxel_provider.simulator.routing import header

_HTML = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1><p>{1}</p></body></html>\n"
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{0}</Code><Message>{1}</Message></Error>\n'
_NESTED: Any = {
    "id": {"id": []},
    "workflow_id": 7,
    "status": {"status": ["running", {"status": None}]},
    "progress": [[[]]],
    "cost": "many",
    "tasks": {"0": {"tasks": [None, 1, "task"]}},
    "val_errors": "none",
    "spec": {"spec": -1},
    "created_at": 0,
    "finished_at": [],
    "jobs": {"jobs": 3},
    "workflows": 1,
    "projects": None,
    "pagination": [],
    "estimated_cost": {},
    "signed_url": [],
    "error": {"code": [], "message": {"message": 1}, "details": [[{}]]},
}


async def send_replacement(fault: Fault, scope: Scope, send: Send) -> None:
    """Answer with what the fault says instead of the API's own answer."""
    redirects = fault.location is not None
    status = fault.status if fault.status is not None else (302 if redirects else 200)
    chosen = fault.body
    if chosen is None and not fault.has_json:
        chosen = "envelope" if status >= 400 else "none"
    if chosen == "echo" and fault.status is None:
        status = 401
    kind, chunks, size = _body(fault, chosen, status, scope)
    headers = [(b"content-length", str(size).encode())] if status != 204 else []
    if size:
        headers.append((b"content-type", kind.encode()))
    if fault.retry_after is not None:
        headers.append((b"retry-after", _retry_after(fault.retry_after).encode("latin-1", "replace")))
    if fault.location is not None:
        headers.append((b"location", fault.location.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _body(fault: Fault, chosen: str | None, status: int, scope: Scope) -> tuple[str, Iterator[bytes], int]:
    """Content type, chunks and size of the answer."""
    message = fault.message or f"this answer is a fault of the simulator ({status})"
    if chosen == "huge":
        return _huge(int(fault.megabytes * 1024 * 1024))
    if chosen == "none" or status in (204, 304):
        return "", iter(()), 0
    if chosen == "html":
        return _whole("text/html; charset=utf-8", _HTML.format(f"Error {status}", message))
    if chosen == "xml":
        return _whole("application/xml", _XML.format(CODES.get(status, "error"), message))
    if chosen == "plain":
        return _whole("text/plain; charset=utf-8", message + "\n")
    if chosen == "deep":
        return _whole("application/json", "[" * 100_000 + "]" * 100_000)
    if chosen == "echo":
        sent = header(scope, "authorization")
        message = f"{fault.message or 'the key was not accepted'}: Authorization: {sent}"
        content = envelope(status, message, {"headers": {"Authorization": sent}}, fault.code)
    elif chosen is None:
        content = fault.json
    else:
        contents: dict[str, Any] = {"null": None, "list": [{}, [], None, "job", 1], "nested": _NESTED}
        content = contents[chosen] if chosen in contents else envelope(status, message, None, fault.code)
    return _whole("application/json", json.dumps(content))


def _whole(kind: str, text: str) -> tuple[str, Iterator[bytes], int]:
    raw = text.encode("utf-8", "replace")
    return kind, iter((raw,)), len(raw)


def _huge(size: int) -> tuple[str, Iterator[bytes], int]:
    head, tail = b'{"padding":"', b'"}'
    padding = max(0, size - len(head) - len(tail))

    def chunks() -> Iterator[bytes]:
        yield head
        for start in range(0, padding, CHUNK):
            yield b"x" * min(CHUNK, padding - start)
        yield tail

    return "application/json", chunks(), len(head) + padding + len(tail)


def _retry_after(text: str) -> str:
    """The header's value: as given, or the HTTP date (``date+5``) or Unix time (``unix+5``) in 5 s."""
    prefix, plus, seconds = text.partition("+")
    if prefix not in ("date", "unix") or not plus:
        return text
    try:
        moment = time.time() + float(seconds)
        return formatdate(moment, usegmt=True) if prefix == "date" else str(round(moment))
    except (ValueError, OverflowError):
        return text
