"""A loopback server for four APIs, light enough not to be what is measured: ``python -m scale.server CASE``.

It prints its port, and ends with its standard input. Before ``/_control/begin`` every job has ended, so that
triggers can be warmed up. It counts what it serves, and knows which answers showed a job that was running.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scale.bodies import Answer, Entry
from scale.case import Case, job_id, number_of, workflow_id


@dataclass
class Counters:
    """What was served since the beginning."""

    requests: int = 0
    waiting: int = 0
    """Requests that were of no news: lists, and single jobs that hadn't ended."""
    connections: int = 0
    sent: int = 0
    """Bytes of heads and bodies, before TLS."""
    began: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)


class Jobs:
    """The jobs of a case and what each API says of them."""

    def __init__(self, case: Case) -> None:
        self._ends = case.ends()
        self._workflows = case.workflows
        self._began: float | None = None
        self._answers = {
            api: (Answer(api, case.tasks, ended=False), Answer(api, case.tasks, ended=True))
            for api in ("pixxel", "dbt_cloud", "fivetran", "plain")
        }
        self._running, self._ended = Entry(ended=False), Entry(ended=True)
        self._old = [
            ",".join(self._ended.text(job_id(10**9 + n), workflow_id(workflow), 100) for n in range(case.old))
            for workflow in range(case.workflows)
        ]

    def begin(self) -> float:
        """Let time begin; return the moment."""
        self._began = time.monotonic()
        return self._began

    def _progress(self, number: int) -> int:
        if self._began is None:
            return 100
        return min(int((time.monotonic() - self._began) / self._ends[number] * 100), 100)

    def one(self, api: str, number: int) -> tuple[bytes, bool]:
        """Return the answer about one job, and whether that job has ended."""
        progress = self._progress(number)
        ended = progress == 100
        names = (job_id(number), workflow_id(number % self._workflows))
        return self._answers[api][ended].body(number, *names, progress), ended

    def all(self, workflow: int, only: int | None = None) -> bytes:
        """Return Pixxel's list of a workflow's jobs, or of the one that is asked for."""
        name = workflow_id(workflow)
        entries = [self._old[workflow]] if self._old[workflow] and only is None else []
        numbers = range(workflow, len(self._ends), self._workflows)
        for number in numbers if only is None else (only,):
            progress = self._progress(number)
            entry = self._ended if progress == 100 else self._running
            entries.append(entry.text(job_id(number), name, progress))
        return f'{{"jobs":[{",".join(entries)}]}}'.encode()


class Server:
    """Routes and counts."""

    def __init__(self, case: Case) -> None:
        self._jobs = Jobs(case)
        self._counters = Counters()

    def connected(self) -> None:
        """Count a connection that carries a request."""
        self._counters.connections += 1

    def control(self, path: str) -> bytes:
        """Begin, or tell what was counted."""
        if path == "/_control/begin":
            self._counters = Counters(began=self._jobs.begin())
            return json.dumps({"began": self._counters.began}).encode()
        found = asdict(self._counters)
        busy = (time.process_time() - self._counters.cpu) / (time.monotonic() - self._counters.began)
        return json.dumps({**found, "busy": busy}).encode()

    def answer(self, path: str) -> bytes:
        """Return the whole response to a GET."""
        path, _, query = path.partition("?")
        ended = False
        match path.strip("/").split("/"):
            case ["v0", "workflows", workflow, "jobs"]:
                only = number_of(query) if query.startswith("id=") else None
                body = self._jobs.all(number_of(workflow), only)
            case ["v0", "workflows", _, "jobs", job]:
                body, ended = self._jobs.one("pixxel", number_of(job))
            case ["api", "v2", "accounts", _, "runs", number]:
                body, ended = self._jobs.one("dbt_cloud", int(number))
            case ["v1", "connectors", connector]:
                body, ended = self._jobs.one("fivetran", number_of(connector))
            case ["plain", job]:
                body, ended = self._jobs.one("plain", number_of(job))
            case _:
                raise ValueError(f"nobody should ask for {path}")
        response = with_head(body)
        self._counters.requests += 1
        self._counters.waiting += not ended
        self._counters.sent += len(response)
        return response


def with_head(body: bytes) -> bytes:
    """Return a body with its head."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


class Protocol(asyncio.Protocol):
    """Just enough HTTP/1.1: GET without a body, kept alive until the client closes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            if path.startswith("/_control/"):
                self._transport.write(with_head(self._server.control(path)))
                continue
            if not self._counted:
                self._counted = True
                self._server.connected()
            self._transport.write(self._server.answer(path))


async def serve(case: Case, certificate: Path | None) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = Server(case)
    listening = await loop.create_server(lambda: Protocol(server), "127.0.0.1", 0, ssl=context, backlog=4_096)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Case.read(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
