"""Folders below one, held by descriptors: no link leads out of it, also one that is planted meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from pixxel_provider.download.errors import PixxelArchiveError, PixxelDownloadError

# Where the system has it, a folder that may be written and not read can be opened as well.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Seconds between two tries to have a folder alone, and until that is given up.
_PAUSE, _PATIENCE = 0.1, 300.0


class Folders:
    """A folder, and those below it.

    :param root: the folder, whose own path may hold links, but for its last step.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._way: list[tuple[str, int]] = [("", os.open(root, _FOLDER))]

    def __enter__(self) -> Folders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(0)

    def open(self, steps: Sequence[str], made: Callable[[list[str]], None] | None = None) -> int:
        """Return a descriptor of the folder that lies so many steps down; it is good until the next call.

        :param made: makes missing folders, and is told the steps of each.
        :raises PixxelArchiveError: something else lies on the way.
        :raises FileNotFoundError: it isn't there, and none is made.
        """
        same = 0
        while same < len(steps) and same + 1 < len(self._way) and self._way[same + 1][0] == steps[same]:
            same += 1
        self._leave(same + 1)
        for count in range(same, len(steps)):
            above, step = self._way[-1][1], steps[count]
            if made is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, dir_fd=above)
                    made(list(steps[: count + 1]))
            try:
                self._way.append((step, os.open(step, _FOLDER, dir_fd=above)))
            except NotADirectoryError:
                raise self.in_the_way(steps[: count + 1]) from None
            except OSError as error:
                # What a link is called depends on the system.
                if isinstance(error, FileNotFoundError) or not _is_link(step, above):
                    raise
                raise self.in_the_way(steps[: count + 1]) from None
        return self._way[-1][1]

    def in_the_way(self, steps: Sequence[str]) -> PixxelArchiveError:
        """Return the error that something lies where the package has a folder."""
        return PixxelArchiveError(
            f"{self._root.joinpath(*steps)} is in the way: the package has a folder of that name."
        )

    def _leave(self, count: int) -> None:
        while len(self._way) > count:
            os.close(self._way.pop()[1])


def _is_link(name: str, above: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    return False


@contextlib.contextmanager
def alone(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Keep other downloads from filling a folder meanwhile, where its file system has locks.

    :param check: is called while another one is waited for.
    :raises PixxelDownloadError: another one doesn't end.
    """
    with contextlib.ExitStack() as stack:
        # A folder that can't be read, or a file system without locks, does without.
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            _lock(handle, folder, check)
        yield


def _lock(handle: int, folder: Path, check: Callable[[], None]) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            check()
            if time.monotonic() > until:
                raise PixxelDownloadError(
                    f"{folder} can't be written: another task has been writing into it for {_PATIENCE:g} s."
                ) from None
            time.sleep(_PAUSE)
