"""The simulator as one ASGI application: counters, then faults, then the key, then the API."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixxel_provider.simulator.control import Control
from pixxel_provider.simulator.counters import Counters, SeenRequest
from pixxel_provider.simulator.downloads import Downloads
from pixxel_provider.simulator.faults import FaultBook
from pixxel_provider.simulator.injector import DROPPING, Injector
from pixxel_provider.simulator.render import Problem
from pixxel_provider.simulator.routes import USER, Api
from pixxel_provider.simulator.routing import CONTROL, FILES, header, match, raw_path
from pixxel_provider.simulator.world import World

CONTROL_MODES = ("loopback", "anyone", "off")
logger = logging.getLogger("pixxel_provider.simulator")


@dataclass
class Access:
    """Who is let in: each key's user, keys that may see nothing, and who may use ``/_control``."""

    users: dict[str, str]
    without_access: tuple[str, ...] = ()
    control: str = "loopback"

    def __post_init__(self) -> None:
        self._at_start = self.users
        if not all((*self.users, *self.without_access)):
            raise ValueError("key: an API key can't be empty")
        if self.control not in CONTROL_MODES:
            raise ValueError(f"control: {self.control!r} is not one of {', '.join(CONTROL_MODES)}")

    def let_in(self, users: dict[str, str]) -> None:
        """Let these keys in from now on, and no others. Raises ValueError for an empty one."""
        if not all(users):
            raise ValueError("users: an API key can't be empty")
        self.users = users

    def reset(self) -> None:
        """Let in who was let in at the start."""
        self.users = self._at_start

    def check(self, authorization: str) -> str:
        """The user id of the key's owner.

        Raises Problem 401 for a missing or unknown key, 403 for one without access.
        """
        given = authorization.strip()
        if not given:
            raise Problem(401, "the request has no API key in its Authorization header")
        if given[:7].lower() == "bearer ":
            given = given[7:].strip()
        for key, user in self.users.items():
            if _same(given, key):
                return user
        if any(_same(given, key) for key in self.without_access):
            raise Problem(403, "the API key has no access to this resource")
        raise Problem(401, "the API key is not recognised")

    def check_control(self, client: str | None) -> None:
        """Raise Problem 404 where the control routes are off, 403 where they aren't for this client."""
        if self.control == "off":
            raise Problem(404, "the control routes are off")
        if self.control == "loopback" and not _loopback(client):
            raise Problem(403, "the control routes are for clients on this machine; see --control")


class SimulatorApp:
    """The whole application. ``injector.stopping`` is to be set when the server begins to stop."""

    def __init__(self, world: World, faults: FaultBook, counters: Counters, access: Access) -> None:
        self.counters = counters
        self.access = access
        self.api = _fastapi(world, faults, counters, access)
        self.injector = Injector(self._guarded, faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = raw_path(scope)
        # Below, the path is the raw one: routes match single quoted segments and decode them.
        scope = {**scope, "path": path}
        if path == CONTROL or path.startswith(CONTROL + "/"):
            await self._control(scope, receive, send)
            return
        route, ids = match(scope["method"], path)
        seen = _seen(scope, path, route, ids)

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.counters.answer(seen, message["status"])
            else:
                self.counters.send(seen, len(message.get("body", b"")))
                if not message.get("more_body"):
                    self.counters.end(seen)
            await send(message)

        self.counters.begin(seen)
        scope[DROPPING] = lambda: self.counters.end(seen)
        try:
            await self.injector(scope, receive, count, route=route, ids=ids)
        finally:
            self.counters.end(seen)
            shown = f"{seen.path}?{seen.query}" if seen.query else seen.path
            logger.info("%s %s: %s, %d bytes", seen.method, shown, seen.status, seen.bytes_sent)

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        try:
            self.access.check_control(client[0] if client else None)
        except Problem as problem:
            await problem.answer()(scope, receive, send)
        else:
            await self.api(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"] != "/ping" and not scope["path"].startswith(FILES + "/"):
                scope = {**scope, USER: self.access.check(header(scope, "authorization"))}
        except Problem as problem:
            await problem.answer()(scope, receive, send)
        else:
            await self.api(scope, receive, send)


def _fastapi(world: World, faults: FaultBook, counters: Counters, access: Access) -> ASGIApp:
    # No documentation pages: Pixxel's own are the reference, and these would be fetched from another host.
    app = FastAPI(
        title="Pixxel simulator", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.include_router(Api(world, Downloads(world)).router())
    app.include_router(Control(world, faults, counters, access).router())

    for kind in (Problem, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_error)
    return app


async def _on_error(request: Request, error: Exception) -> Response:
    """Whatever went wrong, in Pixxel's envelope."""
    if isinstance(error, Problem):
        return error.answer()
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return Problem(400, f"{name}: {first['msg']}", {"parameter": name}).answer()
    if isinstance(error, HTTPException):
        what = f"{request.method} {request.url.path}"
        words = {404: f"{what}: no such route", 405: f"{what}: the method is not allowed"}
        message = words.get(error.status_code, str(error.detail))
        return Problem(error.status_code, message, headers=error.headers).answer()
    return Problem(500, "the simulator failed; its log says why").answer()


def _seen(scope: Scope, path: str, route: str, ids: dict[str, str]) -> SeenRequest:
    authorization = header(scope, "authorization").strip()
    scheme, space, _ = authorization.partition(" ")
    # The query of a signed URL is a secret like a key.
    query = "" if path.startswith(FILES + "/") else scope.get("query_string", b"").decode("latin-1")
    return SeenRequest(
        route=route,
        method=scope["method"],
        path=path,
        query=query,
        ids=ids,
        host=header(scope, "host"),
        user_agent=header(scope, "user-agent"),
        authorization="none" if not authorization else scheme.lower() if space else "plain",
        at=time.time(),
    )


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), key.encode("utf-8", "replace"))


def _loopback(host: str | None) -> bool:
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
