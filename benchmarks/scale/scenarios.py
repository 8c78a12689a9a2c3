"""Which runs are made, in groups that can be asked for by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scale.case import Case


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    label: str
    case: Case


@dataclass(frozen=True)
class Group:
    """Runs that stand in one table; each round makes all of them once, in turn."""

    title: str
    rows: dict[str, Row]
    rounds: int = 1

    def quick(self) -> Group:
        """Return the same with one short round, to see whether everything works."""
        rows = {
            key: replace(row, case=replace(row.case, first=2, last=6, jobs=min(row.case.jobs, 100)))
            for key, row in self.rows.items()
        }
        return replace(self, title=f"{self.title}, cut short to 100 jobs", rows=rows, rounds=1)


OURS, DBT, FIVETRAN, HTTP = "this package", "dbt Cloud", "Fivetran", "http (event trigger)"
PEERS = {"dbt": DBT, "fivetran": FIVETRAN, "http": HTTP}
#: How many jobs the plot shows; the run with 1,000 is the main group's.
SIZES = (100, 1_000, 3_000)


def _all(prefix: str = "", **case: object) -> dict[str, Row]:
    systems = {"pixxel": OURS, **PEERS, "floor": "as many sleeping tasks"}
    return {
        f"{prefix}{system}": Row(label, Case(system, **case))  # type: ignore[arg-type]
        for system, label in systems.items()
    }


GROUPS = {
    "main": Group(
        "1,000 jobs over 10 workflows, every 2 s, ending within 24 s",
        {
            **_all(),
            "get": Row("one bare get (aiohttp) after a job's end", Case("get")),
            "quick": Row(f"{OURS}, every 0.5 s", Case("pixxel", interval=0.5)),
            "single": Row(f"{OURS}, one job per workflow", Case("pixxel", workflows=1_000)),
        },
        rounds=3,
    ),
    "size": Group(
        "100 and 3,000 jobs over 10 workflows",
        {
            f"{jobs}-{key}": replace(row, label=f"{row.label}, {jobs:,} jobs")
            for jobs in SIZES
            if jobs != 1_000
            for key, row in _all(jobs=jobs).items()
        },
    ),
    "workflows": Group(
        "1,000 jobs over 1 and 100 workflows",
        {
            f"over-{count}": Row(
                f"{OURS}, {count} workflow{'s' * (count > 1)}", Case("pixxel", workflows=count)
            )
            for count in (1, 100)
        },
    ),
    "old": Group(
        "workflows with 500 old jobs each",
        {
            "two-pixxel": Row(
                f"{OURS}, 2 jobs of 1 workflow",
                Case("pixxel", jobs=2, workflows=1, old=500, first=3, last=23),
            ),
            "two-dbt": Row(f"{DBT}, 2 jobs", Case("dbt", jobs=2, workflows=1, first=3, last=23)),
            "old-pixxel": Row(f"{OURS}, 1,000 jobs of 10 workflows", Case("pixxel", old=500)),
        },
    ),
    "spread": Group(
        "1,000 jobs over 10 workflows, ending within 12 s, the triggers started over one interval",
        {
            "spread-pixxel": Row(OURS, Case("pixxel", spread=True, last=12)),
            "spread-dbt": Row(DBT, Case("dbt", spread=True, last=12)),
        },
    ),
    "small": Group(
        "1,000 jobs over 10 workflows, ending within 12 s, answers of 2 kB (3 tasks)",
        {
            "small-pixxel": Row(OURS, Case("pixxel", tasks=3, last=12)),
            "small-dbt": Row(DBT, Case("dbt", tasks=3, last=12)),
        },
    ),
    "tls": Group(
        "300 jobs over 10 workflows, ending within 12 s, over TLS",
        {
            "tls-pixxel": Row(OURS, Case("pixxel", jobs=300, tls=True, last=12)),
            "tls-dbt": Row(DBT, Case("dbt", jobs=300, tls=True, last=12)),
        },
    ),
    "long": Group(
        "1,000 jobs over 10 workflows, ending between 50 and 60 s",
        {
            "long-pixxel": Row(OURS, Case("pixxel", first=50, last=60)),
            "long-dbt": Row(DBT, Case("dbt", first=50, last=60)),
        },
    ),
    "many": Group(
        "10,000 jobs over 10 workflows in one process",
        {
            "many-pixxel": Row(OURS, Case("pixxel", jobs=10_000)),
            "many-floor": Row("as many sleeping tasks", Case("floor", jobs=10_000)),
        },
    ),
}

#: Peer and ours whose figures are divided, by the name the ratio has in the last line.
PAIRS = {
    **{key: (key, "pixxel") for key in PEERS},
    "one bare get": ("get", "pixxel"),
    "dbt / ours every 0.5 s": ("dbt", "quick"),
    "dbt / ours, one job per workflow": ("dbt", "single"),
    **{f"{key}, {jobs} jobs": (f"{jobs}-{key}", f"{jobs}-pixxel") for jobs in (100, 3_000) for key in PEERS},
    "dbt, started over an interval": ("spread-dbt", "spread-pixxel"),
    "dbt, answers of 2 kB": ("small-dbt", "small-pixxel"),
    "dbt, TLS": ("tls-dbt", "tls-pixxel"),
    "dbt, 2 jobs and 500 old": ("two-dbt", "two-pixxel"),
    "dbt, 60 s": ("long-dbt", "long-pixxel"),
}
