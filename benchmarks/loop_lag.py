"""How late the triggerer's event loop beats while 200 triggers wait for an API that takes 2 s to answer."""

from __future__ import annotations

import asyncio
import os

# 200 triggers have much to say, and this measures what they do.
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"

from server import running

from pixxel_provider.triggers.pixxel import PixxelJobTrigger

TRIGGERS, SECONDS, BEAT = 200, 20.0, 0.01


async def beats(seconds: float) -> list[float]:
    """Return by how many milliseconds each beat came too late, in order of size."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    late = []
    while loop.time() < end:
        before = loop.time()
        await asyncio.sleep(BEAT)
        late.append((loop.time() - before - BEAT) * 1000)
    return sorted(late)


async def measure() -> tuple[list[float], list[float]]:
    """Return the lag of an empty loop, and of one that 200 triggers share."""
    empty = await beats(3)
    triggers = [PixxelJobTrigger("wf-endless", f"bench-{n}", poke_interval=4) for n in range(TRIGGERS)]
    waits = [asyncio.ensure_future(anext(trigger.run())) for trigger in triggers]
    busy = await beats(SECONDS)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return empty, busy


def main() -> dict[str, float]:
    """Print the lag's median and 99th percentile."""
    # Without the list each job is asked for by itself: the worst that can happen to the loop.
    faults = ("route=get_job,latency=2,times=0", "route=list_jobs,status=403,times=0")
    with running("--fault", faults[0], "--fault", faults[1]) as url:
        import requests

        for number in range(TRIGGERS):
            job = {"workflow_id": "wf-endless", "id": f"bench-{number}"}
            requests.post(f"{url}/_control/jobs", json=job, timeout=10).raise_for_status()
        empty, busy = asyncio.run(measure())
        asked = requests.get(f"{url}/_control/counters", timeout=10).json()["total"]

    def line(name: str, late: list[float]) -> str:
        p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
        return f"  {name:13} p50 {p50:5.2f}   p99 {p99:5.2f}   worst {late[-1]:5.2f}"

    print(f"Lag of the event loop, {TRIGGERS} triggers, {asked} requests in {SECONDS:.0f} s, ms:")
    print(line("an empty loop", empty))
    print(line("with triggers", busy))
    p99 = busy[int(len(busy) * 0.99)]
    print(f"  p99: {p99:.1f} (aim: under 20)")
    return {"lag_p99_ms": round(p99, 2)}


if __name__ == "__main__":
    main()
