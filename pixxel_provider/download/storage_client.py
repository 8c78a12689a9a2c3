"""Requests to a storage host for a package: without the API key, and without a trace of the signed URL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.client import HTTPResponse
from io import BufferedReader
from typing import TYPE_CHECKING

from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelError
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.connection import Settings
from pixxel_provider.download.address_guard import AddressGuard, proxy_for
from pixxel_provider.download.errors import PixxelAddressError, PixxelDownloadError
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_session import StallTimer, storage_session
from pixxel_provider.hooks.network_errors import unreachable
from pixxel_provider.hooks.protocol import REDIRECTS, USER_AGENT

if TYPE_CHECKING:
    import requests

    from pixxel_provider.api.errors import PixxelConnectionError

#: The most bytes that are read at a time.
CHUNK = 64 * 1024
#: The name of the request in messages; as a call it may be retried.
PACKAGE: Call[None] = Call("download_file", "GET", "the package", lambda answer: None)


class Answer:
    """An answer of a storage host whose body is still to be read."""

    def __init__(self, response: requests.Response, settings: Settings, timer: StallTimer) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        # Older versions of the library can only read whole parts, and lose an incomplete one.
        self._read = getattr(response.raw, "read1", response.raw.read)
        self._stream, self._left = _stream(response)
        self._settings, self._timer = settings, timer
        self._start = b""
        self._error: PixxelConnectionError | None = None

    def start(self, count: int) -> bytes:
        """Return the first bytes of the body, which :meth:`readinto` returns again; fewer only at its end.

        :raises PixxelConnectionError: the connection broke before the first byte.
        """
        buffer = memoryview(bytearray(count))
        self._start = bytes(buffer[: self.readinto(buffer)])
        return self._start

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer with the next part of the body; return its length: less at the end, finally 0.

        :raises PixxelConnectionError: the connection broke; earlier bytes were returned before.
        """
        from urllib3.exceptions import HTTPError

        # The time spent on the last part was ours, and not the host's.
        self._timer.progress()
        count = min(len(self._start), len(buffer))
        buffer[:count], self._start = self._start[:count], self._start[count:]
        try:
            while count < len(buffer) and self._error is None and (more := self._some(buffer[count:])):
                self._timer.progress()
                count += more
        except (HTTPError, OSError, ValueError) as error:
            self._error = unreachable(self._settings, PACKAGE, error)
        if self._error is not None and not count:
            # Outside the handling: an exception keeps its context, and that one has parts of the address.
            raise self._error
        return count

    def _some(self, buffer: memoryview) -> int:
        """Read what has arrived, and wait only if nothing has."""
        if self._stream is not None:
            count = self._stream.readinto1(buffer[: min(CHUNK, self._left)]) if self._left else 0
            if self._left and not count:
                raise ConnectionResetError
            self._left -= count
            return count
        part: bytes = self._read(min(len(buffer), CHUNK), decode_content=False)
        buffer[: len(part)] = part
        return len(part)


def _stream(response: requests.Response) -> tuple[BufferedReader | None, int]:
    """Return a function that reads into an existing buffer, and how much it can read.

    urllib3 and http.client allocate memory for each part, which costs as much as all the rest. They still
    read bodies that need more than counting: in chunks, or without a length.
    """
    body = getattr(response.raw, "_original_response", None)
    if isinstance(body, HTTPResponse) and isinstance(body.fp, BufferedReader) and body.length is not None:
        return body.fp, body.length
    return None, 0


class StorageClient:
    """Sends requests to storage hosts with a connection's timeouts, TLS and proxies, but without its key.

    :param stall_timeout: seconds without a byte of the package after which a request fails, redirects
        included; a single silence is also limited by the connection's ``read_timeout``.
    """

    def __init__(self, settings: Settings, stall_timeout: float, clock: Clock = CLOCK) -> None:
        self._settings = settings
        self._stall_timeout, self._clock = stall_timeout, clock
        self._guard = AddressGuard(settings)

    @contextlib.contextmanager
    def get(self, url: SignedUrl, headers: Mapping[str, str]) -> Iterator[Answer]:
        """Request the target of a signed URL, and keep the connection for as long as the block lasts.

        :raises PixxelAddressError: it, or a redirect, has an address that must not be followed.
        :raises PixxelConnectionError: no answer came.
        :raises PixxelDownloadError: it redirects in circles.
        """
        import requests  # noqa: F401 - now, so that the time it takes isn't the storage host's

        timer = StallTimer(self._stall_timeout, self._clock)
        for _ in range(REDIRECTS + 1):
            with self._ask(url, headers, timer) as (response, settings):
                if not 300 <= response.status_code < 400 or not response.headers.get("location"):
                    yield Answer(response, settings, timer)
                    return
                url = url.follow(response.headers["location"])
        raise PixxelDownloadError("The storage host redirects in circles.")

    @contextlib.contextmanager
    def _ask(
        self, url: SignedUrl, headers: Mapping[str, str], timer: StallTimer
    ) -> Iterator[tuple[requests.Response, Settings]]:
        place = self._guard.check(url)
        proxy = proxy_for(self._settings, place.origin)
        # The same messages as for the API, about this host.
        settings = replace(self._settings, base_url=place.origin, proxy=proxy)
        headers = {"Host": place.authority, **headers}
        with (
            storage_session(settings, self._guard, url, timer) as session,
            self._send(session, settings, headers) as response,
        ):
            yield response, settings

    def _send(
        self, session: requests.Session, settings: Settings, headers: Mapping[str, str]
    ) -> requests.Response:
        import requests
        from urllib3.exceptions import HTTPError

        # Identity: lengths and ranges are those of the package, not of a compressed form of it.
        usual = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        limits = (settings.connect_timeout, settings.read_timeout)
        failure: PixxelError
        try:
            return session.get(
                f"{settings.base_url}/",
                headers={**usual, **headers},
                timeout=limits,
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, HTTPError, OSError) as error:
            failure = unreachable(settings, PACKAGE, error)
        except ValueError:
            failure = PixxelAddressError("The signed URL isn't an address that can be requested.")
        raise failure
