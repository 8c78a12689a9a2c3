from __future__ import annotations

import pytest
from requests import Request
from yarl import URL

from pixxel_provider.api import urls


def problem(text: str) -> str:
    with pytest.raises(ValueError, match=r"^") as caught:
        urls.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://a.example", ("https", "a.example", 443, "", None, None)),
        ("HTTPS://A.Example:8443/P?Q#f", ("https", "a.example", 8443, "/P", "Q", None)),
        ("http://a.example:/?", ("http", "a.example", 80, "/", "", None)),
        ("http://a.example?x=http://b/", ("http", "a.example", 80, "", "x=http://b/", None)),
        ("http://a.example/@b:9/", ("http", "a.example", 80, "/@b:9/", None, None)),
        ("http://a.example#@b/", ("http", "a.example", 80, "", None, None)),
        ("http://u:p@a.example", ("http", "a.example", 80, "", None, "u:p")),
        ("http://a@b@c.example", ("http", "c.example", 80, "", None, "a@b")),
        ("http://@a.example", ("http", "a.example", 80, "", None, "")),
        ("http://[2001:DB8:0::1]:8080/", ("http", "2001:db8::1", 8080, "/", None, None)),
        ("http://10.0.0.1", ("http", "10.0.0.1", 80, "", None, None)),
        ("http://a.example./", ("http", "a.example.", 80, "/", None, None)),
        ("http://my_host-1/", ("http", "my_host-1", 80, "/", None, None)),
        ("http://bücher.example/", ("http", "xn--bcher-kva.example", 80, "/", None, None)),
        ("http://ＡPI.example/", ("http", "api.example", 80, "/", None, None)),
    ],
)
def test_an_address_is_taken_apart(text: str, parts: tuple[object, ...]) -> None:
    found = urls.parse(text)
    assert (found.scheme, found.host, found.port, found.path, found.query, found.userinfo) == parts


AMBIGUOUS = "holds white space, a backslash or a control character"
BRACKETS = "names a host whose brackets or port can't be read"
UNKNOWN = "names a host that no name service knows"
NO_IPV4 = "names a host that is neither a name nor an IPv4 address"
NO_IPV6 = "names a host whose IPv6 address can't be read"
ZONE = "names an IPv6 address with a zone, which isn't supported"
NO_ADDRESS = "isn't an address such as https://host/path"
NO_PORT = "names a port that isn't a number from 1 to 65535"


