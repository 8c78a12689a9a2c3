"""Start a server and a worker for one case, and return what the worker measured."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scale.case import Case
from scale.systems import environment

FOLDER = Path(__file__).resolve().parent.parent
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_BUNDLES = ("requests_ca_bundle", "curl_ca_bundle", "ssl_cert_file", "ssl_cert_dir")


def _environment(**more: str) -> dict[str, str]:
    # Byte code must be warm, loopback needs no proxy, and Airflow must not log a line for every request.
    unwanted = {"pythondontwritebytecode", *_PROXIES, *_BUNDLES}
    found = {name: value for name, value in os.environ.items() if name.lower() not in unwanted}
    return {
        **found,
        "NO_PROXY": "*",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "PYTHONPATH": str(FOLDER),
        **more,
    }


def _certificate(file: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback of a benchmark")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


def _last_core() -> None:
    # The worker takes the first one; neither then slows the other down.
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
        os.sched_setaffinity(0, cores[-1:])


@contextlib.contextmanager
def _serving(case: Case, certificate: str) -> Iterator[str]:
    command = [sys.executable, "-m", "scale.server", case.text(), *filter(None, [certificate])]
    process = subprocess.Popen(
        command,
        cwd=FOLDER,
        env=_environment(),
        preexec_fn=_last_core,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield f"127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(30)


def run(case: Case) -> dict[str, float]:
    """Measure one case in fresh processes.

    :raises RuntimeError: the worker failed; its own words are on standard error.
    """
    # Some clients open a connection for every job at once.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard > 0 else soft, hard))
    with tempfile.TemporaryDirectory() as folder:
        ca = ""
        if case.tls:
            ca = str(Path(folder) / "server.pem")
            _certificate(Path(ca))
        with _serving(case, ca) as address:
            trust = {"SSL_CERT_FILE": ca} if ca else {}
            done = subprocess.run(
                [sys.executable, "-m", "scale.worker", case.text(), address],
                cwd=FOLDER,
                env=_environment(**environment(case.system, address, ca), **trust),
                capture_output=True,
                text=True,
                check=False,
                timeout=case.last + 240,
            )
    if done.returncode:
        print(done.stderr[-4_000:], file=sys.stderr)
        raise RuntimeError(f"{case.system} did not end well")
    return json.loads(done.stdout.splitlines()[-1])
