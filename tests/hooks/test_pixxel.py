"""Every case goes through both hooks against one server: what holds for one holds for the other."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from typing import Any

import pytest

from pixxel_provider import __version__
from pixxel_provider.api import calls
from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelAuthError,
    PixxelConnectionError,
    PixxelError,
    PixxelInputError,
    PixxelResponseError,
    PixxelServerError,
)
from pixxel_provider.clock import Clock
from pixxel_provider.hooks import protocol, sessions
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook

JOB = calls.get_job("wf-succeeds", "job-finished")
CREATE = calls.create_job("wf-succeeds", "project-agriculture")


def connect(pixxel: Any, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps({**pixxel.airflow_connection, **changes}))


ALL_CALLS = [
    JOB,
    calls.list_jobs("wf-succeeds"),
    calls.list_jobs("wf-succeeds", status="completed", job_id="job-finished"),
    calls.get_workflow("wf-succeeds", "project-agriculture"),
    calls.list_workflows(limit=2),
    calls.list_workflows(project_id="project-coast", offset=1),
    calls.estimate_cost("wf-succeeds"),
    calls.ping(),
    calls.list_projects(),
]


@pytest.mark.parametrize("call", ALL_CALLS, ids=str)
def test_both_hooks_read_the_same_answer(pixxel: Any, both: Any, call: Any) -> None:
    sync, asynchronous = both(lambda client: client.send(call))
    assert sync == asynchronous
    assert sync is not None


def test_an_error_carries_the_servers_words(pixxel: Any, client: Any) -> None:
    envelope = {"error": {"code": "quota", "message": "no credits left", "details": {"left": 0}}}
    pixxel.fail_next("get_job", status=400, json=envelope)
    error = client.error(JOB)
    assert (error.status_code, error.code, error.message) == (400, "quota", "no credits left")
    assert error.details == {"left": 0}
    assert "no credits left" in str(error)
    assert '{"left": 0}' in str(error)


# What is wrong with the connection, and the reason in the error.
UNREACHED: dict[str, tuple[dict[str, Any], str]] = {
    "a refused connection": ({"host": "http://127.0.0.1:1"}, "refused"),
    "an unknown host": ({"host": "https://no-such-host.invalid"}, "dns"),
    "a proxy that does not exist": ({"extra": {"proxy": "http://no-such-proxy.invalid:3128"}}, "proxy"),
}


@pytest.mark.parametrize(("changes", "reason"), UNREACHED.values(), ids=UNREACHED)
def test_what_never_reached_the_server_was_never_sent(
    pixxel: Any, both: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str
) -> None:
    connect(pixxel, monkeypatch, **changes)
    sync, asynchronous = both(lambda client: client.error(JOB))
    assert type(sync) is type(asynchronous) is PixxelConnectionError
    assert (sync.reason, sync.sent) == (asynchronous.reason, asynchronous.sent) == (reason, False)
    assert sync.fields() == asynchronous.fields() or reason == "dns"


def test_tls_against_a_server_without_it_is_named(
    pixxel: Any, both: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(pixxel, monkeypatch, host=pixxel.url.replace("http://", "https://"))
    sync, asynchronous = both(lambda client: client.error(JOB))
    assert sync.fields()["reason"] == asynchronous.fields()["reason"] == "tls"


@pytest.mark.parametrize(
    "job_id",
    ["a/b", "../../x", "a?b", "a#b", "a b", "ü日本", "%2e%2e", "a%2Fb", "..", ".", "a;b", "a+b&c", "\n"],
)
def test_an_id_reaches_the_server_in_one_segment_or_not_at_all(pixxel: Any, both: Any, job_id: str) -> None:
    def ask(client: Any) -> Any:
        try:
            return client.error(calls.get_job("wf-succeeds", job_id)).fields()
        except PixxelInputError as error:
            return error.fields()

    sync, asynchronous = both(ask)
    assert sync == asynchronous
    if job_id in ("..", ".", "\n"):
        assert sync["field"] == "job_id"
        assert pixxel.requests("get_job") == 0
    else:
        assert sync["status_code"] == 404
        assert repr(job_id)[1:-1] in sync["message"]
        assert pixxel.requests("get_job") == 2


def test_an_exchange_that_has_reached_its_deadline_sends_nothing_more(pixxel: Any) -> None:
    times = iter([0.0, 1e6])
    with pytest.raises(PixxelConnectionError, match="the answer took too long") as caught:
        next(protocol.exchange(PixxelHook().settings, JOB, lambda: next(times)))
    assert (caught.value.reason, caught.value.sent) == ("timeout", True)


def test_a_redirect_within_the_host_is_followed_with_the_key(pixxel: Any, client: Any) -> None:
    pixxel.fail_next("get_job", status=308, location="/v0/workflows/wf-succeeds/jobs/job-finished?moved=1")
    assert client.send(JOB).id == "job-finished"
    assert pixxel.requests("get_job") == 2


def test_a_redirect_to_another_host_never_carries_the_key(pixxel: Any, client: Any) -> None:
    from pixxel_provider.simulator import serve

    with serve(key="other-key") as other:
        pixxel.fail_next(
            "get_job", status=302, location=f"{other.url}/v0/workflows/wf-succeeds/jobs/job-finished"
        )
        error = client.error(JOB)
        assert isinstance(error, PixxelResponseError)
        assert other.url.removeprefix("http://") in str(error)
        assert other.requests("get_job") == 0


@pytest.mark.parametrize(
    ("fault", "attempts"), [({"status": 503, "times": 3}, 4), ({"status": 429, "retry_after": 17}, 2)]
)
def test_transient_errors_are_retried_after_a_retry_after_at_the_earliest(
    pixxel: Any, client: Any, fault: dict[str, Any], attempts: int
) -> None:
    pixxel.fail_next("get_job", **fault)
    assert client.send(JOB, retry_for=60).status == "completed"
    assert pixxel.requests("get_job") == attempts == len(client.pauses) + 1
    assert min(client.pauses) >= fault.get("retry_after", 0)


def test_retries_end_with_the_servers_own_error(pixxel: Any, client: Any) -> None:
    pixxel.fail_next("get_job", status=503, times=0)
    assert isinstance(client.error(JOB, retry_for=60), PixxelServerError)
    assert sum(client.pauses) <= 60
    assert pixxel.requests("get_job") == len(client.pauses) + 1


@pytest.mark.parametrize(
    ("call", "fault", "retry_after"),
    [
        (JOB, {"status": 429, "retry_after": 3600}, 900),
        *((JOB, {"status": status}, None) for status in (400, 401, 403, 404)),
        *((CREATE, fault, None) for fault in ({"status": 503}, {"drop": "reset"}, {"body": "html"})),
        (CREATE, {"truncate": 5}, None),
    ],
)
def test_permanent_errors_lost_bills_and_a_long_retry_after_are_not_retried(
    pixxel: Any, client: Any, call: Any, fault: dict[str, Any], retry_after: float | None
) -> None:
    pixxel.fail_next(call.name, times=0, **fault)
    assert client.error(call, retry_for=60).retry_after == retry_after
    assert client.pauses == []
    assert pixxel.requests(call.name) == 1


def test_a_billed_request_that_was_rejected_is_sent_again(pixxel: Any, client: Any) -> None:
    pixxel.fail_next("create_job", status=429, times=2)
    assert client.send(CREATE, retry_for=60).id
    assert pixxel.requests("create_job") == 3


def test_a_billed_request_never_takes_a_connection_that_may_be_stale(pixxel: Any) -> None:
    hook = PixxelHook(clock=Clock(sleep=lambda seconds: None))
    hook.list_jobs("wf-succeeds")
    pixxel.fail_next("create_job", status=429)
    before = pixxel.counters.connections
    hook.create_job("wf-succeeds", "project-agriculture")
    assert pixxel.requests("create_job") == 2
    assert pixxel.counters.connections == before + 2
    hook.close()


def test_requests_name_the_package_and_its_version(pixxel: Any, client: Any) -> None:
    client.send(JOB)
    assert pixxel.counters.seen[-1].user_agent == f"airflow-provider-pixxel/{__version__}"


def test_ping_goes_without_the_key(pixxel: Any, client: Any) -> None:
    client.send(calls.ping())
    assert pixxel.counters.seen[-1].authorization == "none"


@pytest.mark.parametrize(
    ("key", "scheme", "seen"),
    [
        ("{}", None, "bearer"),
        ("{}", "none", "plain"),
        ("{}", "Token", "token"),
        ("Bearer {}", "Token", "bearer"),
    ],
)
def test_the_key_goes_out_as_the_connection_says(
    pixxel: Any, client: Any, monkeypatch: pytest.MonkeyPatch, key: str, scheme: str | None, seen: str
) -> None:
    connect(pixxel, monkeypatch, password=key.format(pixxel.key), extra={"auth_scheme": scheme})
    try:
        assert client.send(JOB).status == "completed"
    except PixxelAuthError:
        assert seen == "token"
    assert pixxel.counters.seen[-1].authorization == seen


def test_cookies_and_netrc_change_nothing(
    pixxel: Any, client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert client.send(JOB).status == "completed"


def test_a_proxy_of_the_connection_is_used(pixxel: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixxel_provider.simulator import serve

    with serve() as proxy:
        connect(pixxel, monkeypatch, extra={"proxy": proxy.url})
        client.error(JOB)
        # A plain http proxy is asked for the whole address.
        assert proxy.counters.total == 1
        assert pixxel.counters.total == 0


def test_a_proxy_of_the_environment_is_used_unless_the_host_is_excepted(
    pixxel: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert client.error(JOB).fields()["reason"] == "proxy"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert client.send(JOB).status == "completed"


def test_an_undefined_connection_is_named(client: Any) -> None:
    error = client.error(JOB, conn_id="nowhere")
    assert isinstance(error, PixxelInputError)
    assert "'nowhere'" in str(error)


class TestSessions:
    def test_hooks_of_one_loop_share_a_session(self, pixxel: Any) -> None:
        async def ask() -> None:
            hooks = [PixxelAsyncHook() for _ in range(5)]
            found = set()
            for hook in hooks:
                async with sessions.shared_session(await hook.get_settings()) as session:
                    found.add(id(session))
            assert len(found) == 1

        asyncio.run(ask())

    def test_the_session_is_closed_with_its_loop(self, pixxel: Any, recwarn: Any) -> None:
        async def ask() -> Any:
            hook = PixxelAsyncHook()
            await hook.send(JOB)
            async with sessions.shared_session(await hook.get_settings()) as session:
                return session

        first = asyncio.run(ask())
        assert first.closed
        second = asyncio.run(ask())
        assert second is not first
        assert second.closed
        gc.collect()
        assert not [warning for warning in recwarn if "Unclosed" in str(warning.message)]

    def test_a_session_that_is_released_while_in_use_is_closed_afterwards(self, pixxel: Any) -> None:
        async def ask() -> None:
            hook = PixxelAsyncHook()
            async with sessions.shared_session(await hook.get_settings()) as session:
                await sessions.release_session("pixxel_default")
                assert not session.closed
                assert (await hook.send(JOB)).status == "completed"
            assert session.closed
            async with sessions.shared_session(await hook.get_settings()) as another:
                assert another is not session
                await sessions.release_session("pixxel_default")

        asyncio.run(ask())

    def test_a_cancelled_first_user_leaves_the_session_to_the_others(self, pixxel: Any) -> None:
        async def ask() -> None:
            first = asyncio.ensure_future(PixxelAsyncHook().send(JOB))
            second = asyncio.ensure_future(PixxelAsyncHook().send(JOB))
            await asyncio.sleep(0)
            first.cancel()
            assert (await second).status == "completed"

        asyncio.run(ask())


class TestNamedMethods:
    def test_they_ask_what_their_calls_ask(self, pixxel: Any) -> None:
        hook = PixxelHook()
        assert hook.get_job("wf-succeeds", "job-finished").status == "completed"
        assert {job.id for job in hook.list_jobs("wf-succeeds")} == {"job-finished", "job-finished-earlier"}
        assert [job.id for job in hook.list_jobs("wf-succeeds", job_id="job-finished")] == ["job-finished"]
        assert hook.estimate_cost("wf-succeeds") > 0
        assert hook.get_workflow("wf-succeeds", "project-agriculture").id == "wf-succeeds"
        assert hook.create_job("wf-succeeds", "project-agriculture").workflow_id == "wf-succeeds"
        assert hook.request_download("wf-succeeds", "job-finished").status == "pending"
        task = hook.get_job("wf-succeeds", "job-finished").tasks[0]
        assert hook.request_download("wf-succeeds", "job-finished", task.id).status == "pending"

    def test_workflows_come_a_page_at_a_time_and_only_as_they_are_needed(self, pixxel: Any) -> None:
        found = PixxelHook().list_workflows(limit=4)
        assert pixxel.requests("list_workflows") == 0
        first = [next(found) for _ in range(4)]
        assert pixxel.requests("list_workflows") == 1
        assert len({workflow.id for workflow in [*first, *found]}) == 6
        assert pixxel.requests("list_workflows") == 2

    def test_workflows_are_filtered_on_every_page(self, pixxel: Any) -> None:
        found = PixxelHook().list_workflows(project_id="project-coast", limit=2)
        assert {workflow.id for workflow in found} == {"wf-endless", "wf-odd-status", "wf-odd-ended"}
        asked = [seen.query for seen in pixxel.counters.seen if seen.route == "list_workflows"]
        assert all("project_id=project-coast" in query for query in asked)
        assert len(asked) == 2

    @pytest.mark.parametrize(
        ("pages", "total", "limit", "ids", "requests"),
        [
            # A wrong total loses no workflow, and an empty page is the last.
            *(
                (["ab", "cd", "ef", ""], total, 2, "abcdef", 4)
                for total in (0, 1, 2, 6, 100, -1, "many", None)
            ),
            *(([""], total, 50, "", 1) for total in (0, 3, 100, None)),
            # A server may make pages smaller, and a workflow may move to the next page.
            (["ab", "cd", "e"], 5, 50, "abcde", 3),
            (["ab", "bc", ""], 3, 2, "abc", 3),
            # One that repeats its first page isn't asked forever.
            (["ab"] * 9, None, 2, "ab", 2),
        ],
    )
    def test_each_workflow_of_all_pages_comes_once(
        self, pixxel: Any, pages: list[str], total: Any, limit: int, ids: str, requests: int
    ) -> None:
        for page in pages:
            answer = {"workflows": [{"id": each} for each in page], "pagination": {"total": total}}
            pixxel.fail_next("list_workflows", json=answer)
        assert [workflow.id for workflow in PixxelHook().list_workflows(limit=limit)] == list(ids)
        assert pixxel.requests("list_workflows") == requests

    def test_close_can_be_followed_by_more(self, pixxel: Any) -> None:
        hook = PixxelHook()
        hook.get_job("wf-succeeds", "job-finished")
        hook.close()
        hook.close()
        assert hook.get_job("wf-succeeds", "job-finished").status == "completed"


class TestTestConnection:
    """What a person sees who presses the button."""

    def test_it_works_and_names_the_projects(self, pixxel: Any) -> None:
        works, words = PixxelHook().test_connection()
        assert works
        assert "2 projects" in words

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"password": "a-wrong-key-indeed"}, "HTTP 401"),
            ({"password": "no-access-key"}, "HTTP 403"),
            ({"password": ""}, "password is empty"),
            ({"host": "https://no-such-host.invalid"}, "no such host"),
            ({"host": "http://127.0.0.1:1"}, "refused"),
            ({"host": "http://example.com"}, "plain http"),
            ({"host": "TLS"}, "TLS"),
            ({"extra": {"read_timeout": "soon"}}, "read_timeout"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_what_is_wrong_is_told_apart(
        self, pixxel: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: str
    ) -> None:
        if expected == "TLS":
            changes = {"host": pixxel.url.replace("http:", "https:")}
        connect(pixxel, monkeypatch, **changes)
        works, words = PixxelHook().test_connection()
        assert not works
        assert expected in words
        assert pixxel.key not in words

    @pytest.mark.parametrize(
        ("route", "fault", "conn_id", "expected", "requests"),
        [
            ("*", {"body": "html", "times": 0}, "pixxel_default", "isn't a Pixxel API", 2),
            ("list_projects", {"status": 404}, "pixxel_default", "is a Pixxel API, but", 2),
            ("list_projects", {"status": 503, "times": 0}, "pixxel_default", "HTTP 503", 1),
            ("*", {}, "nowhere", "nowhere", 0),
        ],
        ids=["another kind of server", "a Pixxel API without projects", "a busy one", "no connection"],
    )
    def test_each_request_is_sent_once_and_the_message_names_the_reason(
        self, pixxel: Any, route: str, fault: dict[str, Any], conn_id: str, expected: str, requests: int
    ) -> None:
        if fault:
            pixxel.fail_next(route, **fault)
        works, words = PixxelHook(conn_id).test_connection()
        assert not works
        assert expected in words
        assert pixxel.counters.total == requests


def test_the_connection_form_of_old_airflow_has_the_fields_of_the_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys
    from types import SimpleNamespace

    from pixxel_provider.provider_info import CONNECTION_FIELDS

    def field(kind: str) -> Callable[..., Any]:
        return lambda **words: SimpleNamespace(kind=kind, **words)

    kinds = {"BooleanField": "boolean", "IntegerField": "integer", "StringField": "string"}
    fake = {
        "wtforms": SimpleNamespace(**{name: field(kind) for name, kind in kinds.items()}),
        "wtforms.validators": SimpleNamespace(Optional=object),
        "flask_appbuilder": SimpleNamespace(),
        "flask_appbuilder.fieldwidgets": SimpleNamespace(BS3TextFieldWidget=object),
    }
    for name, module in fake.items():
        monkeypatch.setitem(sys.modules, name, module)
    widgets = PixxelHook.get_connection_form_widgets()
    assert {name: (widget.kind, widget.default) for name, widget in widgets.items()} == {
        field.name: (field.kind, field.default) for field in CONNECTION_FIELDS
    }
    assert PixxelHook.get_ui_field_behaviour()["relabeling"]["password"] == "API key"


SIGNED = "https:\\/\\/h.example.com\\/p.zip?sig=SIGNATURE\\u0026more=SIGNATURE"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, f'{{"signed_url":"{SIGNED}"}} and more'),
        (200, f'"signed_url":"{SIGNED}'),
        (500, f'{{"error":{{"message":"m","details":{{"url":"{SIGNED}"}}}}}}'),
        (400, f'{{"error":{{"message":"no {json.loads(chr(34) + SIGNED + chr(34))}"}}}}'),
        (502, f"<html>{SIGNED}"),
        (502, SIGNED.replace("?", "\\u003f").replace("\\/", "\\u002f")),
    ],
    ids=["not JSON", "cut", "in details", "in words", "in HTML", "escaped"],
)
def test_no_error_shows_what_signs_an_address(pixxel: Any, status: int, body: str) -> None:
    answer = protocol.Answer(status, {"content-type": "application/json"}, body.encode())
    with pytest.raises(PixxelError) as caught:
        protocol.read(PixxelHook().settings, calls.download_job("w", "j"), answer)
    assert "SIGNATURE" not in f"{caught.value} {vars(caught.value)} {caught.value.fields()}"


def test_an_error_about_an_address_keeps_its_other_words(pixxel: Any) -> None:
    message = 'package "https://h.example.com/p?sig=1" is not ready'
    said = {"code": "NOT_READY", "message": message, "details": 7}
    answer = protocol.Answer(409, {}, json.dumps({"error": said}).encode())
    with pytest.raises(PixxelApiError) as caught:
        protocol.read(PixxelHook().settings, calls.download_job("w", "j"), answer)
    assert (caught.value.code, caught.value.details) == ("NOT_READY", 7)
    assert caught.value.message == 'package "https://h.example.com/p?…" is not ready'


def test_a_connection_that_only_the_synchronous_way_finds_is_found(
    pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat import connection
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    async def blind(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(connection, "get_async_connection", blind)
    assert asyncio.run(PixxelAsyncHook().send(JOB)).status == "completed"


class TestChangedKey:
    def test_a_key_that_was_changed_is_read_anew_once(
        self, pixxel: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect(pixxel, monkeypatch, password="the-key-of-yesterday")
        hook, asynchronous = PixxelHook(), PixxelAsyncHook()
        assert hook.settings.authorization == "Bearer the-key-of-yesterday"

        async def ask() -> str:
            assert (await asynchronous.get_settings()).authorization == "Bearer the-key-of-yesterday"
            connect(pixxel, monkeypatch)
            return (await asynchronous.send(JOB, retry_for=0)).status

        assert asyncio.run(ask()) == "completed"
        assert hook.send(JOB, retry_for=0).status == "completed"
        assert pixxel.requests("get_job") == 4
        assert hook.send(JOB, retry_for=0).status == "completed"
        assert pixxel.requests("get_job") == 5

    def test_a_key_that_is_still_wrong_is_not_tried_twice(self, pixxel: Any, client: Any) -> None:
        pixxel.fail_next("get_job", status=401, times=0)
        client.error(JOB)
        assert pixxel.requests("get_job") == 1