#: What stands after ``http://``, by what is wrong with it.
REFUSED: dict[str, list[str]] = {
    AMBIGUOUS: [
        *(f"evil{sign}@api.example/" for sign in "\\ \t\r\n\0\x1f\x7f\x85\xa0"),
        *(f"api.example/a{sign}b" for sign in "\\ \n\0\ud800"),
    ],
    "names no host": ["", ":80/", "u:p@/"],
    BRACKETS: [
        *("a:b:80/", "a:http/", "a:-1/", "a:٨٠/", "::1/"),
        *("[::1", "::1]/", "[[::1]]/", "[::1]a/", "a[::1]/", "[::1]:80:80/"),
    ],
    NO_IPV6: ["[]/", "[a.example]/", "[10.0.0.1]/", "[::1::]/", "[v1.a]/"],
    ZONE: ["[fe80::1%25eth0]/", "[fe80::1%eth0]/"],
    NO_PORT: ["a:0/", "a:65536/", "a:000080/", f"a:{'8' * 5000}/"],
    UNKNOWN: [
        *(
            "a..example/",
            ".a.example/",
            "./",
            "-a.example/",
            "a-.example/",
            "a%2eexample/",
            "a,b/",
            "{host}/",
        ),
        *(f"{'a' * 64}/", f"{'a.' * 127}/", f"{'ü' * 64}/", "☃⃣.example/", "a。。b/"),
    ],
    NO_IPV4: [
        *(
            "127.1/",
            "2130706433/",
            "127.0.0.01/",
            "127.0.0.256/",
            "127.0.0.1./",
            "1.2.3.4.5/",
            "a.example.1/",
        ),
        # getaddrinfo would read them as 127.0.0.1.
        *("0x7f.0.0.1/", "0x7f000001/", "127.0.0.0x1/", "0177.0.0.0x1/"),
    ],
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_libraries_may_read_in_two_ways_is_no_address(words: str) -> None:
    for rest in REFUSED[words]:
        assert problem(f"http://{rest}") == words, ascii(rest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" http://api.example", AMBIGUOUS),
        *((text, NO_ADDRESS) for text in ("", "api.example", "//api.example/")),
        *((text, NO_ADDRESS) for text in ("http:/api.example", "http:api.example")),
        ("file:///etc/passwd", "must begin with https:// or http://, not file://"),
        (f"{'x' * 5000}://a", f"must begin with https:// or http://, not {'x' * 20}://"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_an_address_begins_with_http_or_https(text: str, words: str) -> None:
    assert problem(text) == words


def test_a_part_of_an_address_is_in_no_message() -> None:
    for text in ("http://user:secret@a b/", "http://user:secret@[::1/", "http://user:secret@a..b/secret"):
        assert "secret" not in problem(text)
    assert "secret" not in repr(urls.parse("http://user:secret@a/?sig=secret"))


@pytest.mark.parametrize(
    ("text", "authority", "origin"),
    [
        ("http://a:80/", "a", "http://a:80"),
        ("https://a:443/", "a", "https://a:443"),
        ("http://a:443/", "a:443", "http://a:443"),
        ("https://u:p@[::1]/", "[::1]", "https://[::1]:443"),
        ("http://[0:0::1]:8080/", "[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_always_names_its_port_and_an_authority_only_where_it_must(
    text: str, authority: str, origin: str
) -> None:
    found = urls.parse(text)
    assert (found.authority, found.origin) == (authority, origin)


@pytest.mark.parametrize(
    ("text", "port"), [(None, None), ("", None), ("1", 1), ("00080", 80), ("65535", 65535)]
)
def test_a_port_is_read_where_there_is_one(text: str | None, port: int | None) -> None:
    assert urls.read_port(text) == port


@pytest.mark.parametrize("text", ["0", "00000", "65536", "+80", " 80", "8_0", "8.0", "٨٠", "²", "9" * 5000])
def test_a_port_is_a_number_from_1_to_65535(text: str) -> None:
    with pytest.raises(ValueError, match=r"^names a port that isn't a number from 1 to 65535$"):
        urls.read_port(text)


def test_a_host_may_have_brackets_or_none() -> None:
    assert urls.read_host("[::1]") == urls.read_host("::1") == urls.read_host("0:0::0001") == "::1"
    assert urls.read_host("::ffff:127.0.0.1") == urls.read_host("[::FFFF:7f00:1]")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/"),
        ("/", "/"),
        ("/a/./b/../c", "/a/c"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("/%2e%2e/a/%2E", "/a/"),
        ("//a//b/", "//a//b/"),
        ("/...", "/..."),
        ("/a%2fb", "/a%2Fb"),
    ],
)
def test_a_path_has_no_steps(path: str, expected: str) -> None:
    assert urls.normal_path(path) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a-b._~", "a-b._~"),
        ("%61%2D%7e", "a-~"),
        ("%2f%3F%23", "%2F%3F%23"),
        ("100%", "100%25"),
        ("%zz%2", "%25zz%252"),
        ("%%41", "%25A"),
        ("ü", "%C3%BC"),
        ("%c3%bc", "%C3%BC"),
        ("%ff", "%FF"),
        ('<>"^`{|}', "%3C%3E%22%5E%60%7B%7C%7D"),
        ("a=b&c+d;e,f", "a=b&c+d;e,f"),
    ],
)
def test_only_what_must_be_is_escaped(text: str, expected: str) -> None:
    assert urls.requoted(text) == urls.requoted(expected) == expected


@pytest.mark.parametrize("path", ["/a/../b%2fc", "/%61%7e", "/ü%", "//x/./y", "/a;b=c,d", "/%2e%2e/x"])
def test_a_path_is_sent_by_both_libraries_as_it_is_made_here(path: str) -> None:
    made = f"http://host{urls.normal_path(path)}"
    assert Request("GET", made).prepare().url == made
    assert str(URL(made, encoded=True)) == made
