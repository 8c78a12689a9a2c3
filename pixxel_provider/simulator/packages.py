"""Download packages: prepared after a while, served to whoever holds the signed URL, for a while."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import secrets
import zipfile
from urllib.parse import quote, urlencode

from starlette.responses import Response

from pixxel_provider.simulator.jobs import SimulatedJob
from pixxel_provider.simulator.problems import Problem
from pixxel_provider.simulator.routing import FILES
from pixxel_provider.simulator.world import World

LIFETIME_SECONDS = 900


class Packages:
    """The packages of a world's jobs. Signatures hold until the server ends."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._secret = secrets.token_bytes(32)

    def ask(self, job: SimulatedJob, task_id: str | None, base_url: str) -> tuple[str, str]:
        """Status and signed URL: first ``pending`` and no URL, ``ready`` after the plan's package_seconds."""
        if not self.world.package(job, task_id):
            return "pending", ""
        file_id = json.dumps([job.workflow_id, job.id, task_id], separators=(",", ":"))
        expires = str(int(self.world.clock.now()) + LIFETIME_SECONDS)
        query = urlencode({"expires": expires, "signature": self._sign(file_id, expires)})
        return "ready", f"{base_url.rstrip('/')}{FILES}/{quote(file_id, safe='')}?{query}"

    def serve(self, file_id: str, expires: str, signature: str) -> Response:
        """The package as a small zip. Raises Problem 403 for a wrong signature or one that has expired."""
        if not hmac.compare_digest(
            self._sign(file_id, expires).encode(), signature.encode("utf-8", "replace")
        ):
            raise Problem(403, "the signature of this URL is wrong")
        if self.world.clock.now() >= int(expires):
            raise Problem(403, "this URL has expired")
        workflow_id, job_id, task_id = json.loads(file_id)
        content = _zip(self.world, self.world.job(workflow_id, job_id), task_id)
        headers = {"content-disposition": 'attachment; filename="package.zip"'}
        return Response(content, media_type="application/zip", headers=headers)

    def _sign(self, file_id: str, expires: str) -> str:
        text = f"{file_id}\n{expires}".encode("utf-8", "replace")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


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
