"""Zips for tests, ordinary and otherwise."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path


def made(members: Mapping[str, bytes], *, mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of these members, each with these Unix rights."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("x")
            # Past what the constructor makes of separators and NULs.
            info.filename = info.orig_filename = name
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, content)
    return file.getvalue()


def everything(folder: Path) -> dict[str, bytes | None]:
    """Return what a folder holds, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


LINK, DEVICE = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600
