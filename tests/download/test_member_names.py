"""A member is a plain file below one folder, under a name that no other member has."""

from __future__ import annotations

import stat
import zipfile

import pytest

from pixxel_provider.download.errors import PixxelArchiveError
from pixxel_provider.download.member_names import Names, check_kind, checked_name, is_folder, named
from tests.download.archives import unicode_name

# Longer than a name can be as soon as one more byte comes.
LONGEST = "n" * 255


def member(name: str, *, mode: int = 0, flags: int = 0, method: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    # Past what the constructor makes of separators and NULs.
    info.filename = info.orig_filename = name
    info.external_attr, info.flag_bits, info.compress_type = mode << 16, flags, method
    return info


def names(*files: str, folders: tuple[str, ...] = ()) -> None:
    found = Names()
    for folder in folders:
        found.add_folder(folder)
    for file in files:
        found.add_file(file)
    found.check()


# --------------------------------------------------------------------------------------- what it is called


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.txt", "a.txt"),
        ("deep/er/a.txt", "deep/er/a.txt"),
        ("deep\\er/a.txt", "deep/er/a.txt"),
        ("./a.txt", "a.txt"),
        ("a//b/./c", "a/b/c"),
        ("folder/", "folder"),
        ("folder\\", "folder"),
        ("./", ""),
        ("", ""),
        ("...", "..."),
        ("a..b/..c/d..", "a..b/..c/d.."),
        (" a b ", " a b "),
        ("~/a", "~/a"),
        ("ab:c", "ab:c"),
        ("1:a", "1:a"),
        ("deep/C:a", "deep/C:a"),
        ("地図/ü.tif", "地図/ü.tif"),
        ("%2e%2e/a", "%2e%2e/a"),
        ("./" * 100 + "a", "a"),
        *((longest, longest) for longest in (f"{LONGEST}/{LONGEST}", "ü" * 127, "地" * 85)),
        *((most, most) for most in ("/".join("a" * 100), "/".join(["n" * 40] * 99) + "/" + "n" * 37)),
        ("\u00a0a", "\u00a0a"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_name_becomes_steps_below_the_folder(given: str, name: str) -> None:
    assert checked_name(member(given)) == name


CONTROLS = [
    *("\x00", "\x01", "\t", "\n", "\r", "\x1b", "\x1f", "\x7f"),
    # C1 (the second begins commands of a terminal), other ends of lines, and turns of the direction.
    *("\x80", "\x9b", "\x9f", "\u2028", "\u2029"),
    *("\u061c", "\u200e", "\u200f", "\u202a", "\u202d", "\u202e", "\u2066", "\u2067", "\u2069"),
]
REFUSED = {
    "leads out of its folder: it isn't unpacked": [
        *("..", "../a", "a/..", "a/../b", "a/../../b", "./..", "..\\a", "a\\..\\..\\b", "a/..\\..", "..//a")
    ],
    "is an absolute path": ["/a", "//a", "/", "\\a", "\\\\host\\share\\a", "/./a", "\\", "//?/C:/a"],
    "begins with a drive": ["C:\\a", "c:/a", "C:", "z:a", "Z:a.."],
    # A step is measured in bytes.
    "is longer than a name can be": [f"{LONGEST}n", f"a/{LONGEST}n/b", "ü" * 128, "地" * 86, "\udcff" * 86],
    r"is longer than a path can be \(4096 bytes\)": [
        *("/".join(["n" * 200] * 21), "a/" * 2049, "./" * 2049 + "a", "a" + "/" * 4096),
        "/".join(["ü" * 120] * 18),
    ],
    "lies deeper than 100 levels: it isn't unpacked": [
        separator.join("a" * 101) + end for separator in "/\\" for end in ("", "/", "\\")
    ],
    "contains a control character": [
        place.format(each) for each in CONTROLS for place in ("{}a", "a{}b", "a{}", "deep/a{}", "/a{}")
    ],
}


@pytest.mark.parametrize(
    ("name", "words"),
    [(name, words) for words in REFUSED for name in REFUSED[words]],
    ids=lambda value: ascii(value)[:20],
)
def test_a_name_that_is_no_place_below_the_folder_is_refused(name: str, words: str) -> None:
    with pytest.raises(PixxelArchiveError, match=words):
        checked_name(member(name))


def test_a_name_is_judged_past_the_nul_that_the_library_cuts_it_at() -> None:
    info = zipfile.ZipInfo("fine\x00/evil")
    assert info.filename == "fine"
    with pytest.raises(PixxelArchiveError, match="control character"):
        checked_name(info)


def test_a_refusal_names_the_member_as_it_stands_in_the_archive_on_one_line() -> None:
    with pytest.raises(PixxelArchiveError) as caught:
        checked_name(member("..\\a\nb\x1b[31m"))
    assert str(caught.value).startswith(r"'..\\a\nb\x1b[31m' of the package ")
    assert "\n" not in str(caught.value)


def test_a_name_in_a_message_is_cut_off_where_it_is_endless() -> None:
    assert named("n" * 200) == repr("n" * 200)
    assert named("n" * 201) == repr("n" * 200 + "…")
    with pytest.raises(PixxelArchiveError) as caught:
        checked_name(member("../" + "n" * 60_000))
    assert len(str(caught.value)) < 300


# ------------------------------------------------------------------------------- what its writer called it


def as_stored(raw: bytes, *, flags: int = 0, extra: bytes = b"") -> zipfile.ZipInfo:
    """What zipfile makes of a name in the list of members."""
    info = zipfile.ZipInfo(raw.decode("utf-8" if flags & 0x800 else "cp437"))
    info.flag_bits, info.extra = flags, extra
    return info


@pytest.mark.parametrize(
    ("info", "name"),
    [
        (as_stored(b"f\x81r.tif"), "für.tif"),
        (as_stored("für.tif".encode(), flags=0x800), "für.tif"),
        # macOS and many programs on Unix don't say that it is UTF-8.
        (as_stored("für/地図.tif".encode()), "für/地図.tif"),
        (as_stored("e\u0301.tif".encode()), "e\u0301.tif"),
        (as_stored(b"f_r", extra=unicode_name(b"f_r", "für".encode())), "für"),
        (as_stored(b"a\\f_r", extra=b"UT\x01\x00\x00" + unicode_name(b"a\\f_r", "a\\für".encode())), "a/für"),
        # A field that isn't about this name, is of another version, or says nothing.
        (as_stored(b"f_r", extra=unicode_name(b"other", "für".encode())), "f_r"),
        (as_stored(b"f_r", extra=unicode_name(b"f_r", "für".encode(), version=2)), "f_r"),
        (as_stored(b"f_r", extra=unicode_name(b"f_r", b"")), "f_r"),
        (as_stored(b"f_r", extra=b"up\x02\x00\x01"), "f_r"),
        (as_stored(b"f_r", extra=b"up"), "f_r"),
    ],
)
def test_a_name_is_what_its_writer_meant(info: zipfile.ZipInfo, name: str) -> None:
    assert checked_name(info) == name


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (b"../../evil", "leads out of its folder"),
        (b"/etc/passwd", "is an absolute path"),
        (b"C:\\a", "begins with a drive"),
        (b"a\x00b", "control character"),
        ("gpj.\u202eexe".encode(), "control character"),
        ("\x9b31m".encode(), "control character"),
        (b"/".join([b"a"] * 101), "lies deeper"),
        (b"\xff\xfe", "has a Unicode name that can't be read"),
    ],
)
def test_a_second_name_is_judged_like_the_first(second: bytes, words: str) -> None:
    with pytest.raises(PixxelArchiveError, match=words):
        checked_name(as_stored(b"fine", extra=unicode_name(b"fine", second)))


