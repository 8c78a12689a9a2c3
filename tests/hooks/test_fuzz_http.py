"""What must hold for every answer, tried with some that are made by chance; ``make fuzz`` tries many more."""

from __future__ import annotations

from tests.hooks import fuzz_http
from tests.support import HISTORIES


def test_every_answer_ends_alike_in_both_clients() -> None:
    report = fuzz_http.run(HISTORIES, seed=7, tell=lambda words: None)
    lines = [f"--replay {number}: {problems}" for number, problems in report.failures.items()]
    assert not lines, "\n".join(lines[:20])
    assert report.tried == HISTORIES


def test_an_answer_is_made_the_same_again() -> None:
    hosts = {"own": "o:1", "port": "1", "evil": "e:2", "other": "f:1"}
    one, again, another = (
        [(list(answer.to(b"")), answer.end) for answer in fuzz_http.make(number).answers(hosts)]
        for number in (5, 5, 6)
    )
    assert one == again
    assert one != another
