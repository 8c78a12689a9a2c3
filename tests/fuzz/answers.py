"""Pixxel's answers: every call's reader as both clients use it, and all that is made of what it returns."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from datetime import datetime, timezone
from typing import Any

from hypothesis import strategies as st

from pixxel_provider.api import messages, parsing, redaction, schedule, urls
from pixxel_provider.api.job import RAW_FIELDS, Job
from pixxel_provider.api.judges import EndedJobPoll, JobPoll, PackagePoll
from pixxel_provider.api.models import Download
from pixxel_provider.api.polling import PollState, WaitPlan
from pixxel_provider.api.retry import LONGEST_RETRY_AFTER, read_retry_after
from pixxel_provider.connection import Settings
from pixxel_provider.download import checksums, response
from pixxel_provider.download.address_guard import AddressGuard
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.hooks import protocol
from pixxel_provider.hooks.protocol import Answer
from pixxel_provider.outcome import event_of, result_of
from tests.api.test_any_json import EVERY_CALL, assert_is, assert_storable, one_paragraph
from tests.fuzz.surface import assert_json, assert_nameable, attempt, bounded, surface
from tests.fuzz.texts import ANSWERS, RUNS, VALUE, WORDS, escaped
from tests.support import CANARY, RecordingLog

#: Keys as people have them: some begin with a sign.
KEYS = [CANARY, CANARY, f"-{CANARY}", f"_{CANARY}=", f'"{CANARY}\\']


def settings_with(key: str) -> Settings:
    return Settings(
        conn_id="pixxel_default",
        base_url="https://api.pixxel.space",
        authorization=f"Bearer {key}",
        secrets=(f"Bearer {key}", key),
        connect_timeout=5.0,
        read_timeout=5.0,
        verify=True,
        proxy=None,
        console_url="https://aurora.pixxel.space/{workflow_id}",
    )


SETTINGS = {key: settings_with(key) for key in KEYS}
PACKERS: dict[str, Any] = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "gzip, deflate": lambda data: zlib.compress(gzip.compress(data)),
    "identity, x-gzip": lambda data: gzip.compress(data)[:-3],
    "br": lambda data: data,
}


def body_of(found: Any, form: str, key: str = CANARY) -> bytes:
    """Return an answer's JSON, in which the server repeats the key."""
    # Not the signs of JSON itself are escaped.
    written = json.dumps(key)[1:-1]
    if form == "escaped":
        written = written.replace(CANARY, escaped(CANARY))
    text = json.dumps(found).replace(CANARY, written)
    if form in ("utf-16", "utf-32"):
        return text.encode(form)
    if form == "cut":
        return text.encode()[: len(text) * 2 // 3]
    if form == "deep":
        return b'{"a":' * 30_000 + text.encode()
    if form == "digits":
        return text.encode().replace(b"1", b"1" * 6_000)
    if form == "page":
        return b"<html><title>" + text.encode()
    return text.encode()


FORMS = st.sampled_from(["", "", "", "", "", "escaped", "utf-16", "utf-32", "cut", "deep", "digits", "page"])
HEADER = RUNS | st.sampled_from(
    ["5", "Fri, 31 Dec 2027 23:59:59 GMT", "", "1e999", "-0", "1790000000", "text/html; x"]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "content-type", "x-other"]), HEADER, max_size=3
).filter(lambda found: all("\ud800" not in value for value in found.values()))
STATUSES = st.sampled_from(
    [200] * 12 + [201, 204, 302, 400, 401, 403, 404, 407, 409, 429, 500, 503, 599, 999]
)
ANSWER = st.tuples(
    st.sampled_from(sorted(EVERY_CALL)),
    st.sampled_from(KEYS),
    STATUSES,
    HEADERS,
    ANSWERS,
    FORMS,
    st.sampled_from(sorted(PACKERS)),
)


@surface("answers", 20, ANSWER)
def answers(case: Any) -> None:
    """An answer is what its call promises, or an error of this package."""
    name, key, status, headers, found, form, coding = case
    call, promised = EVERY_CALL[name]
    body = PACKERS[coding](body_of(found, form, key))
    answer = Answer(status, {**headers, **({"content-encoding": coding} if coding else {})}, body)
    value = attempt(lambda: protocol.read(SETTINGS[key], call, answer))
    if isinstance(value, Exception):
        return
    assert_is(value, promised)
    assert CANARY not in repr(value)
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, Job):
            use(each)
        elif isinstance(each, Download):
            assert CANARY not in each.signed_url


def use(job: Job) -> None:
    """Do with a job all that the package does with one."""
    with bounded():
        assert_storable(job.metadata())
        assert_storable(job.metadata(RAW_FIELDS))
        assert_json(job.metadata())
        texts = [messages.failure_text(job), messages.progress_line(job), messages.status_line(job)]
        spans = schedule.task_spans(job)
        assert len(spans) == len(job.tasks)
        result = PollState(JobPoll("w", "j"), WaitPlan(), log=RecordingLog(levels=False)).judge(job)
        listed = EndedJobPoll("w", "2026-01-01T00:00:00Z").result([job])
    for each in (result, listed):
        if each is not None:
            texts.append(each.message)
            assert result_of(json.loads(assert_json(event_of(each)))) == each
    for words in texts:
        assert one_paragraph(words, 2_200), words
        assert CANARY not in words


