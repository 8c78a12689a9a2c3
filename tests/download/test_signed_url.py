"""A signed URL is read once, goes out letter by letter, and shows in no repr."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.download.signed_url import SignedUrl
from tests.download.hosting import SIGNATURE

# Python 3.13 writes it otherwise than those before.
MAPPED = str(IPv6Address("::ffff:8.8.8.8"))
PLAIN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


@pytest.mark.parametrize(
    ("text", "base", "header", "target"),
    [
        ("https://storage.example", "https://storage.example:443", "storage.example", "/"),
        ("https://storage.example?s=1", "https://storage.example:443", "storage.example", "/?s=1"),
        ("HTTPS://Storage.Example:443/a", "https://storage.example:443", "storage.example", "/a"),
        ("https://storage.example:8443/a#b", "https://storage.example:8443", "storage.example:8443", "/a"),
        ("https://storage.example:/a?", "https://storage.example:443", "storage.example", "/a?"),
        ("http://127.0.0.1:80/", "http://127.0.0.1:80", "127.0.0.1", "/"),
        ("http://[FD12::5]:80/?/#?", "http://[fd12::5]:80", "[fd12::5]", "/?/"),
        ("https://[::ffff:8.8.8.8]:1/", f"https://[{MAPPED}]:1", f"[{MAPPED}]:1", "/"),
        ("https://a/\\@b/?\\#", "https://a:443", "a", "/\\@b/?\\"),
        ("https://a/?x=https://u:p@b:1/", "https://a:443", "a", "/?x=https://u:p@b:1/"),
    ],
)
def test_its_parts_are_those_that_a_request_needs(text: str, base: str, header: str, target: str) -> None:
    found = SignedUrl(text)
    assert found.place is not None
    assert (found.place.origin, found.place.authority, found.target) == (base, header, target)


@given(path=PLAIN, query=PLAIN)
def test_path_and_query_keep_every_letter(path: str, query: str) -> None:
    path, query = path.replace("#", "").replace("?", ""), query.replace("#", "")
    found = SignedUrl(f"https://Storage.example:443/{path}?{query}#fragment")
    assert found.target == f"/{path}?{query}"
    assert found.absolute == f"https://Storage.example:443/{path}?{query}"
    assert found.place is not None
    assert found.place.host == "storage.example"


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("https://other.example:8443/a%7Eb/./c//?x=%2f#y", "https://other.example:8443/a%7Eb/./c//?x=%2f"),
        ("http:/there", "://"),
        ("//other.example/a", "https://other.example/a"),
        ("/a/../%7e//b?c='d'", "https://storage.example/a/../%7e//b?c='d'"),
        ("?x=%2b", "https://storage.example/jobs/1/package?x=%2b"),
        ("there", "https://storage.example/jobs/1/there"),
        ("./there?a=../b", "https://storage.example/jobs/1/there?a=../b"),
        ("../there/./%2e", "https://storage.example/jobs/there/./%2e"),
        ("../../../../there", "https://storage.example/there"),
        ("\\\\other.example/a", "https://storage.example/jobs/1/\\\\other.example/a"),
    ],
)
def test_a_redirect_leads_from_it_to_another(location: str, leads_to: str) -> None:
    found = SignedUrl("https://storage.example/jobs/1/package?a=/b/c").follow(location)
    assert found.absolute == leads_to


def test_no_redirect_is_too_long_to_read() -> None:
    found = SignedUrl("https://storage.example/a").follow("../" * 20_000)
    assert found.target == "/"


@pytest.mark.parametrize("text", ["https://storage.example/", "no address ", "\\\\"])
def test_what_it_is_shown_as_holds_no_signature(text: str) -> None:
    found = SignedUrl(f"{text}{SIGNATURE}")
    assert SIGNATURE not in f"{found!r} {found} {[found]}"


@pytest.mark.parametrize("end", [" ", "\n", "\x00", "é", ""])
def test_a_text_of_a_megabyte_is_read_at_once(end: str) -> None:
    for letter in "a/?#.:@[%":
        SignedUrl(f"https://{letter * 1_000_000}{end}")
        SignedUrl(f"https://a{'.a' * 500_000}{end}")