def test_a_name_in_utf_8_that_doesnt_say_so_is_judged_too() -> None:
    with pytest.raises(PixxelArchiveError, match="control character"):
        checked_name(as_stored("a\u202eb".encode()))


@pytest.mark.parametrize(
    ("name", "attributes", "size", "folder"),
    [
        ("a/", 0, 0, True),
        ("a\\", 0, 0, True),
        ("a", 0, 0, False),
        ("a", (stat.S_IFDIR | 0o755) << 16, 0, True),
        ("a", 0x10, 0, True),
        ("a", (stat.S_IFREG | 0o644) << 16 | 0x10, 0, False),
        ("a", 0x10, 1, False),
        ("a", 0x20, 0, False),
    ],
)
def test_a_folder_is_one_by_its_name_or_by_its_attributes(
    name: str, attributes: int, size: int, folder: bool
) -> None:
    info = member(name)
    info.external_attr, info.file_size = attributes, size
    assert is_folder(info) is folder


# ------------------------------------------------------------------------------------ names beside another


def test_two_members_of_one_name_are_refused() -> None:
    found = Names()
    found.add_file("deep/a.txt")
    with pytest.raises(PixxelArchiveError) as caught:
        found.add_file("deep/a.txt")
    assert str(caught.value) == "'deep/a.txt' and 'deep/a.txt' of the package would be the same file."


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.txt", "A.TXT"),
        ("deep/a", "DEEP/a"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("straße", "STRASSE"),
        ("ﬁle", "FILE"),
    ],
)
def test_names_that_only_some_file_systems_distinguish_are_taken_and_kept_in_mind(
    one: str, other: str
) -> None:
    for pair in ((one, other), (other, one)):
        found = Names()
        for name in (*pair, "another", "deep/other"):
            found.add_file(name)
        found.check()
        assert found.alike == set(pair)


