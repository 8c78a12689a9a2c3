"""Stores of each kind, in memory: each step of an upload is counted, and may fail."""

from __future__ import annotations

import weakref
from typing import Any

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

KEY = "bucket/jobs/package.zip"
TEXT = f"fake://{KEY}"
OLD = b"what lay here before"


class Upload(AbstractBufferedFile):
    """An upload in parts, which shows nothing until it is completed: as in S3."""

    parts: list[bytes] | None = None

    def _initiate_upload(self) -> None:
        self.fs.do("create", self.path)
        self.parts = []

    def _upload_chunk(self, final: bool = False) -> bool:
        self.fs.do("part", self.path)
        assert self.parts is not None
        self.parts.append(self.buffer.getvalue())
        if self.autocommit and final:
            self.commit()
        return True

    def commit(self) -> None:
        self.fs.do("complete", self.path)
        assert self.parts is not None
        self.fs.objects[self.path] = b"".join(self.parts)[: self.fs.keeps]

    def discard(self) -> None:
        if self.parts is not None:
            self.parts = None
            self.fs.do("abort", self.path)


class Immediate(AbstractBufferedFile):
    """An upload that shows each part as it comes, and has no word for giving up."""

    def _initiate_upload(self) -> None:
        self.fs.do("create", self.path)
        self.fs.objects[self.path] = b""

    def _upload_chunk(self, final: bool = False) -> bool:
        self.fs.do("part", self.path)
        self.fs.objects[self.path] = (self.fs.objects.get(self.path, b"") + self.buffer.getvalue())[
            : self.fs.keeps
        ]
        return True


class AzureBlobFile(AbstractBufferedFile):
    """An upload that is completed by being closed, and by nothing else: as in Azure."""

    parts: list[bytes]

    def _initiate_upload(self) -> None:
        self.fs.do("create", self.path)
        self.parts = []

    def _upload_chunk(self, final: bool = False) -> bool:
        self.fs.do("part", self.path)
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.do("complete", self.path)
            self.fs.objects[self.path] = b"".join(self.parts)
        return True


class Bucket(AbstractFileSystem):
    """Objects in a dict; ``log`` has the steps, ``failing`` those that fail, ``opened`` the files."""

    cachable = False
    kind: type[AbstractBufferedFile] = Upload

    def __init__(self, kind: type[AbstractBufferedFile] = Upload) -> None:
        super().__init__()
        self.kind = kind
        self.objects: dict[str, bytes] = {KEY: OLD}
        self.log: list[tuple[str, str]] = []
        self.opened: list[weakref.ref[AbstractBufferedFile]] = []
        self.failing: dict[str, int] = {}
        self.keeps: int | None = None

    def do(self, what: str, path: str) -> None:
        self.log.append((what, path))
        if self.failing.get(what) == self.done(what):
            raise RuntimeError(f"the store doesn't {what}")

    def done(self, what: str) -> int:
        return [each for each, _ in self.log].count(what)

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, **options: Any) -> Any:
        if mode == "rb":
            options["size"] = self.info(path)["size"]
        options.pop("cache_options", None)
        file = self.kind(self, path, mode, block_size, **options)
        self.opened.append(weakref.ref(file))
        return file

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        if path in self.objects:
            return {"name": path, "size": len(self.objects[path]), "type": "file"}
        if any(key.startswith(f"{path}/") for key in self.objects):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def cat_file(self, path: str, start: Any = None, end: Any = None, **_: Any) -> bytes:
        return self.objects[path][start:end]

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        self.do("move", path1)
        self.objects[path2] = self.objects.pop(path1)

    def rm_file(self, path: str) -> None:
        self.do("remove", path)
        del self.objects[path]
