"""An archive is refused as a whole where any of it can't be believed."""

from __future__ import annotations

import os
import struct
import textwrap
import zipfile
from pathlib import Path

import pytest

from pixxel_provider.download.archive import Archive, Limits
from pixxel_provider.download.errors import PixxelArchiveError
from tests.download.archives import DEVICE, LINK, Entry, crafted, in_zip64, made, unicode_name, zip64_extra
from tests.support import run_python

MIB = 1024 * 1024
WHOLE = made({"a.txt": b"a" * 100, "b.txt": b"b"})


def read(tmp_path: Path, content: bytes, limits: Limits | None = None) -> dict[str, bytes]:
    (tmp_path / "package").write_bytes(content)
    with Archive(tmp_path / "package", limits or Limits()) as archive:
        return {member.name: b"".join(archive.parts(member)) for member in archive.members}


def lying(content: bytes, offset: int, value: int) -> bytes:
    """Change four bytes of the first entry of the list of members."""
    at = content.index(b"PK\x01\x02") + offset
    return content[:at] + struct.pack("<I", value) + content[at + 4 :]


def flagged(content: bytes, bits: int) -> bytes:
    at = content.index(b"PK\x01\x02") + 8
    return content[:at] + struct.pack("<H", bits) + content[at + 2 :]


def test_members_come_whole_with_folders_and_names_of_any_script(tmp_path: Path) -> None:
    members = {"a.txt": b"a", "deep/er/b.txt": b"", "\u5730\u56f3/\u00fc.tif": b"\x00" * 1000}
    assert read(tmp_path, made({**members, "empty/": b""})) == members


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (made({"fine": b"", "a/../../b": b"x"}), "leads out"),
        (made({"fine": b"", "a\x00b": b"x"}), "control character"),
        (made({"fine": b"", "": b"x"}), "A member of the package has no name"),
        (made({"a/b": b"1", "a//b": b"2"}), "would be the same file"),
        (made({"a/b": b"1", "a\\b": b"2"}), "would be the same file"),
        (made({"a": b"1", "./a": b"2"}), "would be the same file"),
        (made({"a": b"1", "a/b": b""}), "is a file and a folder"),
        (made({"a": b"1", "a/": b""}), "is a file and a folder"),
        (made({"a": b"/etc/passwd"}, mode=LINK), "is a link"),
        (made({"a": b""}, mode=DEVICE), "is a device"),
        *((flagged(WHOLE, bits), "is encrypted") for bits in (0x1, 0x40, 0x2000)),
        (made({"a": b"a"}, method=zipfile.ZIP_BZIP2), "method 12"),
        (WHOLE[5:], "its beginning is missing"),
        *((WHOLE[:kept], "isn't a readable zip") for kept in (0, 1, 10, len(WHOLE) // 2, len(WHOLE) - 1)),
    ],
)
def test_a_package_with_any_such_member_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(PixxelArchiveError, match=words):
        read(tmp_path, content)


BOMB, MASK = made({"zeros": bytes(4 * MIB)}), made({"mask": bytes(MIB + 1)})


@pytest.mark.parametrize(
    ("content", "limits", "words"),
    [
        (BOMB, Limits(), "max_ratio"),
        (MASK, Limits(ratio=1.0), "max_ratio"),
        # Many small members are judged together.
        (made({str(number): bytes(MIB) for number in range(3)}), Limits(), "The package unpacks to"),
        # What the list says of a member doesn't count: here its size, and there its checksum.
        (lying(BOMB, 24, 1000), Limits(), "zeros"),
        *((lying(WHOLE, at, value), Limits(), r"a\.txt") for at, value in ((16, 7), (24, 99), (24, 101))),
    ],
)
def test_a_bomb_is_refused_and_so_is_what_lies_about_its_size(
    tmp_path: Path, content: bytes, limits: Limits, words: str
) -> None:
    with pytest.raises(PixxelArchiveError, match=words):
        read(tmp_path, content, limits)


@pytest.mark.parametrize(
    ("content", "limits"), [(BOMB, Limits(ratio=5000)), (made({"mask": bytes(MIB)}), Limits(ratio=1.0))]
)
def test_what_is_within_its_ratio_or_small_is_no_bomb(tmp_path: Path, content: bytes, limits: Limits) -> None:
    (unpacked,) = read(tmp_path, content, limits).values()
    assert unpacked.count(0) == len(unpacked) >= MIB


# ------------------------------------------------------------------------------- limits, and lies about them


def end_of_list(count: int, length: int, offset: int) -> bytes:
    return b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, length, offset, 0)


def moved(content: bytes, which: int, offset: int) -> bytes:
    """Let an entry of the list of members point at another place of the file."""
    at = -1
    for _ in range(which + 1):
        at = content.index(b"PK\x01\x02", at + 1)
    return content[: at + 42] + struct.pack("<I", offset) + content[at + 46 :]


