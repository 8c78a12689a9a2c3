"""Downloads: packages that take a while, the signed URLs they are served at, and byte ranges."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import itertools
import json
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlencode

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pixxel_provider.simulator.injector import TRANSPORT
from pixxel_provider.simulator.packages import OF_WHOLE_ANSWERS, Content, PackagePlan
from pixxel_provider.simulator.render import Problem, http_date
from pixxel_provider.simulator.routing import FILES, file_id, file_owner
from pixxel_provider.simulator.timeline import SimulatedJob
from pixxel_provider.simulator.world import World

_SINGLE_RANGE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.ASCII | re.IGNORECASE)


class Downloads:
    """The packages of a world's jobs. Signatures hold until the server ends."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._secret = secrets.token_bytes(32)
        self._asks = itertools.count(1)

    def ask(self, job: SimulatedJob, task_id: str | None, base_url: str) -> tuple[str, str]:
        """Status and signed URL: first ``pending`` and no URL, then what the package's plan says.

        Every ask gives another URL.
        """
        if not self.world.package(job, task_id):
            return "pending", ""
        plan = self.world.package_plan(job.id, task_id)
        if plan.status != "ready":
            return plan.status, ""
        named = file_id(job.workflow_id, job.id, task_id)
        expires, ask = f"{self.world.clock.now() + plan.lifetime:.3f}", str(next(self._asks))
        query = urlencode({"expires": expires, "ask": ask, "signature": self._sign(named, expires, ask)})
        return "ready", f"{base_url.rstrip('/')}{FILES}/{quote(named, safe='')}?{query}"

    async def serve(self, named: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """The package or the part of it that the headers ask for.

        Raises Problem 403 for a wrong signature or one that has expired, 416 for a part outside of it.
        """
        signed = [query.get(name, "") for name in ("expires", "ask")]
        given = query.get("signature", "").encode("utf-8", "replace")
        if not hmac.compare_digest(self._sign(named, *signed).encode(), given):
            raise Problem(403, "the signature of this URL is wrong")
        if self.world.clock.now() >= float(signed[0]):
            raise Problem(403, "this URL has expired")
        owner = file_owner(named)
        job, task_id = self.world.job(owner["workflow_id"], owner["job_id"]), owner.get("task_id")
        plan = self.world.package_plan(job.id, task_id)
        content = plan.body(lambda: _zip(self.world, job, task_id))
        # In a thread: the hash of a large package takes longer than anybody else should wait.
        checksum = await asyncio.to_thread(plan.checksum_header, content)
        ended = self.world.state(job).ended or 0.0
        return _answer(plan, content, checksum, http_date(job.created_at + ended), headers)

    def _sign(self, named: str, expires: str, ask: str) -> str:
        text = f"{named}\n{expires}\n{ask}".encode("utf-8", "replace")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


class _Part(Response):
    """A part of some content, sent as it is made, and only as long as somebody is there to get it."""

    def __init__(self, content: Content, start: int, end: int, status: int, headers: dict[str, str]) -> None:
        super().__init__(None, status, {**headers, "content-length": str(end - start)})
        self._chunks: Iterator[memoryview] = content.chunks(start, end)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for chunk in self._chunks:
            if scope[TRANSPORT].is_closing():
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0)  # a fast client never makes the server wait; others want a turn too
        await send({"type": "http.response.body", "body": b""})


def _answer(
    plan: PackagePlan, content: Content, checksum: dict[str, str], modified: str, asked: Mapping[str, str]
) -> Response:
    headers = {
        "content-type": plan.content_type,
        "content-disposition": f'attachment; filename="{plan.filename}"',
        "accept-ranges": "bytes" if plan.ranges else "none",
        "last-modified": modified,
    }
    if plan.etag:
        headers["etag"] = f'"{hashlib.sha256(content.identity.encode()).hexdigest()[:32]}"'
    condition = asked.get("if-range")
    part = None
    if plan.ranges and condition in (None, headers.get("etag"), modified):
        part = wanted_part(asked.get("range"), content.size)
    if part is None:
        return _Part(content, 0, content.size, 200, {**headers, **checksum})
    headers.update({name: value for name, value in checksum.items() if name not in OF_WHOLE_ANSWERS})
    headers["content-range"] = f"bytes {part[0]}-{part[1] - 1}/{content.size}"
    return _Part(content, *part, 206, headers)


def _zip(world: World, job: SimulatedJob, task_id: str | None) -> bytes:
    """One JSON file per task that is in the package. The same job always gives the same bytes."""
    chosen = None if task_id is None else world.task_number(job, task_id)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, task in enumerate(world.state(job).tasks, start=1):
            if chosen in (None, number) and task.status == "completed":
                name = f"{number}-{task.plan.name.lower().replace(' ', '-')}.json"
                archive.writestr(zipfile.ZipInfo(name), json.dumps(dict(task.plan.result), indent=2))
    return file.getvalue()


def wanted_part(text: str | None, size: int) -> tuple[int, int] | None:
    """First byte, and the one after the last, of a single range; None where all is to be sent.

    That is so without a header, and for one that can't be understood or holds several ranges, which a server
    may ignore. Raises Problem 416 where no byte of what there is lies within the range.
    """
    found = _SINGLE_RANGE.fullmatch(text or "")
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
        if found[2] and end <= start:
            return None  # the last byte before the first: no range at all
    if start >= size:
        raise Problem(416, f"{text} is outside of {size} bytes", headers={"content-range": f"bytes */{size}"})
    return start, min(end, size)
