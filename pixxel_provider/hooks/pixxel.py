"""Two thin bodies for one brain: :class:`PixxelHook` with requests, :class:`PixxelAsyncHook` with aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from pixxel_provider.api import calls, retry
from pixxel_provider.api.errors import PixxelError, PixxelNotFoundError, PixxelResponseError
from pixxel_provider.connection import Settings
from pixxel_provider.hooks import protocol, requests_transport
from pixxel_provider.hooks.connection_lookup import look_up
from pixxel_provider.hooks.connection_lookup import look_up_async as _look_up
from pixxel_provider.hooks.connection_refresh import ConnectionRefresh
from pixxel_provider.hooks.network_errors import causes, unreachable
from pixxel_provider.hooks.sessions import fresh_session, reading_turn, release_session, shared_session
from pixxel_provider.provider_info import (
    CONNECTION_FIELDS,
    CONNECTION_TYPE,
    DEFAULT_CONNECTION_ID,
    FORM_BEHAVIOUR,
    ConnectionField,
)

if TYPE_CHECKING:
    import requests

    from pixxel_provider.api.calls import Call
    from pixxel_provider.api.job import Job
    from pixxel_provider.api.models import Download, Workflow

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    # Which aiohttp depends on there.
    from async_timeout import timeout

T = TypeVar("T")

_STALE = "%s What was read of the connection before stays in use."


class PixxelHook(BaseHook):
    """Reach the API of Pixxel from a task.

    :param pixxel_conn_id: id of an Airflow connection of type ``pixxel``. It is read at first use, and anew
        after a 401 and now and then while requests fail: somebody may be mending it.
    :param monotonic: the clock for that.

    Every method that asks the API raises :class:`~pixxel_provider.api.errors.PixxelInputError` for an
    argument or a connection that can't be used, :class:`~pixxel_provider.api.errors.PixxelApiError` for an
    error that the API answers with, :class:`~pixxel_provider.api.errors.PixxelConnectionError` where no
    answer arrives and :class:`~pixxel_provider.api.errors.PixxelResponseError` for an answer that isn't what
    the API promises. Trouble that may pass is tried again for up to 60 seconds first.
    """

    conn_name_attr = "pixxel_conn_id"
    default_conn_name = DEFAULT_CONNECTION_ID
    conn_type = CONNECTION_TYPE
    hook_name = "Pixxel"

    def __init__(
        self,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.pixxel_conn_id = pixxel_conn_id
        self._monotonic = monotonic
        self._refresh = ConnectionRefresh()
        self._session: requests.Session | None = None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the connection form of Airflow before 3.2 hides and renames."""
        return FORM_BEHAVIOUR

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the connection form of Airflow before 3.2, from the one table."""
        # Airflow 3.0 and 3.1 put stand-ins for just these kinds of fields into wtforms.
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import BooleanField, IntegerField, StringField
        from wtforms.validators import Optional

        def widget(field: ConnectionField) -> Any:
            words = {"label": field.label, "description": field.description, "default": field.default}
            if field.kind == "boolean":
                return BooleanField(**words)
            kind = IntegerField if field.kind == "integer" else StringField
            return kind(**words, widget=BS3TextFieldWidget(), validators=[Optional()])

        return {field.name: widget(field) for field in CONNECTION_FIELDS}

    @cached_property
    def settings(self) -> Settings:
        """What the connection said when it was read last."""
        return self._read()

    def reread(self) -> None:
        """Read the connection anew; all of it counts from the next request on, TLS and the proxy as well.

        :raises PixxelError: it can't be read now, and what was read before stays in use.
        """
        self.__dict__["settings"] = self._read()
        self.close()

    def _read(self) -> Settings:
        try:
            found = look_up(self.pixxel_conn_id)
        except PixxelError as error:
            self._refresh.was_read(self._monotonic(), error)
            raise
        self._refresh.was_read(self._monotonic())
        return found

    def get_conn(self) -> requests.Session:
        """Return the session this hook sends with; it pools connections and holds no key."""
        if self._session is None:
            self._session = requests_transport.new_session(self.settings)
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        # Without the key: a copy reads the connection itself.
        state = {k: v for k, v in self.__dict__.items() if k != "settings"}
        return {**state, "_session": None, "_refresh": ConnectionRefresh()}

    def close(self) -> None:
        """Close the session; the next request opens a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def send(self, call: Call[T], *, retry_for: float = retry.RETRY_FOR) -> T:
        """Send a call and return its answer.

        :param call: what a function of :mod:`pixxel_provider.api.calls` returned.
        :param retry_for: seconds during which trouble that may pass is tried again; 0 tries once.
        """
        if retry_for <= 0:
            return self._attempt(call)
        from tenacity import Retrying

        answer: T = Retrying(sleep=self._pause, **retry.policy(call, retry_for))(self._attempt, call)
        return answer

    def get_job(self, workflow_id: str, job_id: str) -> Job:
        """Return one job with its tasks and validation errors."""
        return self.send(calls.get_job(workflow_id, job_id))

    def list_jobs(
        self,
        workflow_id: str,
        *,
        job_id: str | None = None,
        status: str | None = None,
        created_by: str | None = None,
        created_on: str | None = None,
    ) -> list[Job]:
        """Return the jobs of a workflow, without tasks. A job that exists may be missing from the list."""
        return self.send(
            calls.list_jobs(
                workflow_id, job_id=job_id, status=status, created_by=created_by, created_on=created_on
            )
        )

    def create_job(self, workflow_id: str, project_id: str) -> Job:
        """Start a job, which is billed. Where the answer is lost it isn't tried again: it may have begun."""
        return self.send(calls.create_job(workflow_id, project_id))

    def estimate_cost(self, workflow_id: str) -> int | float:
        """Return what one run of the workflow would cost, in credits."""
        return self.send(calls.estimate_cost(workflow_id))

    def get_workflow(self, workflow_id: str, project_id: str) -> Workflow:
        """Return one workflow with its estimated cost."""
        return self.send(calls.get_workflow(workflow_id, project_id))

    def list_workflows(self, **filters: Any) -> Iterator[Workflow]:
        """Yield workflows, each once; a page of them is asked for when the one before is used up.

        :param filters: ``project_id``, ``workflow_id``, ``name``, ``created_by``, ``created_on``,
            ``updated_at``, and ``limit``, the size of a page (50).
        """
        offset, seen = 0, set[str]()
        while True:
            call = calls.list_workflows(**filters, offset=offset)
            page = self.send(call)
            fresh = {workflow.id: workflow for workflow in page.items if workflow.id not in seen}
            yield from fresh.values()
            seen.update(fresh)
            offset += len(page.items)
            short = len(page.items) < int(call.params["limit"])
            # A total that a full page reaches may be wrong, and a list that only repeats itself has no end.
            if not fresh or (short and page.total is not None and offset >= page.total):
                return

    def request_download(self, workflow_id: str, job_id: str, task_id: str | None = None) -> Download:
        """Ask for a package of the files of a job or task; asked again it says whether that is ready."""
        if task_id is None:
            return self.send(calls.download_job(workflow_id, job_id))
        return self.send(calls.download_task(workflow_id, job_id, task_id))

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection, once; return whether it works and a sentence for the person at the form."""
        try:
            page = self.send(calls.list_projects(), retry_for=0)
        except (PixxelNotFoundError, PixxelResponseError) as error:
            return False, self._is_it_pixxel(error)
        except PixxelError as error:
            return False, str(error)
        total = len(page.items) if page.total is None else page.total
        named = ", ".join(project.title or project.name or project.id for project in page.items[:3])
        projects = "1 project" if total == 1 else f"{total} projects"
        return True, f"Connected to {self.settings.origin}; the key sees {projects}" + (
            f": {named}" if named else ""
        )

    def _is_it_pixxel(self, error: PixxelError) -> str:
        try:
            self.send(calls.ping(), retry_for=0)
        except PixxelError:
            return f"There is a server at {self.settings.base_url}, but it isn't a Pixxel API: {error}"
        return f"{self.settings.base_url} is a Pixxel API, but its projects can't be read: {error}"

    # Tests hand in a fake one.
    _pause = staticmethod(time.sleep)

    def _attempt(self, call: Call[T]) -> T:
        if "settings" in self.__dict__ and self._refresh.due(self._monotonic()):
            try:
                self.reread()
            except PixxelError as error:
                self.log.warning(_STALE, error)
        try:
            answer = self._send_once(call)
        except PixxelError as error:
            self._refresh.ended(self._monotonic(), error)
            raise
        self._refresh.ended(self._monotonic(), None)
        return answer

    def _send_once(self, call: Call[T]) -> T:
        steps = protocol.exchange(self.settings, call)
        step = next(steps)
        while True:
            got: protocol.Answer | Settings | None
            if isinstance(step, protocol.ReadConnection):
                got = self._read_anew(step.before)
            else:
                got = self._exchange(self.settings, call, step)
            try:
                step = steps.send(got)
            except StopIteration as done:
                settings, answer = done.value
                break
        # Outside: an error would show what was being handled, and that holds the answer.
        return protocol.read(settings, call, answer)

    def _read_anew(self, before: Settings) -> Settings:
        """Return what the connection says after a 401; it is read anew unless that was just done in vain.

        :raises PixxelError: it can't be read now, so that nobody knows whether the key is wrong.
        """
        if self.settings is before and self._refresh.due_at_401(self._monotonic()):
            with contextlib.suppress(PixxelError):
                self.reread()
        if unread := self._refresh.unread:
            raise unread
        return self.settings

    def _exchange(
        self, settings: Settings, call: Call[Any], request: protocol.Request
    ) -> protocol.Answer | None:
        body = protocol.Body(call)
        if request.fresh:
            # A kept connection may have been closed by the server: then nobody knows whether it was heard.
            self.close()
        try:
            with (
                requests_transport.budget(request.timeout, call.limit + protocol.HEAD_LIMIT),
                self.get_conn().request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    timeout=(min(settings.connect_timeout, request.timeout), settings.read_timeout),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                found = protocol.joined(response.raw.headers.iteritems())
                # urllib3 would prepare to decode it, and refuse to where it is encoded often.
                response.raw.headers.discard("Content-Encoding")
                if not protocol.is_redirect(response.status_code):
                    for chunk in response.raw.stream(protocol.CHUNK, decode_content=False):
                        body.add(chunk)
                return protocol.Answer(response.status_code, found, body.whole())
        except requests_transport.TooLarge:
            raise protocol.too_large(call) from None
        except PixxelError:
            raise
        except Exception as error:
            kept = any(isinstance(found, requests_transport.KeptConnectionBroke) for found in causes(error))
            if kept and not request.fresh:
                return None
            # Whatever a library makes of what a server has sent.
            raise unreachable(settings, call, error) from None


class PixxelAsyncHook(BaseHook):
    """Reach the API of Pixxel from a trigger; same settings, policy and errors as :class:`PixxelHook`.

    All hooks of one event loop and connection share one HTTP session, which is closed with the loop, or when
    the last trigger that watches a job has left.

    :param pixxel_conn_id: id of an Airflow connection of type ``pixxel``.
    """

    def __init__(
        self,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.pixxel_conn_id = pixxel_conn_id
        self._monotonic = monotonic
        self._refresh = ConnectionRefresh()
        self._settings: Settings | None = None
        self._reading = asyncio.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # Without the key, and without the lock of a loop: a copy reads the connection itself.
        return {k: v for k, v in self.__dict__.items() if k not in ("_settings", "_reading")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _settings=None, _reading=asyncio.Lock(), _refresh=ConnectionRefresh())

    @property
    def settings(self) -> Settings | None:
        """What the connection said when it was read last, None where it never could be."""
        return self._settings

    @property
    def refresh(self) -> ConnectionRefresh:
        """When the connection is read anew, and how the last attempts ended."""
        return self._refresh

    def adopt(self, settings: Settings) -> None:
        """Use from now on what somebody else has read of the same connection."""
        self._settings = settings
        self._refresh.was_read(self._monotonic())

    async def get_settings(self) -> Settings:
        """Return what the connection says; it is read at first use, and now and then while requests fail."""
        if (found := self._usable()) is not None:
            return found
        # Many waits may come at once, and each look-up is a question to Airflow.
        async with self._reading:
            if (found := self._usable()) is not None:
                return found
            try:
                return await self._reread()
            except PixxelError as error:
                if self._settings is None:
                    raise
                self.log.warning(_STALE, error)
                return self._settings

    def _usable(self) -> Settings | None:
        if self._refresh.due(self._monotonic()):
            return None
        if self._settings is None and (unread := self._refresh.unread):
            raise unread
        return self._settings

    async def _reread(self) -> Settings:
        try:
            found = await _look_up(self.pixxel_conn_id)
        except PixxelError as error:
            self._refresh.was_read(self._monotonic(), error)
            raise
        if self._settings is not None:
            # Its file of certificates may be another by now, under the same name.
            await release_session(self.pixxel_conn_id)
        self.adopt(found)
        return found

    async def send(
        self,
        call: Call[T],
        *,
        retry_for: float = retry.RETRY_FOR,
        on_size: Callable[[int], None] | None = None,
    ) -> T:
        """Send a call and return its answer; see :meth:`PixxelHook.send`.

        :param on_size: is told the size of the answer, in bytes.
        """
        if retry_for <= 0:
            return await self._attempt(call, on_size)
        from tenacity import AsyncRetrying

        policy = retry.policy(call, retry_for)
        return await AsyncRetrying(sleep=self._pause, **policy)(self._attempt, call, on_size)

    # Tests hand in a fake one.
    _pause = staticmethod(asyncio.sleep)

    async def _attempt(self, call: Call[T], on_size: Callable[[int], None] | None) -> T:
        try:
            answer = await self._send_once(call, on_size)
        except PixxelError as error:
            self._refresh.ended(self._monotonic(), error)
            raise
        self._refresh.ended(self._monotonic(), None)
        return answer

    async def _send_once(self, call: Call[T], on_size: Callable[[int], None] | None = None) -> T:
        settings = await self.get_settings()
        steps = protocol.exchange(settings, call)
        step = next(steps)
        while True:
            got: protocol.Answer | Settings | None
            if isinstance(step, protocol.ReadConnection):
                got = settings = await self._read_anew(step.before)
            else:
                got = await self._exchange(settings, call, step)
            try:
                step = steps.send(got)
            except StopIteration as done:
                settings, answer = done.value
                break
        if on_size is not None:
            on_size(len(answer.body))
        async with reading_turn(answer.is_large):
            if answer.is_large:
                # What takes long to read holds up nobody there.
                return await asyncio.to_thread(protocol.read, settings, call, answer)
            return protocol.read(settings, call, answer)

    async def _read_anew(self, before: Settings) -> Settings:
        """Return what the connection says after a 401; see :meth:`PixxelHook._read_anew`."""
        async with self._reading:
            if self._settings is before and self._refresh.due_at_401(self._monotonic()):
                with contextlib.suppress(PixxelError):
                    await self._reread()
        if unread := self._refresh.unread:
            raise unread
        return self._settings or before

    async def _exchange(
        self, settings: Settings, call: Call[Any], request: protocol.Request
    ) -> protocol.Answer | None:
        try:
            session = fresh_session if request.fresh else shared_session
            async with session(settings) as lent, timeout(request.timeout):
                return await self._ask(lent, settings, call, request)
        except PixxelError:
            raise
        except Exception as error:
            # Whatever a library makes of what a server has sent, or of a file of certificates.
            if type(error).__name__ == "TooLargeError":
                raise protocol.too_large(call) from None
            if type(error).__name__ == "KeptConnectionBrokeError" and not request.fresh:
                return None
            raise unreachable(settings, call, error) from None

    async def _ask(
        self, session: Any, settings: Settings, call: Call[Any], request: protocol.Request
    ) -> protocol.Answer:
        body = protocol.Body(call)
        import aiohttp
        from yarl import URL

        limits = aiohttp.ClientTimeout(
            # Not aiohttp's: that one doesn't end all that may follow a broken answer.
            total=None,
            connect=settings.connect_timeout,
            sock_connect=settings.connect_timeout,
            sock_read=settings.read_timeout,
        )
        async with session.request(
            request.method,
            # Already quoted: yarl would otherwise decode what it thinks needs no quoting.
            URL(request.url, encoded=True),
            headers=request.headers,
            timeout=limits,
            allow_redirects=False,
            proxy=settings.proxy,
        ) as response:
            if not protocol.is_redirect(response.status):
                async for chunk in response.content.iter_chunked(protocol.CHUNK):
                    body.add(chunk)
            pairs = ((n.decode("latin-1"), v.decode("latin-1")) for n, v in response.raw_headers)
            return protocol.Answer(response.status, protocol.joined(pairs), body.whole())