@pytest.mark.parametrize("length", [64 * MIB + 1, 65 * MIB, 2**31])
def test_a_list_of_members_that_would_fill_the_memory_isnt_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "package"
    # Only a hole: it takes no room on the disk, and would in memory.
    path.touch()
    os.truncate(path, length)
    with path.open("ab") as file:
        file.write(end_of_list(1, length, 0))
    with pytest.raises(PixxelArchiveError, match=r"list of members takes (64\.0 MiB|65\.0 MiB|2\.0 GiB)"):
        Archive(path, Limits())


def test_a_list_of_members_that_holds_more_than_it_says_is_counted(tmp_path: Path) -> None:
    content = made({str(number): b"" for number in range(20)})
    at = content.rindex(b"PK\x05\x06")
    lying = content[: at + 8] + struct.pack("<HH", 1, 1) + content[at + 12 :]
    with pytest.raises(PixxelArchiveError, match="more than 19 members"):
        read(tmp_path, lying, Limits(members=19))


def test_a_package_at_each_of_its_limits_is_unpacked(tmp_path: Path) -> None:
    members = {"a": os.urandom(2 * MIB), "b": bytes(2 * MIB), "c": b""}
    content = made(members)
    with zipfile.ZipFile(_kept(tmp_path, content)) as archive:
        ratio = 2 * MIB / archive.getinfo("b").compress_size
    assert read(tmp_path, content, Limits(bytes=4 * MIB, ratio=ratio, members=3)) == members
    for limits, words in (
        # Before any of it is unpacked.
        (Limits(bytes=4 * MIB - 1, ratio=ratio), "max_unpacked_bytes"),
        (Limits(ratio=ratio * 0.999), r"'b' unpacks to \d+ times its size or more"),
        (Limits(members=2), "more than 2 members"),
    ):
        with pytest.raises(PixxelArchiveError, match=words):
            read(tmp_path, content, limits)


def _kept(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "kept").write_bytes(content)
    return tmp_path / "kept"


def test_a_zip_behind_something_else_is_read_as_other_tools_read_it(tmp_path: Path) -> None:
    assert read(tmp_path, b"#!/bin/sh\n" + made({"a": b"1", "b": b"2"})) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("first", [b"1" * 1000, b""])
def test_members_that_share_their_bytes_are_refused(tmp_path: Path, first: bytes) -> None:
    content = made({"a": first, "b": b"1" * 1000}, method=0)
    second = content.index(b"PK\x03\x04", 1)
    with pytest.raises(PixxelArchiveError, match=r"'(a|b)' and '(a|b)' of the package overlap"):
        read(tmp_path, moved(content, 0, second))


def test_a_member_that_lies_inside_another_is_refused(tmp_path: Path) -> None:
    inner = made({"b": b"inside"}, method=0)
    content = made({"a": inner, "b": b"inside"}, method=0)
    assert read(tmp_path, content) == {"a": inner, "b": b"inside"}
    at = content.index(b"PK\x03\x04", 1)
    with pytest.raises(PixxelArchiveError, match="'b' and 'a' of the package overlap"):
        read(tmp_path, moved(content, 2, at))


