from __future__ import annotations

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.server import Simulator
from tests.simulator.client import JOBS, Client, ping, wait_for


def test_requests_and_answers_are_counted(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("get_job", status=503)
    sent = sum(
        len(answer.content)
        for answer in (client.job("job-finished"), client.job("job-finished"), client.get("/v0/x"))
    )
    counters = client.control("GET", "/counters").json()
    assert counters["total"] == 3
    assert counters["routes"] == {"get_job": 2, "unmatched": 1}
    assert counters["statuses"] == {"get_job": {"503": 1, "200": 1}, "unmatched": {"404": 1}}
    assert counters["bytes_sent"] == sent
    assert counters["max_concurrent"] == 1
    assert counters["in_flight"] == 0
    assert counters["connections"] >= 1
    assert client.control("DELETE", "/counters").json()["total"] == 0


def test_requests_are_recorded_without_the_key(pixxel: Simulator, client: Client) -> None:
    client("GET", f"{JOBS}/a%2Fb", params={"x": "1"}, headers={"User-Agent": "me/1"})
    (seen,) = client.control("GET", "/requests").json()["requests"]
    assert (seen["route"], seen["method"], seen["path"], seen["query"]) == (
        "get_job",
        "GET",
        f"{JOBS}/a%2Fb",
        "x=1",
    )
    assert (seen["ids"]["job_id"], seen["status"], seen["user_agent"]) == ("a/b", 404, "me/1")
    assert seen["authorization"] == "bearer"
    assert pixxel.key not in str(seen)


def test_many_requests_at_once_are_counted_at_once() -> None:
    with serve(faults=["route=ping,latency=600,times=0"]) as pixxel:
        sockets = [ping(pixxel) for _ in range(8)]
        wait_for(lambda: pixxel.requests("ping") == 8)
        counters = pixxel.counters.snapshot()
    for each in sockets:
        each.close()
    assert (counters["total"], counters["connections"], counters["max_concurrent"]) == (8, 8, 8)
    assert (counters["in_flight"], counters["statuses"]) == (8, {})
    after = pixxel.counters.snapshot()
    assert (after["in_flight"], after["open_connections"]) == (0, 0)
    assert after["statuses"] == {"ping": {"dropped": 8}}
