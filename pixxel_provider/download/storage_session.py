"""One request to a storage host: to the checked address, with an unchanged path, and with limits."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from pixxel_provider.clock import Clock
from pixxel_provider.connection import Settings
from pixxel_provider.download.address_guard import AddressGuard
from pixxel_provider.download.errors import PixxelAddressError
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.hooks.requests_transport import BoundedResponse, new_session

if TYPE_CHECKING:
    import requests

#: The most bytes without one of the package among them: heads, informational answers, extensions.
OVERHEAD = 1024 * 1024


class StallTimer:
    """Ends a request that delivers nothing of the package, even if it delivers other bytes.

    :param seconds: the longest time between two bytes of the package.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds, self._clock = seconds, clock
        self.progress()

    def progress(self) -> None:
        """Record that bytes of the package have arrived."""
        self._end = self._clock.monotonic() + self._seconds
        self._overhead = 0

    def left(self) -> float:
        """Return the seconds that are left.

        :raises TimeoutError: there are none left.
        """
        left = self._end - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("no byte of the package arrived for too long")
        return left

    def read(self, count: int) -> None:
        """Record received bytes of any kind.

        :raises ConnectionAbortedError: too many since the last ones of the package.
        """
        self._overhead += count
        if self._overhead > OVERHEAD:
            raise ConnectionAbortedError("too much besides the package")


def storage_session(
    settings: Settings, guard: AddressGuard, url: SignedUrl, timer: StallTimer
) -> requests.Session:
    """Return a session for one request to a storage host; the request is exactly what was signed.

    The libraries never get the rest of the address: they would normalise its escapes, and
    show it in logs and errors.
    """
    proxied = bool(settings.proxy)

    class Response(BoundedResponse):
        limits = staticmethod(lambda: timer)

    class Exact:
        # Even if a process sets it for all connections, this one's request line isn't printed.
        debuglevel = 0
        response_class = Response

        def putrequest(self: Any, method: str, _: str, **options: Any) -> None:
            if self.sock is None:
                # Now, because http.client's own error has the request in its traceback.
                self.connect()
            forwarded = proxied and not self._tunnel_host
            target = url.absolute if forwarded else url.target
            super().putrequest(method, target, **options)  # type: ignore[misc]

        def _new_conn(self: Any) -> socket.socket:
            # A proxy isn't checked: its address is the company's own.
            judge = None if proxied else guard
            return _connect(self, self._dns_host, self.port, judge, timer, settings.connect_timeout)

    return new_session(settings, Exact)


def _connect(
    connection: Any, host: str, port: int, guard: AddressGuard | None, timer: StallTimer, longest: float
) -> socket.socket:
    """Connect to the first of a host's addresses that is permitted and answers.

    :raises PixxelAddressError: none of them is permitted.
    """
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
    from urllib3.util.connection import create_connection

    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # Resolved once, and connected to as checked: the next time, a name may have another address.
    problem: Exception = NewConnectionError(connection, "the host has no address")
    for place in dict.fromkeys(str(entry[4][0]) for entry in entries):
        try:
            if guard is not None:
                guard.check_peer(host, place)
            return create_connection(
                (place, port), min(timer.left(), longest), socket_options=connection.socket_options
            )
        except PixxelAddressError as error:
            problem = error
        except TimeoutError:
            problem = ConnectTimeoutError(connection, "connecting took too long")
        except OSError as error:
            problem = error
    raise problem