def test_members_may_lie_in_another_order_than_they_are_listed(tmp_path: Path) -> None:
    content = made({"a": b"1", "b": b"2"}, method=0)
    first, end = content.index(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    second = content.index(b"PK\x01\x02", first + 1)
    turned = content[:first] + content[second:end] + content[first:second] + content[end:]
    assert read(tmp_path, turned) == {"b": b"2", "a": b"1"}


def test_a_folder_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Is a directory"):
        Archive(tmp_path, Limits())


# ------------------------------------------------------------------------- as the world's programs write them


@pytest.mark.parametrize(
    ("content", "members"),
    [
        # Windows: .NET before 4.6.1, and Explorer with the letters of its machine.
        (crafted(Entry(b"deep\\"), Entry(b"deep\\a.txt", b"a", system=0)), {"deep/a.txt": b"a"}),
        (crafted(Entry(b"gr\x81n.txt", b"a", system=0)), {"grün.txt": b"a"}),
        (crafted(Entry("grün.txt".encode(), b"a", flags=0x800)), {"grün.txt": b"a"}),
        # macOS: UTF-8 that doesn't say so, letters in two parts, and files of its own beside each.
        (
            crafted(
                Entry("gru\u0308n.txt".encode(), b"a", descriptor=True),
                Entry(b"__MACOSX/._gr\xcc\x88n.txt", b"x"),
            ),
            {"gru\u0308n.txt": b"a", "__MACOSX/._gr\u0308n.txt": b"x"},
        ),
        # Folders by their attributes alone, or listed again and again.
        (crafted(Entry(b"deep", system=0, attributes=0x10), Entry(b"deep/a", b"a")), {"deep/a": b"a"}),
        (crafted(Entry(b"./"), Entry(b"./d/"), Entry(b"d//"), Entry(b"./d//a", b"a")), {"d/a": b"a"}),
        # Streamed, with the sums behind each member.
        (
            crafted(Entry(b"a", b"a", descriptor=True), Entry(b"b", b"b", descriptor=True)),
            {"a": b"a", "b": b"b"},
        ),
        (
            crafted(Entry(b"a. ", b"a"), Entry(b" b", b"b"), Entry(b"c..", b"")),
            {"a. ": b"a", " b": b"b", "c..": b""},
        ),
        # Names that only some file systems tell apart.
        (crafted(Entry(b"a", b"1"), Entry(b"A", b"2")), {"a": b"1", "A": b"2"}),
        (crafted(Entry(b"a", b"a"), comment=b"made by hand"), {"a": b"a"}),
        (crafted(Entry(b"a", b"a"), before=b"MZ of a program that unpacks itself"), {"a": b"a"}),
        (
            crafted(Entry(b"a", b"a"), before=b"MZ, and the offsets don't count it", adjusted=False),
            {"a": b"a"},
        ),
        (crafted(Entry(b"f_r", b"a", extra=unicode_name(b"f_r", "für".encode()))), {"für": b"a"}),
        (crafted(), {}),
        (crafted(comment=b"nothing"), {}),
        (crafted(Entry(b"a", b"a", extra=zip64_extra())), {"a": b"a"}),
        (in_zip64(crafted(Entry(b"a", b"a")), count=1, length=47, offset=32), {"a": b"a"}),
    ],
)
def test_what_programs_write_is_read(tmp_path: Path, content: bytes, members: dict[str, bytes]) -> None:
    assert read(tmp_path, content) == members


# ------------------------------------------------------------------------------------- offsets of eight bytes


@pytest.mark.parametrize(
    ("offset", "packed"),
    [
        *((offset, None) for offset in (1001, 2**31 + 1000, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)),
        *((None, packed) for packed in (1000, 2**31, 0xFFFFFFFE)),
    ],
)
def test_a_member_that_lies_beyond_the_end_is_refused(
    tmp_path: Path, offset: int | None, packed: int | None
) -> None:
    entry = Entry(b"far", b"x", packed=packed)
    if offset is not None:
        entry.offset, entry.extra = 0xFFFFFFFF, zip64_extra(offset)
    with pytest.raises(PixxelArchiveError, match="'far' of the package lies beyond its end"):
        read(tmp_path, crafted(Entry(b"a", b"a"), entry))


@pytest.mark.parametrize("value", [2**31, 2**62, 2**63, 2**64 - 1])
@pytest.mark.parametrize("which", ["length", "offset", "end"])
def test_a_large_zip_whose_end_leads_elsewhere_is_refused(tmp_path: Path, which: str, value: int) -> None:
    told = {"length": 47, "offset": 32, which: value}
    with pytest.raises(PixxelArchiveError, match=r"The package isn't a readable zip|list of members takes"):
        read(tmp_path, in_zip64(crafted(Entry(b"a", b"a")), count=1, **told))


# ------------------------------------------------------------------------------------------ what it may cost


def with_memory(path: Path, megabytes: int) -> str:
    """Read a zip in a process that gets so much more memory than it begins with; return how that ends."""
    script = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from pixxel_provider.download.archive import Archive, Limits
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = used + int(sys.argv[2]) * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        try:
            with Archive(Path(sys.argv[1]), Limits()) as archive:
                print(len(archive.members), "members")
        except BaseException as error:
            print(f"{type(error).__name__}: {str(error)[-200:]}")
    """)
    return run_python(script, str(path), str(megabytes)).strip()


@pytest.mark.parametrize("separator", [b"/", b"\\"])
def test_a_name_of_32768_levels_costs_no_memory(tmp_path: Path, separator: bytes) -> None:
    path = tmp_path / "package"
    path.write_bytes(crafted(Entry(separator.join([b"a"] * 32768), b"x")))
    assert path.stat().st_size < 132_000
    found = with_memory(path, 40)
    assert found.startswith("PixxelArchiveError: "), found
    assert "is longer than a path can be (4096 bytes)" in found


def test_many_names_of_100_levels_cost_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "package"
    deep = b"/a" * 99
    path.write_bytes(
        crafted(
            *(Entry(b"%05d" % n + deep, listed_only=True, offset=0) for n in range(50_000)), before=bytes(30)
        )
    )
    found = with_memory(path, 250)
    assert found == "PixxelArchiveError: The package has more than 100000 folders."
