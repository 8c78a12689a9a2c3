"""An archive is refused as a whole where any of it can't be believed."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from pixxel_provider.files.archive import Archive, Limits
from pixxel_provider.files.errors import PixxelArchiveError
from tests.files.archives import DEVICE, LINK, made

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


def test_backslashes_separate_folders(tmp_path: Path) -> None:
    assert read(tmp_path, made({"deep\\a.txt": b"a"})) == {"deep/a.txt": b"a"}


def test_an_archive_of_nothing_has_no_members(tmp_path: Path) -> None:
    assert read(tmp_path, made({})) == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/passwd", "absolute path"),
        ("\\etc\\passwd", "absolute path"),
        ("../a", "leads out"),
        ("a/../../b", "leads out"),
        ("a\\..\\..\\b", "leads out"),
        ("C:\\a", "begins with a drive"),
        ("c:a", "begins with a drive"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("n" * 300, "longer than a name can be"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(PixxelArchiveError, match=words):
        read(tmp_path, made({"fine": b"", name: b"x"}))


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.txt", "A.TXT"), ("\u00e9", "e\u0301"), ("a/b", "a//b"), ("a/b", "a\\b"), ("a", "./a")],
)
def test_two_names_of_one_file_are_refused(tmp_path: Path, one: str, other: str) -> None:
    with pytest.raises(PixxelArchiveError, match="would be the same file"):
        read(tmp_path, made({one: b"1", other: b"2"}))


@pytest.mark.parametrize("folder", ["a/b", "A/b", "a/"])
def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(PixxelArchiveError, match="is a file and a folder"):
        read(tmp_path, made({"a": b"1", folder: b""}))


@pytest.mark.parametrize(("mode", "words"), [(LINK, "is a link"), (DEVICE, "is a device")])
def test_what_isnt_a_file_is_refused(tmp_path: Path, mode: int, words: str) -> None:
    with pytest.raises(PixxelArchiveError, match=words):
        read(tmp_path, made({"a": b"/etc/passwd"}, mode=mode))


@pytest.mark.parametrize("bits", [0x1, 0x40, 0x2000])
def test_what_is_encrypted_is_refused(tmp_path: Path, bits: int) -> None:
    with pytest.raises(PixxelArchiveError, match="is encrypted"):
        read(tmp_path, flagged(WHOLE, bits))


def test_unusual_packing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PixxelArchiveError, match="method 12"):
        read(tmp_path, made({"a": b"a"}, method=zipfile.ZIP_BZIP2))


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    content = made({str(number): b"" for number in range(11)})
    assert len(read(tmp_path, content, Limits(members=11))) == 11
    with pytest.raises(PixxelArchiveError, match="more than 10 members"):
        read(tmp_path, content, Limits(members=10))


def test_too_much_is_refused_before_any_of_it_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(PixxelArchiveError, match="max_unpacked_bytes"):
        read(tmp_path, WHOLE, Limits(bytes=100))
    assert read(tmp_path, WHOLE, Limits(bytes=101))


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    bomb = made({"zeros": bytes(4 * 1024 * 1024)})
    with pytest.raises(PixxelArchiveError, match="max_ratio"):
        read(tmp_path, bomb)
    assert len(read(tmp_path, bomb, Limits(ratio=5000))["zeros"]) == 4 * 1024 * 1024


def test_a_bomb_that_claims_to_be_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PixxelArchiveError):
        read(tmp_path, lying(made({"zeros": bytes(4 * 1024 * 1024)}), 24, 1000))


@pytest.mark.parametrize(("offset", "value"), [(16, 7), (24, 99), (24, 101)])
def test_a_member_that_isnt_what_the_list_says_is_refused(tmp_path: Path, offset: int, value: int) -> None:
    with pytest.raises(PixxelArchiveError, match=r"a\.txt"):
        read(tmp_path, lying(WHOLE, offset, value))


@pytest.mark.parametrize("kept", [0, 1, 10, len(WHOLE) // 2, len(WHOLE) - 1])
def test_what_is_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    with pytest.raises(PixxelArchiveError, match="isn't a zip"):
        read(tmp_path, WHOLE[:kept])
