"""Answers within the limit of size that would take long to read, or much memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

MIB = 2**20


def job_of(tasks: bytes, **fields: Any) -> bytes:
    start = json.dumps({"id": "j", "workflow_id": "w", "status": "completed", **fields})[:-1]
    return start.encode() + b',"tasks":[' + tasks + b'],"progress":100}'


TASK = b'{"id":"task","name":"cloud mask","status":"completed","progress":100,"err_msg":"%s"}'

HOSTILE: dict[str, Callable[[], bytes]] = {
    "30 MiB of empty tasks": lambda: job_of(b",".join([b"{}"] * (10 * MIB))),
    "3 MiB with 150,000 tasks": lambda: job_of(b",".join([b'{"name":"a task"}'] * 150_000)),
    "28 MiB with 300,000 tasks": lambda: job_of(b",".join([TASK % (b"x" * 14)] * 300_000)),
    "300,000 validation errors": lambda: job_of(b"", val_errors=[{"err": "e"}] * 300_000),
    "lists in lists": lambda: job_of(b"[" * 190_000 + b"]" * 190_000),
    "lists beside lists": lambda: job_of(b",".join([b"[]"] * 190_000)),
    "two million names": lambda: job_of(
        b"{%s}" % b",".join(b'"%d":1' % number for number in range(1_900_000))
    ),
    "four million numbers": lambda: job_of(b",".join([b"1"] * 3_900_000)),
    "one long text": lambda: job_of(b'{"err_msg":"%s"}' % (b"x" * 31 * MIB)),
    "nothing but escapes": lambda: job_of(b'{"err_msg":"%s"}' % (b"\\n" * 15 * MIB)),
}
