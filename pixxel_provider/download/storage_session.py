"""One request to a storage host: connected to what was judged, asked letter by letter, and with an end."""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pixxel_provider.connection import Settings
from pixxel_provider.download.address_guard import AddressGuard
from pixxel_provider.download.errors import PixxelAddressError
from pixxel_provider.download.signed_url import SignedUrl

if TYPE_CHECKING:
    import requests

#: Bytes that may come with none of the package among them: heads, informational answers, extensions.
OVERHEAD = 1024 * 1024


class StallTimer:
    """Ends a request that brings nothing of the package, however often it brings something else.

    :param seconds: until then something of the package has to come, again and again.
    :param silence: seconds that a single read may take.
    """

    def __init__(
        self, seconds: float, silence: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._silence, self._monotonic = seconds, silence, monotonic
        self.progress()

    def progress(self) -> None:
        """Take note that something of the package has come."""
        self._end = self._monotonic() + self._seconds
        self._overhead = 0

    def left(self, longest: float | None = None) -> float:
        """Return the seconds that the next step may take.

        :raises TimeoutError: there are none left.
        """
        left = self._end - self._monotonic()
        if left <= 0:
            raise TimeoutError("nothing of the package has come for too long")
        return min(left, self._silence if longest is None else longest)

    def read(self, count: int) -> None:
        """Take note of bytes that have come, of whatever kind.

        :raises ConnectionAbortedError: too many since the last ones of the package.
        """
        self._overhead += count
        if self._overhead > OVERHEAD:
            raise ConnectionAbortedError("too much besides the package")


class _Incoming(io.RawIOBase):
    """What comes over a socket, for as long as the timer allows."""

    def __init__(self, sock: Any, raw: Any, timer: StallTimer) -> None:
        self._sock, self._raw, self._timer = sock, raw, timer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._timer.left())
        count: int = self._sock.recv_into(buffer)
        self._timer.read(count)
        return count

    def close(self) -> None:
        # The socket counts the files made of it, and is closed with the last.
        self._raw.close()
        super().close()


def storage_session(
    settings: Settings, guard: AddressGuard, url: SignedUrl, timer: StallTimer
) -> requests.Session:
    """Return a session for one request to a storage host; what is asked there is what was signed.

    The libraries never get the rest of the address: they would put its escapes into a form of their own, and
    show it in logs and errors.
    """
    import requests
    from requests.adapters import HTTPAdapter

    def pools(*, proxied: bool) -> dict[str, type[Any]]:
        return _pools(lambda kind: _exact(kind, settings, guard, url, timer, proxied=proxied))

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools(proxied=False)

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools(proxied=True)
            return manager

    session = requests.Session()
    # requests would read the whole body of a redirect, and keep it, even where it is told not to follow.
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
    session.trust_env = False
    session.verify = settings.verify
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
    return session


def _pools(make: Callable[[type[Any]], type[Any]]) -> dict[str, type[Any]]:
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    kinds = {"http": (HTTPConnection, HTTPConnectionPool), "https": (HTTPSConnection, HTTPSConnectionPool)}
    return {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": make(kind)})
        for scheme, (kind, pool) in kinds.items()
    }


def _exact(
    kind: type[Any],
    settings: Settings,
    guard: AddressGuard,
    url: SignedUrl,
    timer: StallTimer,
    *,
    proxied: bool,
) -> type[Any]:
    """Return a kind of connection that asks for just what was signed, at an address that was judged."""

    class Exact(kind):  # type: ignore[misc]
        # Whatever a process sets for all connections: this one's request line isn't printed.
        debuglevel = 0
        response_class = _response(timer)

        def putrequest(self, method: str, _: str, **options: Any) -> None:
            if self.sock is None:
                # Now, as an error of http.client's own way of doing so has the request in its traceback.
                self.connect()
            forwarded = proxied and not self._tunnel_host
            super().putrequest(method, url.absolute if forwarded else url.target, **options)

        def _new_conn(self) -> socket.socket:
            # A proxy isn't judged: its address is the company's own.
            judge = None if proxied else guard
            return _connect(self, self._dns_host, self.port, judge, timer, settings.connect_timeout)

    return Exact


def _response(timer: StallTimer) -> type[http.client.HTTPResponse]:
    class Response(http.client.HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp = io.BufferedReader(_Incoming(sock, self.fp.detach(), timer))

        def _read_status(self) -> Any:
            # http.client skips 100 alone, and takes 102 and 103 for the answer.
            while 100 <= (found := super()._read_status())[1] < 200 and found[1] != 101:  # type: ignore[misc]
                http.client.parse_headers(self.fp)
            return found

    return Response


def _connect(
    connection: Any, host: str, port: int, guard: AddressGuard | None, timer: StallTimer, longest: float
) -> socket.socket:
    """Connect to the first of a host's addresses that may be asked and answers.

    :raises PixxelAddressError: none of them may be asked.
    """
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
    from urllib3.util.connection import create_connection

    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # Looked up once, and connected to as it was judged: a name may stand for another address the next time.
    problem: Exception = NewConnectionError(connection, "the host has no address")
    for place in dict.fromkeys(str(entry[4][0]) for entry in found):
        try:
            if guard is not None:
                guard.check_peer(host, place)
            return create_connection(
                (place, port), timer.left(longest), socket_options=connection.socket_options
            )
        except PixxelAddressError as error:
            problem = error
        except TimeoutError:
            problem = ConnectTimeoutError(connection, "connecting took too long")
        except OSError as error:
            problem = error
    raise problem
