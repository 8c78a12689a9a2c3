"""What a download of 2 GiB costs beside ``curl -o`` from the same server to the same disk: rate and memory.

Ours hashes with sha256 and forces the file to the disk before it has its name; curl does neither, and where
the disk is slower than the network it is done when the system's memory has the file. So there is a row for
curl with the same promise, too. The server and each client are processes of their own; the clients take
turns, so that a disk that slows down slows all.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROUNDS = 5
SIZE = 2 * 1024**3
BLOCK = 4 * 1024**2


# ------------------------------------------------------------------------------------------- in the server


def serve() -> None:
    """Answer a request for a package with a signed URL, and that with SIZE bytes, as fast as can be."""
    block = os.urandom(BLOCK)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection, block), daemon=True).start()


def answer(connection: socket.socket, block: bytes) -> None:
    with connection, contextlib.suppress(OSError):
        while head := read_head(connection):
            if head.startswith(b"PUT"):
                host = f"http://127.0.0.1:{connection.getsockname()[1]}"
                body = json.dumps({"id": "j", "status": "ready", "signed_url": f"{host}/file?s=1"}).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                continue
            connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n' % SIZE)
            for _ in range(SIZE // BLOCK):
                connection.sendall(block)


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(65536)
        if not part:
            return b""
        head += part
    return head


# ------------------------------------------------------------------------------------------- in the client


def download(url: str, destination: str) -> None:
    """Run the operator once; print the seconds and by how many MiB the process has grown at its peak."""
    os.environ["AIRFLOW_CONN_PIXXEL_DEFAULT"] = json.dumps(
        {"conn_type": "pixxel", "host": url, "password": "key"}
    )
    from pixxel_provider.operators.download import PixxelDownloadJobOperator

    class TaskInstance:
        def xcom_push(self, **_: Any) -> None:
            pass

    operator = PixxelDownloadJobOperator(
        task_id="download", workflow_id="w", job_id="j", destination=destination, deferrable=False
    )
    before = peak()
    started = time.perf_counter()
    found = operator.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    seconds = time.perf_counter() - started
    assert found["bytes"] == SIZE
    print(json.dumps({"seconds": seconds, "growth": peak() - before}))


def peak() -> float:
    """Return the peak of this process's memory so far, in MiB."""
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


# ----------------------------------------------------------------------------------------------- in between


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Start the server, and stop it afterwards."""
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait(30)


def ours(url: str, destination: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run(
        [sys.executable, __file__, "download", url, str(destination)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def on_disk(url: str, destination: Path) -> float:
    """Return the seconds that the baseline takes until what it wrote would outlive a loss of power."""
    seconds = baseline(url, destination)
    started = time.perf_counter()
    with destination.open("rb+") as file:
        os.fsync(file.fileno())
    return seconds + time.perf_counter() - started


def baseline(url: str, destination: Path) -> float:
    """Return the seconds that curl takes, or where it is missing a loop that only reads and writes."""
    started = time.perf_counter()
    if curl := shutil.which("curl"):
        subprocess.run([curl, "--silent", "--fail", "-o", str(destination), f"{url}/file"], check=True)
        return time.perf_counter() - started
    host, _, port = url.removeprefix("http://").partition(":")
    buffer = memoryview(bytearray(1024**2))
    with socket.create_connection((host, int(port))) as connection, destination.open("wb", 0) as file:
        connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        left = SIZE
        head = connection.recv(65536).partition(b"\r\n\r\n")[2]
        left -= file.write(head)
        while left > 0:
            left -= file.write(buffer[: connection.recv_into(buffer)])
    return time.perf_counter() - started


def main() -> dict[str, float]:
    """Print the medians, their ratio and the peak of memory."""
    name = "curl -o" if shutil.which("curl") else "a bare loop (curl isn't installed)"
    synced = f"{name}, fsync"
    rates: dict[str, list[float]] = {"ours": [], synced: [], name: []}
    grown: list[float] = []
    with running() as url, tempfile.TemporaryDirectory(dir=Path(__file__).resolve().parent) as folder:
        target = Path(folder) / "package"
        for number in range(ROUNDS + 1):
            found = ours(url, target)
            target.unlink()
            seconds = {"ours": found["seconds"]}
            for label, client in ((synced, on_disk), (name, baseline)):
                seconds[label] = client(url, target)
                target.unlink()
            if number == 0:
                # The first round warms byte code and the disk's free blocks.
                continue
            for label, took in seconds.items():
                rates[label].append(SIZE / 1024**2 / took)
            grown.append(found["growth"])
    print(f"Download of {SIZE / 1024**3:.0f} GiB over loopback, {ROUNDS} rounds in turn, MiB/s:")
    for label, values in rates.items():
        print(f"  {label:16} {statistics.median(values):6.0f}   {min(values):.0f} to {max(values):.0f}")
    durable, plain = (
        statistics.median(a / b for a, b in zip(rates["ours"], rates[label], strict=True))
        for label in (synced, name)
    )
    print(
        f"  ours / {synced}: {durable:.2f} (aim: at least 0.8); ours / {name}: {plain:.2f}; "
        f"memory grew by {max(grown):.1f} MiB (aim: below 32)"
    )
    return {
        "download_ratio": round(durable, 3),
        "download_ratio_unsynced": round(plain, 3),
        "download_growth_mib": round(max(grown), 1),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["download"]:
        download(*sys.argv[2:4])
    else:
        main()
