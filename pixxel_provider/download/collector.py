"""From a signed URL to a file or a folder: whether it is already there, and otherwise how it is stored."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixxel_provider.api.messages import Log
from pixxel_provider.connection import Settings
from pixxel_provider.download.archive import Archive, Limits, Member
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.destination import Place
from pixxel_provider.download.existing import is_present
from pixxel_provider.download.local_disk import LocalFile, LocalFolder, LocalTarget, hidden_name
from pixxel_provider.download.progress import size
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_client import StorageClient
from pixxel_provider.download.transfer import RETRY_FOR, Received, Sink, Transfer
from pixxel_provider.download.unpack import Unpacked, unpack_into_folder, unpack_into_store

#: The most bytes of paths in a result: it is pushed to XCom.
PATHS_LIMIT = 48 * 1024
#: The most members of a package that are kept, for those who report each of them.
MEMBERS_LIMIT = 200


@dataclass
class Collector:
    """Downloads a package and stores it at its destination.

    :param settings: the connection's; its key is never sent.
    :param renew: requests another signed URL from the API.
    :param log: where it is logged.
    :param max_bytes: the largest package that is downloaded.
    :param limits: how much it may unpack to.
    :param stall_timeout: seconds without a new byte after which the transfer fails.
    :param cancellation: removes at once what is incomplete; a running step then ends with an error.
    """

    settings: Settings
    renew: Callable[[], str]
    log: Log
    max_bytes: int | None = None
    limits: Limits = field(default_factory=Limits)
    stall_timeout: float = RETRY_FOR
    cancellation: Cancellation = field(default_factory=Cancellation)
    members: list[Member] = field(default_factory=list, init=False)
    """The first members of the package that was unpacked."""

    def into_file(self, url: SignedUrl, place: Place) -> dict[str, Any]:
        """Store the package unchanged, and return what is there, in JSON types.

        :raises PixxelDownloadError: it couldn't be downloaded or written; the place is unchanged.
        :raises PixxelError: the API refuses another signed URL.
        """
        self.cancellation.check()
        place.check()
        received, transferred = is_present(self._storage(), url, place), 0
        self.cancellation.check()
        if received is not None:
            self.log.info(
                f"{place} is already there, with all its {size(received.bytes)}: nothing is downloaded"
            )
        else:
            sink = place.file()
            with self.cancellation.holding(sink.discard):
                # A place that can't be written to is detected before the download.
                sink.begin()
                received = self._receive(url, sink, str(place))
                with self.cancellation.step():
                    sink.commit()
            transferred = received.bytes
            self.log.info(f"{place} is whole: sha256 {received.sha256}{_compared(received)}")
        return {"path": str(place), **_summary(received), "transferred": transferred}

    def into_folder(self, url: SignedUrl, place: Place) -> dict[str, Any]:
        """Unpack the package into a folder, and return what is there, in JSON types.

        :raises PixxelArchiveError: it isn't a zip, is damaged, or has a refused member.
        :raises PixxelDownloadError: it couldn't be downloaded or written.
        :raises PixxelError: the API refuses another signed URL.
        """
        self.cancellation.check()
        # Resolved once: a link that is created later isn't followed.
        target = LocalTarget(place.folder()) if isinstance(place, LocalTarget) else place
        workspace = self._workspace(target)
        with self.cancellation.holding(workspace.discard):
            spool = LocalFile(workspace.path / "package")
            with self.cancellation.holding(spool.discard):
                received = self._receive(url, spool)
                self.log.info(f"Unpacking {size(received.bytes)} into {place}")
                unpacked = self._unpack(spool.part, target, workspace.path)
        self.members = unpacked.members[:MEMBERS_LIMIT]
        self.log.info(
            f"{place} holds {len(unpacked.members)} files, {unpacked.written} of them written now: "
            f"{size(unpacked.bytes)}{_compared(received)}",
        )
        return {
            "path": str(place),
            **_paths(place, unpacked),
            "files": len(unpacked.members),
            "written": unpacked.written,
            "unpacked_bytes": unpacked.bytes,
            **_summary(received),
            "transferred": received.bytes,
        }

    def _unpack(self, package: Path, place: Place, workspace: Path) -> Unpacked:
        with Archive(package, self.limits) as archive:
            if isinstance(place, LocalTarget):
                return unpack_into_folder(archive, place, workspace, self.cancellation)
            return unpack_into_store(archive, place, self.cancellation)

    def _receive(self, url: SignedUrl, sink: Sink, name: str = "") -> Received:
        return Transfer(
            storage=self._storage(),
            sink=sink,
            renew=self.renew,
            log=self.log,
            stall_timeout=self.stall_timeout,
            max_bytes=self.max_bytes,
            name=name,
            clock=self.cancellation.clock,
        ).run(url)

    def _storage(self) -> StorageClient:
        return StorageClient(self.settings, self.stall_timeout, self.cancellation.clock)

    def _workspace(self, place: Place) -> LocalFolder:
        """Make a folder for incomplete data: in the place's own file system if that is local."""
        if isinstance(place, LocalTarget):
            inside = place.path.is_dir() and not _can_be_replaced(place.path)
            return LocalFolder(place.path, inside=inside)
        place.member(hidden_name()).try_out()
        return LocalFolder(Path(tempfile.gettempdir()), inside=True)


def _can_be_replaced(folder: Path) -> bool:
    """Return whether another folder can replace this one in one step, with the same owner and group.

    A mount of its own can't be replaced; and only root can give another user a folder.
    """
    above, status = folder.parent, folder.stat()
    ours = status.st_uid == os.geteuid() and status.st_gid in (os.getegid(), *os.getgroups())
    can_be_made = ours or os.geteuid() == 0
    return can_be_made and os.access(above, os.W_OK | os.X_OK) and above.stat().st_dev == status.st_dev


def _summary(received: Received) -> dict[str, Any]:
    return {"bytes": received.bytes, "sha256": received.sha256, "checked": list(received.checked)}


def _compared(received: Received) -> str:
    return f"; the storage host's {' and '.join(received.checked)} is the same" if received.checked else ""


def _paths(place: Place, unpacked: Unpacked) -> dict[str, Any]:
    paths: list[str] = []
    left = PATHS_LIMIT
    for member in unpacked.members:
        path = str(place.member(member.name))
        left -= len(json.dumps(path)) + 2
        if left < 0:
            return {"paths": paths, "truncated": ["paths"]}
        paths.append(path)
    return {"paths": paths}