JOBS = st.tuples(
    st.dictionaries(
        st.sampled_from("created_at finished_at updated_at cost progress estimated_duration".split()), VALUE
    ),
    st.lists(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["a", "b", "c", "", "\x00"]),
                "status": WORDS,
                "depends_on": st.lists(st.sampled_from(["a", "b", "c", "z", 1, None, "\x00"]), max_size=4),
            },
            optional={
                "created_at": VALUE,
                "finished_at": VALUE,
                "err_msg": WORDS,
                "estimated_time_duration": VALUE,
            },
        ),
        max_size=6,
    ),
    WORDS,
)


@surface("jobs", 8, JOBS)
def jobs(case: Any) -> None:
    """A job with any tasks in any order, circles among them, can be told, stored and waited for."""
    fields, tasks, status = case
    if CANARY in json.dumps([fields, tasks, status]):
        # Only what comes through a client is redacted.
        return
    found = attempt(lambda: Job.read({"id": "j", "status": status, **fields, "tasks": tasks}))
    if isinstance(found, Job):
        use(found)
    package = attempt(lambda: Download.read({"id": "d", "status": status, "signed_url": "https://x/"}))
    if isinstance(package, Download):
        attempt(lambda: PollState(PackagePoll("w", "j"), WaitPlan(), log=RecordingLog()).judge(package))


NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)


@surface("texts", 10, st.tuples(WORDS | RUNS, st.sampled_from(KEYS), VALUE))
def texts(case: Any) -> None:
    """Each reader of a single text or value takes any, in a time that grows with its length alone."""
    words, key, value = case
    for each in (words, value):
        with bounded(1.0):
            assert type(parsing.text(each)) is str
            assert parsing.number(each) is None or -(2**63) <= parsing.number(each) <= 2**63  # type: ignore[operator]
            assert parsing.percent(each) is None or 0 <= parsing.percent(each) <= 100  # type: ignore[operator]
            assert parsing.timestamp(each) is None or parsing.timestamp(each).tzinfo is timezone.utc  # type: ignore[union-attr]
            parsing.timestamp_text(each)
            json.dumps(parsing.json_safe(parsing.raw_bytes(each)), allow_nan=False)
    with bounded(1.0):
        clean = redaction.redact(words, [key])
        redaction.redact(f"{words}{key}", [key])
        redaction.redact_json(json.dumps(words).encode(), [key])
        redaction.without_secrets(words)
        assert key not in clean
        after = read_retry_after(words, NOW, words)
        assert after is None or 0 <= after <= LONGEST_RETRY_AFTER
    for read in (urls.parse, urls.read_host, urls.read_port, urls.read_authority):
        with bounded(1.0):
            try:
                read(words)
            except ValueError as refused:
                assert_nameable(refused)
    if not re.search("[\ud800-\udfff]", words):
        # What an address may hold.
        with bounded(1.0):
            urls.normal_path(words)


LOCATION = st.builds(
    lambda start, words: start + words,
    st.sampled_from(
        [
            "",
            "/",
            "//",
            "https://",
            "https://api.pixxel.space",
            "https://api.pixxel.space/",
            "file:///",
            "https://a:b@api.pixxel.space/",
            "http://169.254.169.254/",
            "https://[",
            "?",
            "../" * 9,
        ]
    ),
    WORDS,
)
PACKAGE_HEADERS = st.dictionaries(
    st.sampled_from(
        "content-length content-range content-encoding transfer-encoding etag last-modified digest "
        "repr-digest x-goog-hash x-ms-blob-content-md5 content-md5 content-digest retry-after date "
        "content-type".split()
    ),
    HEADER | st.sampled_from(["bytes 0-9/10", "bytes 0-9/*", "10", "chunked", "md5=:AAAA:", "gzip"]),
    max_size=4,
)


@surface(
    "storage", 6, st.tuples(LOCATION, PACKAGE_HEADERS, st.sampled_from([200, 206, 302, 403, 500, 777]), RUNS)
)
def storage(case: Any) -> None:
    """A redirect leads to where a request may go, or nowhere; a package's head is read or refused."""
    location, headers, status, beginning = case
    settings = SETTINGS[CANARY]
    call, _ = EVERY_CALL["get_job"]
    asked = protocol.url(settings, call)
    found = attempt(
        lambda: protocol.redirect(settings, call, asked, Answer(302, {"location": location}, b""))
    )
    assert (
        found is None or isinstance(found, Exception) or found.startswith("https://api.pixxel.space:443/")
    ), found

    signed = SignedUrl(asked).follow(location)
    place = attempt(lambda: AddressGuard(settings).check(signed))
    assert isinstance(place, Exception) or place.scheme == "https", place

    head = attempt(lambda: response.read_response(status, headers))
    if not isinstance(head, Exception):
        assert_is(head.start, int)
        assert head.total is None or 0 <= head.start <= head.total or head.start == 0
    with bounded():
        checksums.promised(headers)
    body = beginning.encode("utf-8", "replace")[: response.BEGINNING]
    attempt(lambda: response.check_content(headers, body, "package.zip"))
