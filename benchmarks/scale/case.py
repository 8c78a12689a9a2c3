"""What one measured run is asked to do, and when its jobs end."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Case:
    """One run: a system, its jobs, and the time they take. Server and worker both read it."""

    system: str
    """A key of ``systems.SYSTEMS``."""
    jobs: int = 1_000
    workflows: int = 10
    old: int = 0
    """Jobs of each workflow that ended long ago and that nobody watches."""
    interval: float = 2.0
    """Seconds between two looks."""
    first: float = 2.0
    """Seconds after the start at which the first job ends."""
    last: float = 24.0
    """The same for the last one; the others are spread evenly between."""
    spread: bool = False
    """Start the triggers over one interval, not all at once as after a restart of the triggerer."""
    tls: bool = False
    tasks: int = 50
    """Tasks of each job: 50 make an answer of 26 kB."""

    def text(self) -> str:
        """Return the case as one word for a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Case:
        """Return what :meth:`text` was made of."""
        return cls(**json.loads(text))

    def ends(self) -> list[float]:
        """Return when each job ends, in seconds after the start; every process gets the same answer."""
        step = (self.last - self.first) / max(self.jobs - 1, 1)
        found = [self.first + step * number for number in range(self.jobs)]
        # Jobs of one workflow must not end one after another.
        random.Random(7).shuffle(found)
        return found


def job_id(number: int) -> str:
    """Return the id of a job; as long as a UUID, as ids of such APIs are."""
    return f"0b5e7a3c-1d2f-4e60-8a9b-{number:012d}"


def workflow_id(number: int) -> str:
    """Return the id of a workflow; job ``n`` belongs to workflow ``n`` modulo their count."""
    return f"6f1d9c44-83ab-4c27-b5de-{number:012d}"


def number_of(identifier: str) -> int:
    """Return the number of a job or workflow."""
    return int(identifier[-12:])
