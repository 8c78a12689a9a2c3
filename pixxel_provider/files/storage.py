"""Ask a storage host for a package: without the API key, without a trace of the signed URL."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelError
from pixxel_provider.connection import Settings, origin_of
from pixxel_provider.files.address import Guard, proxy_for
from pixxel_provider.files.errors import PixxelAddressError, PixxelDownloadError
from pixxel_provider.hooks.transport import REDIRECTS, USER_AGENT
from pixxel_provider.hooks.trouble import unreachable

if TYPE_CHECKING:
    import requests

#: Bytes that are read at a time.
CHUNK = 1024 * 1024
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
        self._raw = response.raw
        self._settings = settings

    def read(self) -> bytes:
        """Return the next part of the body, at most 1 MiB of it; nothing at its end.

        :raises PixxelConnectionError: the connection broke.
        """
        from urllib3.exceptions import HTTPError

        try:
            found: bytes = self._raw.read(CHUNK, decode_content=False)
            return found
        except (HTTPError, OSError, ValueError) as error:
            trouble = unreachable(self._settings, PACKAGE, error)
        # Outside: an exception keeps the one that was being handled, and that one names the address.
        raise trouble


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

    def guarded(kind: type[Any], pool: type[Any]) -> type[Any]:
        class Guarded(kind):  # type: ignore[misc]
            # Whatever a process sets for all connections: this one's request line isn't printed.
            debuglevel = 0

            def _new_conn(self) -> Any:
                found = super()._new_conn()
                try:
                    # The peer, and not a look-up beside it: a name may stand for another address each time.
                    guard.check_peer(self.host, found.getpeername()[0])
                except BaseException:
                    found.close()
                    raise
                return found

        return type(pool.__name__, (pool,), {"ConnectionCls": Guarded})

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            # A proxy's pools aren't these: its address is the company's own.
            self.poolmanager.pool_classes_by_scheme = {
                "http": guarded(HTTPConnection, HTTPConnectionPool),
                "https": guarded(HTTPSConnection, HTTPSConnectionPool),
            }

    session = requests.Session()
    session.trust_env = False
    session.verify = settings.verify
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
    return session
