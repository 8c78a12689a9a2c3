"""Folders below one, held by descriptors: no link leads out of it, not even one that is created meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pixxel_provider.clock import Clock
from pixxel_provider.download.errors import PixxelArchiveError, PixxelDownloadError

# If the system supports it, a folder that may be written but not read can be opened as well.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Seconds between two attempts to lock a folder, and until the last one.
_PAUSE, _LIMIT = 0.1, 300.0


class Folders(contextlib.AbstractContextManager["Folders"]):
    """A folder, and those below it.

    :param root: the folder; its own path may contain links, except in its last step.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._way: list[tuple[str, int]] = [("", os.open(root, _FOLDER))]

    def __exit__(self, *_: object) -> None:
        self._leave(0)

    def open(
        self,
        steps: Sequence[str],
        *,
        make: bool = False,
        made: Callable[[list[str]], None] = lambda steps: None,
    ) -> int:
        """Return a descriptor of the folder at these levels; it is valid until the next call.

        :param make: create missing folders.
        :param made: is called with the levels of each of them.
        :raises PixxelArchiveError: something else is on the way.
        :raises FileNotFoundError: it isn't there, and none is created.
        """
        same = 0
        while same < len(steps) and same + 1 < len(self._way) and self._way[same + 1][0] == steps[same]:
            same += 1
        self._leave(same + 1)
        for count in range(same, len(steps)):
            above, step = self._way[-1][1], steps[count]
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, dir_fd=above)
                    made(list(steps[: count + 1]))
            try:
                self._way.append((step, os.open(step, _FOLDER, dir_fd=above)))
            except FileNotFoundError:
                raise
            except OSError as error:
                # The error for a link depends on the system.
                if not isinstance(error, NotADirectoryError) and not _is_link(step, above):
                    raise
                path = self._root.joinpath(*steps[: count + 1])
                raise PixxelArchiveError(
                    f"{path} is in the way: the package has a folder of that name."
                ) from None
        return self._way[-1][1]

    def _leave(self, count: int) -> None:
        while len(self._way) > count:
            os.close(self._way.pop()[1])


def _is_link(name: str, above: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    return False


@contextlib.contextmanager
def alone(folder: Path, clock: Clock) -> Iterator[None]:
    """Keep other downloads from filling a folder meanwhile, if its file system has locks.

    :param clock: what sleeps while another download is waited for.
    :raises PixxelDownloadError: another download doesn't end.
    """
    with contextlib.ExitStack() as stack:
        # A folder that can't be read, or a file system without locks, isn't locked.
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            _lock(handle, folder, clock)
        yield


def _lock(handle: int, folder: Path, clock: Clock) -> None:
    end = clock.monotonic() + _LIMIT
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() > end:
                raise PixxelDownloadError(
                    f"{folder} can't be written: another task has been writing into it for {_LIMIT:g} s."
                ) from None
            clock.sleep(_PAUSE)
