"""A storage host is asked without the key, over checked addresses, and without a trace of the signed URL."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError
from pixxel_provider.download.errors import PixxelAddressError, PixxelDownloadError
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_client import StorageClient
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.hooks.protocol import USER_AGENT
from tests.download.hosting import (
    SIGNATURE,
    Host,
    failure,
    fetch,
    locals_of,
    parts_of,
    storage_for,
    until_nobody_is_served,
)
from tests.loopback import Reply, reply, then_reset, then_silence
from tests.support import CANARY

MIB = 1024 * 1024


def signed_url(pixxel: Any, **package: Any) -> str:
    pixxel.set_package("job-finished", seconds=0, **package)
    return PixxelHook().request_download("wf-succeeds", "job-finished").signed_url


@pytest.fixture
def storage(pixxel: Any) -> StorageClient:
    return storage_for(pixxel.url)


# ------------------------------------------------------------------------------------------ what is asked


def test_a_package_comes_with_its_head_and_in_parts_that_fit_into_memory(
    pixxel: Any, storage: StorageClient
) -> None:
    url = signed_url(pixxel, size=2 * MIB + 5)
    with storage.get(SignedUrl(url), {}) as answer:
        assert (answer.status, answer.headers["CONTENT-length"]) == (200, str(2 * MIB + 5))
        assert [len(part) for part in parts_of(answer)] == [MIB, MIB, 5]
        assert list(parts_of(answer)) == []


def test_a_part_is_asked_for_by_the_headers_that_are_given(pixxel: Any, storage: StorageClient) -> None:
    assert fetch(storage, signed_url(pixxel, content=b"0123456789"), {"Range": "bytes=7-"}) == (206, b"789")


@pytest.mark.parametrize("status", [204, 304, 403, 404, 416, 500])
def test_every_status_is_an_answer(pixxel: Any, storage: StorageClient, status: int) -> None:
    url = signed_url(pixxel)
    pixxel.fail_next("download_file", status=status)
    with storage.get(SignedUrl(url), {}) as answer:
        assert answer.status == status


def test_a_request_names_its_user_agent_and_takes_no_compression(host: Host) -> None:
    host.replies = [reply(body=b"x")]
    fetch(storage_for(host.origin), host.url)
    assert host.asked("user-agent") == [USER_AGENT]
    assert host.asked("accept-encoding") == ["identity"]
    assert host.asked("cookie") == [None]


def test_what_comes_compressed_all_the_same_isnt_unpacked(host: Host) -> None:
    host.replies = [reply(body=b"\x1f\x8b as it came", content_encoding="gzip")]
    assert fetch(storage_for(host.origin), host.url) == (200, b"\x1f\x8b as it came")


def test_the_key_isnt_sent_nor_what_the_machine_knows_for_that_host(
    pixxel: Any, storage: StorageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    url = signed_url(pixxel, content=b"whole")
    pixxel.fail_next("download_file", location=url)
    pixxel.counters.clear()
    assert fetch(storage, url) == (200, b"whole")
    assert [seen.authorization for seen in pixxel.counters.seen] == ["none", "none"]


def test_a_cookie_of_one_answer_isnt_sent_with_the_next(host: Host) -> None:
    again = f"{host.origin}/again"
    host.replies = [
        reply("302 Found", location=again, set_cookie="session=secret; path=/"),
        reply(body=b"whole"),
        reply(body=b"whole"),
    ]
    storage = storage_for(host.origin)
    assert fetch(storage, host.url) == fetch(storage, again) == (200, b"whole")
    assert host.asked("cookie") == [None, None, None]


def test_the_connection_ends_with_the_block_also_in_the_middle_of_a_package(
    pixxel: Any, storage: StorageClient
) -> None:
    url = signed_url(pixxel, size=1 << 40)
    with storage.get(SignedUrl(url), {}) as answer:
        assert next(parts_of(answer))
    until_nobody_is_served(pixxel)
    (package,) = [seen for seen in pixxel.counters.seen if seen.route == "download_file"]
    assert package.bytes_sent < 1 << 40


# ---------------------------------------------------------------------------------------------- redirects


def test_three_redirects_are_followed_and_a_fourth_isnt(pixxel: Any, storage: StorageClient) -> None:
    url = signed_url(pixxel, content=b"whole")
    pixxel.fail_next("download_file", location=url, times=3)
    assert fetch(storage, url) == (200, b"whole")
    assert pixxel.requests("download_file") == 4
    pixxel.counters.clear()
    pixxel.fail_next("download_file", location=url, times=0)
    error = failure(storage, url)
    assert isinstance(error, PixxelDownloadError)
    assert (str(error), error.transient) == ("The storage host redirects in circles.", False)
    assert pixxel.requests("download_file") == 4


def test_a_redirect_may_name_a_path_alone_and_takes_the_headers_along(host: Host) -> None:
    host.replies = [reply("307 Temporary Redirect", location="../there?x=1"), reply(body=b"whole")]
    fetch(storage_for(host.origin), host.url, {"Range": "bytes=3-", "If-Range": '"a"'})
    assert [head.split()[1] for head in host.heads] == [f"/package?signature={SIGNATURE}", "/there?x=1"]
    assert host.asked("range") == ["bytes=3-", "bytes=3-"]
    assert host.asked("if-range") == ['"a"', '"a"']


@pytest.mark.parametrize(
    "location",
    [
        "https://10.0.0.1/latest",
        "http://10.0.0.1/latest",
        "https://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "https://[fd00:ec2::254]/",
        "https://2852039166/",
        "https://100.64.0.1/",
        "http://storage.example/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/package.zip",
        "gopher://127.0.0.1:70/x",
        "data:text/plain,package",
        "javascript:alert(1)",
        "https://user:password@127.0.0.1/",
        "http://[",
        "http://127.0.0.1:99999/",
        "https://",
        "/with a blank",
        "http://127.0.0.1\\@storage.example/",
        "http://storage.example\\@127.0.0.1/",
        "https://169.254.169.254%2f.storage.example/",
        "/b\xfccher",
    ],
)
def test_a_redirect_to_where_a_package_mustnt_come_from_isnt_followed(host: Host, location: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
    host.replies = [head.encode("latin-1"), reply(body=b"followed")]
    error = failure(storage_for(host.origin), host.url)
    assert isinstance(error, PixxelAddressError)
    assert not error.transient
    assert host.connections == 1


def test_a_redirect_without_a_place_is_an_answer(host: Host) -> None:
    host.replies = [reply("302 Found", body=b"lost")]
    assert fetch(storage_for(host.origin), host.url) == (302, b"lost")


def test_the_body_of_a_redirect_isnt_read(host: Host) -> None:
    head = reply("302 Found", location=f"{host.origin}/there", content_length=str(64 * MIB))
    host.replies = [[head, *[bytes(MIB)] * 64], reply(body=b"whole")]
    assert fetch(storage_for(host.origin), host.url) == (200, b"whole")
    assert host.sent < 32 * MIB


# ---------------------------------------------------------------------------------- what a name stands for


def test_nothing_is_sent_to_a_name_that_stands_for_this_machine(
    names: dict[str, list[str]], host: Host
) -> None:
    names.update({"api.example": ["8.8.8.8"], "storage.example": ["127.0.0.1"]})
    storage = storage_for("https://api.example")
    error = failure(storage, f"https://storage.example:{host.port}/?signature={SIGNATURE}")
    assert isinstance(error, PixxelAddressError)
    assert "storage.example at 127.0.0.1, which isn't a public address but this machine" in str(error)
    assert host.connections == 0


def test_a_name_is_judged_by_the_peer_and_not_by_an_earlier_resolution(
    names: dict[str, list[str]], host: Host
) -> None:
    names.update({"api.example": ["8.8.8.8"], "storage.example": ["8.8.4.4", "127.0.0.1"]})
    assert socket.getaddrinfo("storage.example", 443)[0][4][0] == "8.8.4.4"
    storage = storage_for("https://api.example")
    assert isinstance(failure(storage, f"https://storage.example:{host.port}/"), PixxelAddressError)


def test_a_name_on_the_apis_own_network_may_be_asked(names: dict[str, list[str]], host: Host) -> None:
    names.update({"api.example": ["127.0.0.1"]})
    host.replies = [reply(body=b"whole")]
    storage = storage_for(f"http://api.example:{host.port}")
    assert fetch(storage, f"http://api.example:{host.port}/x") == (200, b"whole")


# ------------------------------------------------------------------------------------------------ trouble


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "dropped"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "other"),
        (b"\x00" * 100 + b"\r\n\r\n", "other"),
        (reply(body=b"x" * 50, content_length="100"), "dropped"),
        (reply(body=b"5\r\nhello\r\n", transfer_encoding="chunked"), "dropped"),
        (reply(body=b"zz\r\nhello\r\n0\r\n\r\n", transfer_encoding="chunked"), "dropped"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x", "dropped"),
        (then_reset(b""), "dropped"),
        (then_reset(reply(body=b"x" * 50, content_length="100")), "dropped"),
        (then_silence(b""), "timeout"),
        (then_silence(b"HTTP/1.1 200 OK\r\n"), "timeout"),
        (then_silence(reply(body=b"x" * 50, content_length="100")), "timeout"),
        (reply(**{f"x{n}": "y" for n in range(200)}), "other"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_breaks_off_is_a_transient_error_without_the_url(
    host: Host, answer: Reply, reason: str
) -> None:
    host.replies = [answer]
    # On a busy machine even an answer that is there takes a while.
    error = failure(storage_for(host.origin, stall_timeout=0.2 if reason == "timeout" else 5), host.url)
    assert isinstance(error, PixxelConnectionError)
    assert error.transient
    assert f"could not get an answer from {host.origin}" in str(error)
    assert error.reason == reason


def test_a_host_that_isnt_there_and_one_nobody_knows_are_distinguished(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Host() as gone:
        pass
    error: Any = failure(storage_for(gone.origin), gone.url)
    assert (error.reason, error.sent) == ("refused", False)

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(storage_for("https://api.example"), f"https://storage.example/?signature={SIGNATURE}")
    assert error.reason == "dns"
    assert "https://storage.example:443" in str(error)


# ---------------------------------------------------------------------------------------------------- TLS


@pytest.mark.parametrize("in_environment", [False, True])
def test_a_certificate_that_the_connection_doesnt_trust_is_refused_before_anything_is_sent(
    secure: Host, certificate: Path, monkeypatch: pytest.MonkeyPatch, in_environment: bool
) -> None:
    if in_environment:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    error: Any = failure(storage_for(secure.origin), secure.url)
    assert (error.reason, error.sent) == ("tls", False)
    assert secure.heads == []


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_the_connections_tls_settings_hold_for_the_storage_host(secure: Host, certificate: Path) -> None:
    secure.replies = [reply(body=b"whole"), reply(body=b"whole")]
    for verify in (str(certificate), False):
        assert fetch(storage_for(secure.origin, verify=verify), secure.url) == (200, b"whole")


def test_https_to_a_host_that_speaks_plain_http_is_an_error(host: Host) -> None:
    host.replies = [reply(body=b"whole")]
    storage = storage_for(host.origin, connect_timeout=0.3)
    assert isinstance(failure(storage, host.url.replace("http:", "https:")), PixxelConnectionError)
    assert host.heads == []


# ------------------------------------------------------------------------------------------------ proxies


def test_a_package_goes_through_the_connections_proxy_without_its_address_being_judged(host: Host) -> None:
    host.replies = [reply(body=b"through the proxy")]
    storage = storage_for("http://10.0.0.5:8080", proxy=host.origin)
    assert fetch(storage, f"http://10.0.0.5:8080/x?signature={SIGNATURE}") == (200, b"through the proxy")
    assert host.heads[0].startswith(f"GET http://10.0.0.5:8080/x?signature={SIGNATURE} HTTP/1.1")


@pytest.mark.parametrize(
    "place",
    [
        "10.0.0.5",
        "[fd00:ec2::254]",
        "%31%36%39.254.169.254",
        "169.254.169.254%2f.storage.example",
        "0x7f.1",
        "0x",
    ],
)
def test_a_proxy_is_no_way_around_the_rules(host: Host, place: str) -> None:
    storage = storage_for("https://8.8.8.8", proxy=host.origin)
    assert isinstance(failure(storage, f"https://{place}/x"), PixxelAddressError)
    assert host.connections == 0


def test_the_environments_proxy_is_asked_where_it_is_meant_for_the_storage_host(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", host.origin)
    host.replies = [reply(body=b"through the proxy"), reply(body=b"straight")]
    storage = storage_for("http://127.0.0.1:9", proxy=host.origin)
    assert fetch(storage, "http://127.0.0.1:9/x") == (200, b"through the proxy")
    monkeypatch.setenv("no_proxy", "localhost")
    assert fetch(storage, host.url.replace("127.0.0.1", "localhost")) == (200, b"straight")
    assert [head.split()[1][:7] for head in host.heads] == ["http://", "/packag"]


def test_a_proxy_that_refuses_is_named_as_such_and_its_password_isnt(host: Host) -> None:
    host.replies = [reply("407 Proxy Authentication Required")]
    proxy = f"http://user:{CANARY}@127.0.0.1:{host.port}"
    storage = storage_for("https://8.8.8.8", proxy=proxy)
    error: Any = failure(storage, f"https://8.8.4.4/?signature={SIGNATURE}")
    assert error.reason == "proxy"
    assert host.heads[0].startswith("CONNECT 8.8.4.4:443")
    assert SIGNATURE not in host.heads[0]


# --------------------------------------------------------------------------------- what is written down


@pytest.mark.parametrize("proxied", [False, True])
def test_a_process_that_prints_its_connections_doesnt_print_this_one(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], proxied: bool
) -> None:
    host.replies = [reply(body=b"whole")]
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    fetch(storage_for(host.origin, proxy=host.origin if proxied else None), host.url)
    assert SIGNATURE not in capsys.readouterr().out


def test_no_repr_holds_key_or_url(host: Host) -> None:
    host.replies = [reply(body=b"whole")]
    storage = storage_for(host.origin)
    with storage.get(host.signed, {}) as answer:
        shown = f"{storage!r} {answer!r} {storage} {answer}"
    assert SIGNATURE not in shown
    assert CANARY not in shown


# -------------------------------------------------------------------------------- tracebacks that show locals


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        then_silence(b""),
        then_reset(b""),
        reply("302 Found", location=f"http://storage.example/?signature={SIGNATURE}"),
        reply("302 Found", location=f"http://[/?signature={SIGNATURE}"),
        reply("302 Found", location=f"?signature={SIGNATURE}"),
        reply(body=b"x" * 50, content_length="100"),
    ],
)
@pytest.mark.parametrize("proxied", [False, True])
def test_no_traceback_that_shows_locals_holds_the_url(host: Host, answer: Reply, proxied: bool) -> None:
    host.replies = [answer] * 4
    storage = storage_for(host.origin, stall_timeout=0.3, proxy=host.origin if proxied else None)
    with pytest.raises(PixxelError) as caught, storage.get(host.signed, {}) as found:
        list(parts_of(found))
    assert SIGNATURE not in locals_of(caught.value)


def test_nor_one_of_whatever_breaks_in_while_a_host_is_connected_to(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    def stop(*_: Any, **__: Any) -> Any:
        raise Stopped

    for name in ("urllib3.util.connection.create_connection", "socket.getaddrinfo"):
        with monkeypatch.context() as patched:
            patched.setattr(name, stop)
            with pytest.raises(Stopped) as caught, storage_for(host.origin).get(host.signed, {}):
                pass
        assert SIGNATURE not in locals_of(caught.value)
