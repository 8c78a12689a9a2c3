"""The client for tasks: requests drives the exchange of :mod:`pixxel_provider.hooks.protocol`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from pixxel_provider.api import calls, retry
from pixxel_provider.api.errors import PixxelError, PixxelNotFoundError, PixxelResponseError
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.connection import Settings
from pixxel_provider.hooks import protocol, requests_transport
from pixxel_provider.hooks.connection_lookup import STALE, look_up
from pixxel_provider.hooks.connection_refresh import ConnectionRefresh
from pixxel_provider.hooks.network_errors import causes, unreachable
from pixxel_provider.hooks.pixxel_async import PixxelAsyncHook
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

__all__ = ["PixxelAsyncHook", "PixxelHook"]

T = TypeVar("T")


class PixxelHook(BaseHook):
    """Reach the API of Pixxel from a task.

    :param pixxel_conn_id: id of an Airflow connection of type ``pixxel``. It is read at first use, and anew
        after a 401 and now and then while requests fail: somebody may be mending it.
    :param clock: the clock for that, and for the pauses between attempts.

    Every method that sends a request raises :class:`~pixxel_provider.api.errors.PixxelInputError` for an
    argument or a connection that can't be used, :class:`~pixxel_provider.api.errors.PixxelApiError` for an
    error that the API answers with, :class:`~pixxel_provider.api.errors.PixxelConnectionError` if no
    answer arrives and :class:`~pixxel_provider.api.errors.PixxelResponseError` for an answer that isn't what
    the API promises. Transient errors are retried for up to 60 seconds first.
    """

    conn_name_attr = "pixxel_conn_id"
    default_conn_name = DEFAULT_CONNECTION_ID
    conn_type = CONNECTION_TYPE
    hook_name = "Pixxel"

    def __init__(self, pixxel_conn_id: str = DEFAULT_CONNECTION_ID, *, clock: Clock = CLOCK) -> None:
        super().__init__()
        self.pixxel_conn_id = pixxel_conn_id
        self._clock = clock
        self._refresh = ConnectionRefresh()
        self._session: requests.Session | None = None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the fields that the connection form of Airflow before 3.2 hides and renames."""
        return FORM_BEHAVIOUR

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the connection form of Airflow before 3.2, from the one table."""
        # Airflow 3.0 and 3.1 replace exactly these kinds of fields in wtforms.
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
        """The connection's settings as they were last read."""
        return self._read()

    def reread(self) -> None:
        """Read the connection again; the next request uses all of it, including TLS and the proxy.

        :raises PixxelError: it can't be read now; the previous settings stay in use.
        """
        self.__dict__["settings"] = self._read()
        self.close()

    def _read(self) -> Settings:
        try:
            found = look_up(self.pixxel_conn_id)
        except PixxelError as error:
            self._refresh.was_read(self._clock.monotonic(), error)
            raise
        self._refresh.was_read(self._clock.monotonic())
        return found

    def get_conn(self) -> requests.Session:
        """Return the session of this hook; it pools connections and doesn't hold the key."""
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

        :param call: the return value of a function of :mod:`pixxel_provider.api.calls`.
        :param retry_for: seconds for which transient errors are retried; 0 sends once.
        """
        if retry_for <= 0:
            return self._attempt(call)
        from tenacity import Retrying

        answer: T = Retrying(sleep=self._clock.sleep, **retry.policy(call, retry_for))(self._attempt, call)
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
        """Create a job, which is billed. If the answer is lost, it isn't retried: there may be a job."""
        return self.send(calls.create_job(workflow_id, project_id))

    def estimate_cost(self, workflow_id: str) -> int | float:
        """Return the cost of one run of the workflow, in credits."""
        return self.send(calls.estimate_cost(workflow_id))

    def get_workflow(self, workflow_id: str, project_id: str) -> Workflow:
        """Return one workflow with its estimated cost."""
        return self.send(calls.get_workflow(workflow_id, project_id))

    def list_workflows(self, **filters: Any) -> Iterator[Workflow]:
        """Yield workflows, each once; a page is requested when the one before is used up.

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
            # A total that a full page reaches may be wrong; a list that only repeats itself must end.
            if not fresh or (short and page.total is not None and offset >= page.total):
                return

    def request_download(self, workflow_id: str, job_id: str, task_id: str | None = None) -> Download:
        """Request a package of the files of a job or task; repeat the call until it is ready."""
        if task_id is None:
            return self.send(calls.download_job(workflow_id, job_id))
        return self.send(calls.download_task(workflow_id, job_id, task_id))

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection, once; return whether it works and a message for the form."""
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

    def _attempt(self, call: Call[T]) -> T:
        if "settings" in self.__dict__ and self._refresh.due(self._clock.monotonic()):
            try:
                self.reread()
            except PixxelError as error:
                self.log.warning(STALE, error)
        try:
            answer = self._send_once(call)
        except PixxelError as error:
            self._refresh.ended(self._clock.monotonic(), error)
            raise
        self._refresh.ended(self._clock.monotonic(), None)
        return answer

    def _send_once(self, call: Call[T]) -> T:
        steps = protocol.exchange(self.settings, call)
        step = next(steps)
        while True:
            got: protocol.Answer | Settings | None
            if isinstance(step, protocol.ReadConnection):
                got = self._read_anew(step.before)
            else:
                got = self.exchange(self.settings, call, step)
            try:
                step = steps.send(got)
            except StopIteration as done:
                settings, answer = done.value
                break
        # Outside the handling of an exception: an error would show it as its context, with the answer.
        return protocol.read(settings, call, answer)

    def _read_anew(self, before: Settings) -> Settings:
        """Return the settings after a 401; the connection is read again unless that has just failed to help.

        :raises PixxelError: it can't be read now, so it isn't known whether the key is wrong.
        """
        if self.settings is before and self._refresh.due_at_401(self._clock.monotonic()):
            with contextlib.suppress(PixxelError):
                self.reread()
        if unread := self._refresh.unread:
            raise unread
        return self.settings

    def exchange(
        self, settings: Settings, call: Call[Any], request: protocol.Request
    ) -> protocol.Answer | None:
        """Send one request and return its answer: the transport, in whose place a test may put another.

        :return: None if a kept connection broke before the answer began.
        """
        body = protocol.Body(call)
        if request.fresh:
            # The server may have closed a kept connection: then it isn't known whether the request arrived.
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
                # urllib3 would otherwise prepare to decode it, and refuse repeated encodings.
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
            # Any exception that a library raises on what a server has sent.
            raise unreachable(settings, call, error) from None
