"""Packages: a zip, whatever its bytes are, is unpacked within its limits and its folder, or refused."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pixxel_provider.download.archive import Archive, Limits
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.local_disk import LocalTarget
from pixxel_provider.download.unpack import Unpacked, unpack_into_folder
from tests.download.archives import DEVICE, LINK, Entry, crafted, in_zip64, made, unicode_name, zip64_extra
from tests.fuzz.surface import Check, Surface, attempt

LIMITS = Limits(bytes=2**20, ratio=50.0, members=40)
BEFORE = b"what was there before"

NAMES = st.sampled_from(
    [
        b"a",
        b"A",
        b"b/c",
        b"b",
        b"b/",
        b"../x",
        b"/abs",
        b"C:\\x",
        b"..\\x",
        b"a\0b",
        b"",
        b".",
        b"./a",
        b"a//b",
        b"\xff",
        "é".encode(),
        "e\u0301".encode(),
        b"x" * 300,
        b"d/" * 120 + b"f",
        b"con",
        b"a\n",
        "\u202ea".encode(),
        b"kept",
    ]
) | st.binary(max_size=12)
NUMBERS = st.sampled_from([None, None, None, 0, 1, 30, 2**31, 2**32 - 1])
ENTRIES = st.builds(
    Entry,
    name=NAMES,
    content=st.sampled_from([b"", b"x", b"hello" * 50, bytes(3_000)]),
    flags=st.sampled_from([0, 0, 0x800, 1, 0x2000, 8]),
    attributes=st.sampled_from([0, 0o100644 << 16, LINK << 16, DEVICE << 16, 0x10, 2**32 - 1]),
    extra=st.sampled_from([b"", b"", zip64_extra(1), zip64_extra(2**63, 2**62), b"\x01", b"\x75\x70\xff\xff"])
    | st.builds(unicode_name, NAMES, NAMES),
    offset=NUMBERS,
    packed=NUMBERS,
    listed_only=st.sampled_from([False, False, False, True]),
    descriptor=st.booleans(),
)
ZIPS = st.one_of(
    st.lists(ENTRIES, max_size=5).map(lambda entries: crafted(*entries)),
    st.builds(
        lambda entries, before, comment: crafted(*entries, before=before, comment=comment),
        st.lists(ENTRIES, min_size=1, max_size=3),
        st.binary(max_size=30),
        st.binary(max_size=30),
    ),
    st.dictionaries(
        st.sampled_from(["a", "b/c", "d"]),
        st.sampled_from([b"x", bytes(2 * 2**20), bytes(500_000), bytes(range(256)) * 40]),
        max_size=3,
    ).map(made),
    st.builds(
        lambda entries, count, length, offset, end: in_zip64(
            crafted(*entries), count=count, length=length, offset=offset, end=end
        ),
        st.lists(ENTRIES, min_size=1, max_size=2),
        st.sampled_from([0, 1, 2, 2**40]),
        st.sampled_from([0, 46, 100, 2**40, 2**63]),
        st.sampled_from([0, 31, 2**40, 2**63]),
        st.sampled_from([None, 0, 2**40, 2**63]),
    ),
    st.integers(41, 90).map(lambda count: made({f"m{n}": b"x" for n in range(count)})),
    st.binary(max_size=200),
)
#: What is done to the bytes of a zip: places by their share of the whole, and what is put there.
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["put", "cut", "insert", "drop", "repeat"]),
        st.sampled_from([b"\0", b"\xff", b"PK\x05\x06", b"PK\x01\x02", b"\xff\xff\xff\xff", b"\x08"])
        | st.binary(max_size=4),
    ),
    max_size=3,
)


def _damaged(content: bytes, changes: list[tuple[float, str, bytes]]) -> bytes:
    for place, how, data in changes:
        at = round(place * len(content))
        if how == "cut":
            content = content[:at]
        elif how == "drop":
            content = content[:at] + content[at + len(data) :]
        elif how == "repeat":
            content = content[:at] + content[max(at - 60, 0) : at] + content[at:]
        else:
            content = content[:at] + data + content[at + (len(data) if how == "put" else 0) :]
    return content


@contextmanager
def _packages() -> Iterator[Check]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield lambda case: _package(Path(folder), case)


def _package(base: Path, case: Any) -> None:
    content, changes, is_new = case
    with tempfile.TemporaryDirectory(dir=base) as name:
        folder = Path(name)
        out, work = folder / "out", folder / "work"
        work.mkdir()
        if not is_new:
            out.mkdir()
            (out / "kept").write_bytes(BEFORE)
        (folder / "package.zip").write_bytes(_damaged(content, changes))

        def unpack() -> Unpacked:
            with Archive(folder / "package.zip", LIMITS) as archive:
                return unpack_into_folder(archive, LocalTarget(out), work, Cancellation())

        found = attempt(unpack)
        there = {str(path.relative_to(out)): path for path in out.rglob("*")} if out.exists() else {}
        assert not any(path.is_symlink() for path in there.values())
        assert {path.name for path in folder.iterdir()} <= {"out", "work", "package.zip"}
        assert sum(path.stat().st_size for path in there.values() if path.is_file()) <= LIMITS.bytes + len(
            BEFORE
        )
        if isinstance(found, Exception):
            assert isinstance(found, PixxelDownloadError), repr(found)
            assert {name: path.read_bytes() for name, path in there.items()} == (
                {} if is_new else {"kept": BEFORE}
            )
        else:
            for member in found.members:
                assert there[member.name].stat().st_size == member.size


packages = Surface("packages", 5, st.tuples(ZIPS, CHANGES, st.booleans()), _packages)