def test_names_that_only_look_alike_are_taken() -> None:
    names("a", "a.txt", "a b", "b/a", "c/a", "e", "é", "ab", "b/aa", folders=("c", "d/e"))


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        (("a", "a/b"), ()),
        (("a/b", "a"), ()),
        (("a/b", "a/b/c/d"), ()),
        (("a/b/c/d", "a/b"), ()),
        (("a",), ("a",)),
        (("a",), ("a/b",)),
        (("a/b",), ("a/b/c/d",)),
    ],
)
def test_a_file_that_another_lies_in_is_refused(files: tuple[str, ...], folders: tuple[str, ...]) -> None:
    with pytest.raises(PixxelArchiveError, match="is a file and a folder"):
        names(*files, folders=folders)


@pytest.mark.parametrize(("file", "folder"), [("A", "a/b"), ("é", "e\u0301/b"), ("a/b", "A/B/c/d")])
def test_a_file_and_a_folder_whose_names_differ_in_capitals_are_taken(file: str, folder: str) -> None:
    names(file, folders=(folder,))
    names(file, f"{folder}/c")


def test_more_folders_than_allowed_are_refused_before_they_cost_memory() -> None:
    found = Names(4)
    found.add_folder("a/b")
    found.add_file("c/d/file")
    found.add_file("c/d/other")
    with pytest.raises(PixxelArchiveError, match=r"^The package has more than 4 folders\.$"):
        found.add_file("c/d/e/file")


def test_folders_may_come_as_often_as_they_like_and_after_their_files() -> None:
    found = Names()
    found.add_file("a/b/c")
    for folder in ("a", "a/b", "A/B", "", "a"):
        found.add_folder(folder)
    found.add_file("a/b/d")
    found.check()


# ---------------------------------------------------------------------------------------------- what it is


@pytest.mark.parametrize("kind", [0, stat.S_IFREG, stat.S_IFDIR])
@pytest.mark.parametrize("rights", [0, 0o644, 0o777, stat.S_ISUID | 0o755])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_and_folders_are_taken_with_whatever_rights(kind: int, rights: int, method: int) -> None:
    check_kind(member("a", mode=kind | rights, method=method))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (stat.S_IFLNK, "is a link"),
        (stat.S_IFCHR, "is a device, a pipe or a socket"),
        (stat.S_IFBLK, "is a device, a pipe or a socket"),
        (stat.S_IFIFO, "is a device, a pipe or a socket"),
        (stat.S_IFSOCK, "is a device, a pipe or a socket"),
        (0o170000, "is a device, a pipe or a socket"),
    ],
)
@pytest.mark.parametrize("name", ["a", "a/"])
def test_what_is_neither_file_nor_folder_is_refused(kind: int, words: str, name: str) -> None:
    with pytest.raises(PixxelArchiveError) as caught:
        check_kind(member(name, mode=kind | 0o777))
    assert str(caught.value) == f"{name!r} of the package {words}: it isn't unpacked."


@pytest.mark.parametrize("flags", [0x1, 0x40, 0x2000, 0x1 | 0x800])
def test_what_is_encrypted_is_refused_in_each_way_that_says_so(flags: int) -> None:
    with pytest.raises(PixxelArchiveError, match="is encrypted"):
        check_kind(member("a", flags=flags))


@pytest.mark.parametrize("flags", [0x2, 0x4, 0x8, 0x800])
def test_flags_about_packing_and_letters_hinder_nothing(flags: int) -> None:
    check_kind(member("a", flags=flags))


@pytest.mark.parametrize("method", [1, 9, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93, 99])
def test_packing_that_cant_be_read_is_refused_by_its_number(method: int) -> None:
    with pytest.raises(PixxelArchiveError, match=f"is packed with method {method}, and only stored and"):
        check_kind(member("a", method=method))
