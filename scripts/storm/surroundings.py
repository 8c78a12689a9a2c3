"""What surrounds the cluster in a storm, on this machine: Pixxel, the way to it, and a secrets backend."""

from __future__ import annotations

import contextlib
import http.server
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_airflow import AirflowTrouble
from local_cluster import Cluster
from local_pixxel import Pixxel
from terminal import Screen, Stopped, stop_on_signals

# Of all answers of Pixxel but those to the request that is billed: its faults are planned run by run.
READS = "get_job list_jobs get_workflow estimate_cost download_job download_file".split()
MIX: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.10, {"status": 503}),
    (0.05, {"status": 429, "retry_after": 2}),
    (0.02, {"drop": "reset"}),
    (0.005, {"truncate": 100}),
    (0.005, {"status": 200, "body": "html"}),
    (0.05, {"latency": 2.0}),
)


def add_mix(pixxel: Pixxel) -> None:
    """Let a share of all reads go wrong from now on."""
    faults = [
        {"route": route, "share": share, "times": 0, **fault} for route in READS for share, fault in MIX
    ]
    pixxel.control("POST", "/faults", faults)


def measure_loops(cluster: Cluster) -> None:
    """Let the triggerers measure their event loops, before they start."""
    for name in ("triggerer-1", "triggerer-2"):
        cluster.own_settings[name] = {"AIRFLOW_MAIN": str(Path(__file__).with_name("triggerer.py"))}


def to_the_end(run: Callable[[contextlib.ExitStack, Screen], int]) -> int:
    """Run a command whose stack ends all that it started, whatever happens; return its exit code."""
    screen = Screen()
    stop_on_signals()
    try:
        with contextlib.ExitStack() as stack:
            return run(stack, screen)
    except Stopped as stopped:
        screen.line("Stopped; all that was started has ended.")
        return 128 + stopped.number
    except AirflowTrouble as error:
        screen.line(screen.paint(f"error: {error}", "red"))
    return 1


class Relay:
    """A port that leads to another one, until it is closed: a host that moves or can't be reached."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Let nobody through, and refuse connections, from now on."""
        self._wanted = False
        self._thread.join()

    def open(self) -> None:
        """Let everybody through, again."""
        server = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port, self._wanted = server.getsockname()[1], True
        self._thread = threading.Thread(target=self._run, args=(server,), daemon=True, name="relay")
        self._thread.start()

    def _run(self, server: socket.socket) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        with selectors.DefaultSelector() as ready, server:
            ready.register(server, selectors.EVENT_READ)
            while self._wanted:
                for key, _ in ready.select(0.1):
                    with contextlib.suppress(OSError):
                        if key.fileobj is server:
                            self._accept(server, ready, peers)
                        elif not _pass_on(key.fileobj, peers):
                            self._hang_up(ready, peers, key.fileobj)
            for each in list(peers):
                self._hang_up(ready, peers, each)

    def _accept(
        self, server: socket.socket, ready: selectors.BaseSelector, peers: dict[socket.socket, socket.socket]
    ) -> None:
        client, _ = server.accept()
        try:
            pixxel = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        for one, other in ((client, pixxel), (pixxel, client)):
            one.settimeout(5)
            peers[one] = other
            ready.register(one, selectors.EVENT_READ)

    @staticmethod
    def _hang_up(ready: selectors.BaseSelector, peers: dict[socket.socket, Any], one: Any) -> None:
        for each in (one, peers.pop(one, None)):
            if each is not None and each.fileno() >= 0:
                ready.unregister(each)
                each.close()
                peers.pop(each, None)


def _pass_on(one: Any, peers: dict[socket.socket, socket.socket]) -> bool:
    """Pass on what has come; False where the connection is over."""
    if one not in peers:
        return True  # closed since it was selected
    try:
        data = one.recv(65_536)
        peers[one].sendall(data)
    except OSError:
        return False
    return bool(data)


class VaultServer:
    """Connections by their id, for `secrets_backend.Vault`; it can go away and come back."""

    def __init__(self) -> None:
        self.connections: dict[str, dict[str, Any]] = {}
        self.away = False
        self.reads = 0
        vault = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                vault.reads += 1
                if vault.away:
                    # As a service behind a load balancer that has nobody left.
                    time.sleep(0.2)
                    self.connection.close()
                    return
                found = vault.connections.get(self.path.strip("/"))
                body = json.dumps(found or {}).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def finish(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True, name="vault").start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
