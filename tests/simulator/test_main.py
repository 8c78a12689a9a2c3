from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from pixxel_provider.simulator.__main__ import main
from tests.simulator.client import JOBS, wait_for

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "pixxel_provider.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_answers_and_exits_with_0(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready"
    ready.write_text("http://127.0.0.1:1\n")
    process = start(
        "--port", "0", "--key", "mine", "--key", "yours", "--ready-file", str(ready), "--log-level", "info"
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        found = re.fullmatch(r"Pixxel simulator at (http://127\.0\.0\.1:\d+)\n", lines[0])
        assert found, lines
        url = found[1]
        session = requests.Session()  # its connection stays open
        answers = []
        for key in ("mine", "Bearer yours", "simulator-key"):
            answer = session.get(f"{url}{JOBS}?status=x", headers={"Authorization": key}, timeout=10)
            answers.append(answer.status_code)
        wait_for(lambda: ready.read_text() == url + "\n")
    finally:
        code, _, err = stop(process, number)
    session.close()
    assert answers == [200, 200, 401]
    assert lines[1] == "API key: mine, yours\n"
    export, assignment = shlex.split(lines[2])
    name, _, value = assignment.partition("=")
    assert (export, name) == ("export", "AIRFLOW_CONN_PIXXEL_DEFAULT")
    assert json.loads(value) == {"conn_type": "pixxel", "host": url, "password": "mine"}
    assert code == 0, err
    assert f"GET {JOBS}?status=x: 200" in err
    assert "mine" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "route=nope,status=500"], "route: must be one of get_job"),
        (["--speed", "0"], "speed must be"),
        (["--speed", "fast"], "--speed"),
        (["--bytes", "hex"], "--bytes"),
        (["--port", "70000"], "70000 is not a port"),
        (["--port", "http"], "--port"),
        (["--seed", "x"], "--seed"),
        (["--jobs", "every=0"], "every"),
        (["--jobs", "every=9,workflow=nowhere"], "nowhere"),
        (["--control", "nobody"], "--control"),
        (["--key", ""], "key"),
        (["--ready-file", "no/such/folder/ready"], "no folder"),
    ],
)
def test_a_bad_option_is_named(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixxel_provider.simulator import server

    def refuse(host: str, port: int) -> socket.socket:
        raise OSError("nothing should listen")

    monkeypatch.setattr(server, "listen", refuse)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_a_taken_port_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    assert f"can't listen on 127.0.0.1:{port}" in capsys.readouterr().err


def run_without(absent: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        f"import sys; sys.modules[{absent!r}] = None\n"
        "from pixxel_provider.simulator.__main__ import main\n"
        f"sys.exit(main({arguments!r}))"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)


@pytest.mark.parametrize("absent", ["fastapi", "uvicorn"])
def test_without_the_extra_it_names_what_to_install(absent: str) -> None:
    found = run_without(absent, "--port", "0")
    assert found.returncode == 2
    assert found.stderr.strip().endswith("pip install 'airflow-provider-pixxel[simulator]'")
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize("absent", ["fastapi", "starlette", "uvicorn"])
def test_help_needs_no_extra_and_explains_faults(absent: str) -> None:
    found = run_without(absent, "--help")
    assert found.returncode == 0, found.stderr
    assert "route=get_job,status=503,retry_after=2,times=3" in found.stdout
    assert max(map(len, found.stdout.split("faults:")[1].splitlines())) <= 110
