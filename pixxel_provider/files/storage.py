"""Ask a storage host for a package: without the API key, without a trace of the signed URL."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.client import HTTPResponse
from io import BufferedReader
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelError
from pixxel_provider.connection import Settings, origin_of
from pixxel_provider.files.address import Guard, proxy_for
from pixxel_provider.files.errors import PixxelAddressError, PixxelDownloadError
from pixxel_provider.hooks.protocol import REDIRECTS, USER_AGENT
from pixxel_provider.hooks.trouble import unreachable

if TYPE_CHECKING:
    import requests

    from pixxel_provider.api.errors import PixxelConnectionError

#: Bytes that are read at a time, at the most.
CHUNK = 64 * 1024
#: What messages call the request; as a call it follows the policy of those that may be sent again.
PACKAGE: Call[None] = Call("download_file", "GET", "the package", lambda answer: None)
# urllib3 logs the path of each request, and with it the signature.
_TALKATIVE = tuple(
    f"urllib3.{part}" for part in ("connectionpool", "connection", "poolmanager", "util.retry")
)


class Answer:
    """An answer of a storage host whose body is still to be read."""

    def __init__(self, response: requests.Response, settings: Settings) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        # Older ones of the library can only read whole parts, and lose one that breaks off.
        self._read = getattr(response.raw, "read1", response.raw.read)
        self._stream, self._left = _stream(response)
        self._settings = settings
        self._trouble: PixxelConnectionError | None = None

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer with the next part of the body; return how much came: less at its end, at last 0.

        :raises PixxelConnectionError: the connection broke, and what had come was returned before.
        """
        from urllib3.exceptions import HTTPError

        count = 0
        try:
            while count < len(buffer) and self._trouble is None and (more := self._some(buffer[count:])):
                count += more
        except (HTTPError, OSError, ValueError) as error:
            self._trouble = unreachable(self._settings, PACKAGE, error)
        if self._trouble is not None and not count:
            # Outside: an exception keeps the one that was being handled, and that one names the address.
            raise self._trouble
        return count

    def _some(self, buffer: memoryview) -> int:
        """Read what is there, and wait only where nothing is."""
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
    """Return what reads into memory that is there, and how much it has to give.

    urllib3 and http.client make new memory for each part, which costs as much as all the rest. They keep what
    needs more than counting: bodies in chunks, or without a length.
    """
    body = getattr(response.raw, "_original_response", None)
    if isinstance(body, HTTPResponse) and isinstance(body.fp, BufferedReader) and body.length is not None:
        return body.fp, body.length
    return None, 0


class Storage:
    """Asks storage hosts with the time-outs, TLS settings and proxies of a connection, and without its key.

    :param patience: seconds of silence after which a request is given up, where the connection allows more.
    """

    def __init__(self, settings: Settings, patience: float) -> None:
        self._settings = settings
        self._timeout = (settings.connect_timeout, min(settings.read_timeout, patience))
        self._guard = Guard(settings)

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """Ask for what a signed URL names, and keep the connection for as long as the block lasts.

        :raises PixxelAddressError: it, or a redirect, leads where it must not be followed.
        :raises PixxelConnectionError: no answer came.
        :raises PixxelDownloadError: it redirects in circles.
        """
        with unlogged():
            for _ in range(REDIRECTS + 1):
                with self._ask(url, headers) as (response, settings):
                    location = response.headers.get("location")
                    if not 300 <= response.status_code < 400 or not location:
                        yield Answer(response, settings)
                        return
                    url = _follow(url, location)
        raise PixxelDownloadError("The storage host redirects in circles.")

    @contextlib.contextmanager
    def _ask(self, url: str, headers: Mapping[str, str]) -> Iterator[tuple[requests.Response, Settings]]:
        self._guard.check(url)
        proxy = proxy_for(self._settings, url)
        # The same words for trouble as for the API, about this host.
        settings = replace(self._settings, base_url=origin_of(url), proxy=proxy)
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(_session(settings, self._guard))
            response = self._send(session, settings, url, headers)
            stack.callback(response.close)
            yield response, settings

    def _send(
        self, session: requests.Session, settings: Settings, url: str, headers: Mapping[str, str]
    ) -> requests.Response:
        import requests
        from urllib3.exceptions import HTTPError

        trouble: PixxelError
        try:
            return session.get(
                url,
                # Identity: lengths and ranges are those of the package, and not of a compressed form of it.
                headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **headers},
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, HTTPError, OSError) as error:
            trouble = unreachable(settings, PACKAGE, error)
        except ValueError:
            # requests looks where a redirect leads even where it is told not to follow.
            trouble = PixxelAddressError("The storage host redirects to something that isn't an address.")
        raise trouble


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keep what the HTTP library logs of this thread's requests out of every log."""
    owner = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return threading.get_ident() != owner

    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    for logger in loggers:
        logger.addFilter(of_others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(of_others)


def _follow(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        pass
    raise PixxelAddressError("The storage host redirects to something that isn't an address.")


def _session(settings: Settings, guard: Guard) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def quiet(kind: type[Any]) -> type[Any]:
        # Whatever a process sets for all connections: this one's request line isn't printed.
        return type(kind.__name__, (kind,), {"debuglevel": 0})

    def pools(make: Any) -> dict[str, type[Any]]:
        kinds = {
            "http": (HTTPConnection, HTTPConnectionPool),
            "https": (HTTPSConnection, HTTPSConnectionPool),
        }
        return {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": make(kind)})
            for scheme, (kind, pool) in kinds.items()
        }

    def guarded(kind: type[Any]) -> type[Any]:
        class Guarded(quiet(kind)):  # type: ignore[misc]
            def _new_conn(self) -> Any:
                found = super()._new_conn()
                try:
                    # The peer, and not a look-up beside it: a name may stand for another address each time.
                    guard.check_peer(self.host, found.getpeername()[0])
                except BaseException:
                    found.close()
                    raise
                return found

        return Guarded

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools(guarded)

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            # Not guarded: a proxy's address is the company's own.
            manager.pool_classes_by_scheme = pools(quiet)
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
