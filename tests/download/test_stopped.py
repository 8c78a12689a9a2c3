"""A download that is given up between any two of its steps leaves nothing, and is no success."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest

from tests.download.archives import made
from tests.download.hosting import Host
from tests.loopback import reply
from tests.support import run_python

MEMBERS = {"a.txt": b"a", "deep/b.txt": b"bb"}
ZIP = made({**MEMBERS, "empty/": b""})
# Where a download goes, and how many of its steps change a disk at the least.
KINDS = {
    "file": 2,
    "new folder": 6,
    "empty folder": 6,
    "folder with files": 8,
    "store": 6,
    "file in a store": 2,
}

# What Airflow 3 does: SIGTERM calls on_kill, and the task goes on. The signal comes right before a step that
# changes a disk: before the first one, then once more from the beginning and before the second, and so on.
SCRIPT = textwrap.dedent("""
    import json, os, shutil, signal, sys
    from pathlib import Path

    from fsspec.implementations.local import LocalFileSystem
    from pixxel_provider.download.collector import Collector
    from pixxel_provider.download.local_disk import LocalTarget
    from pixxel_provider.download.signed_url import SignedUrl
    from pixxel_provider.download.object_store import StoreTarget
    from tests.download.archives import everything
    from tests.download.hosting import settings_for
    from tests.support import RecordingLog

    origin, url, base, *kinds = sys.argv[1:]
    base = Path(base)
    collector, count, strike = None, 0, 0

    def strikes(event, arguments):
        global count
        opened = event == "open" and (arguments[2] or 0) & os.O_CREAT
        if strike and (opened or event in ("os.rename", "os.mkdir")):
            count += 1
            if count == strike:
                os.kill(os.getpid(), signal.SIGTERM)

    def begun(kind):
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir()
        if kind in ("empty folder", "folder with files"):
            (base / "out").mkdir()
        if kind == "folder with files":
            (base / "out" / "other").write_text("other")
        if "store" in kind:
            return StoreTarget(LocalFileSystem(auto_mkdir=True), str(base / "x" / "out"), "store://x/out")
        return LocalTarget(base / "out")

    def there(kind):
        # File systems with folders make them for what is stored.
        return sorted(name for name, content in everything(base).items() if content or "store" not in kind)

    def run(kind, attempt):
        global collector, count, strike
        place = begun(kind)
        before = there(kind)
        collector = Collector(settings=settings_for(origin), renew=None, log=RecordingLog())
        count, strike = 0, attempt
        try:
            (collector.into_file if "file" in kind.split() else collector.into_folder)(SignedUrl(url), place)
            ended = "success"
        except BaseException as error:
            ended = f"{type(error).__name__}: {error}"
        struck, strike = 0 < attempt <= count, 0
        print(json.dumps([kind, struck, ended, sorted(set(there(kind)) ^ set(before))]))
        return struck

    signal.signal(signal.SIGTERM, lambda number, frame: collector.cancellation.give_up())
    sys.addaudithook(strikes)
    for kind in kinds:
        run(kind, 0)
        attempt = 1
        while run(kind, attempt):
            attempt += 1
""")


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """How each run ended: kind, whether the signal came, the error, and what is new."""
    base = tmp_path_factory.mktemp("stopped") / "base"
    with Host(*[reply(body=ZIP)] * 400) as host:
        printed = run_python(SCRIPT, host.origin, host.url, str(base), *KINDS)
    return [json.loads(line) for line in printed.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_download_that_is_given_up_before_any_step_changes_nothing_and_fails(
    endings: list[list[Any]], kind: str
) -> None:
    struck = [each[2:] for each in endings if each[:2] == [kind, True]]
    assert len(struck) >= KINDS[kind]
    expected = ["PixxelDownloadError: The download was given up, as its task was stopped.", []]
    assert [each for each in struck if each != expected] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_download_succeeds_where_it_isnt_given_up(endings: list[list[Any]], kind: str) -> None:
    unhurt = [each[2:] for each in endings if each[:2] == [kind, False]]
    assert len(unhurt) == 2
    for ended, new in unhurt:
        assert ended == "success"
        files = [name for name in new if "." in name]
        assert len(files) == (0 if "file" in kind.split() else len(MEMBERS)), new
        assert new
