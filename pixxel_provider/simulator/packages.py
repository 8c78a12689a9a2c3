"""Download packages: prepared after a while, served to whoever holds the signed URL, for a while."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import itertools
import json
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlencode

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pixxel_provider.simulator.content import Content
from pixxel_provider.simulator.hanging_up import TRANSPORT
from pixxel_provider.simulator.jobs import SimulatedJob
from pixxel_provider.simulator.package_plans import OF_WHOLE_ANSWERS, PackagePlan
from pixxel_provider.simulator.problems import Problem
from pixxel_provider.simulator.ranges import UnsatisfiableError, wanted_part
from pixxel_provider.simulator.render import http_date
from pixxel_provider.simulator.routing import FILES, file_id, file_owner
from pixxel_provider.simulator.world import World


class Packages:
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
        plan = self.world.package_plans.of(job.id, task_id)
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
        plan = self.world.package_plans.of(job.id, task_id)
        content = plan.body(lambda: _zip(self.world, job, task_id))
        # In a thread: the hash of a large package takes longer than anybody else should wait.
        checksum = await asyncio.to_thread(plan.checksum_header, content)
        return _answer(plan, content, checksum, http_date(self.world.finished_at(job)), headers)

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
    plan: PackagePlan,
    content: Content,
    checksum: tuple[str, str] | None,
    modified: str,
    asked: Mapping[str, str],
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
        try:
            part = wanted_part(asked.get("range"), content.size)
        except UnsatisfiableError as error:
            raise Problem(416, str(error), headers={"content-range": f"bytes */{content.size}"}) from error
    if checksum is not None and not (part and checksum[0] in OF_WHOLE_ANSWERS):
        headers[checksum[0]] = checksum[1]
    if part is None:
        return _Part(content, 0, content.size, 200, headers)
    start, end = part
    headers["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
    return _Part(content, start, end, 206, headers)


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
