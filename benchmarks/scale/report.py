"""Tables of what was measured, for a terminal and for the documentation, and the ratios."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from importlib.metadata import version

from scale.scenarios import GROUPS, PAIRS, Group

#: One run's figures, by name.
Figures = dict[str, float]
#: The runs of each row, by the row's key.
Results = dict[str, list[Figures]]

#: Title, its second line, and how many digits; the order of the columns.
COLUMNS = {
    "requests": ("requests", "", 0),
    "waiting": ("idle", "polls", 0),
    "connections": ("connections", "", 0),
    "megabytes": ("received", "MB", 1),
    "cpu": ("CPU", "s", 2),
    "memory": ("memory", "+ MB", 1),
    "lag_p50": ("lag p50", "ms", 1),
    "lag_p99": ("lag p99", "ms", 1),
    "detect_p50": ("seen p50", "s", 2),
    "detect_p99": ("seen p99", "s", 2),
}
_DISTRIBUTIONS = {
    "apache-airflow": "Airflow",
    "apache-airflow-providers-dbt-cloud": "dbt Cloud provider",
    "airflow-provider-fivetran-async": "Fivetran provider",
    "apache-airflow-providers-http": "http provider",
    "aiohttp": "aiohttp",
}


def setting() -> str:
    """Return where and with what was measured, in one sentence."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = ", ".join(f"{label} {version(name)}" for name, label in _DISTRIBUTIONS.items())
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return f"Measured {today} on {cores} cores, Python {platform.python_version()}, {names}."


def _cell(name: str, runs: list[Figures], spread: bool = True) -> str:
    digits = COLUMNS[name][2]
    values = [run[name] for run in runs]
    words = f"{statistics.median(values):,.{digits}f}"
    if spread and len(values) > 1 and min(values) != max(values):
        words += f" ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
    return words


def _shown(key: str, name: str) -> bool:
    # Sleeping tasks detect nothing.
    return not (key.endswith("floor") and not name.startswith(("cpu", "memory", "lag")))


def table(group: Group, results: Results) -> str:
    """Return a group's table for a terminal: medians, and in brackets the smallest and the largest."""
    head = [["", *(f"{a} {b}".strip() for a, b, _ in COLUMNS.values())]]
    body = [
        [row.label, *(_cell(name, results[key]) if _shown(key, name) else "" for name in COLUMNS)]
        for key, row in group.rows.items()
        if key in results
    ]
    lines = head + body
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rows = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]
    rounds = "once" if group.rounds == 1 else f"{group.rounds} rounds, median (least-most)"
    return "\n".join([f"{group.title}; {rounds}:", *(f"  {row}" for row in rows)])


def rest(results: Results) -> str:
    """Return all tables as reStructuredText."""
    parts = [setting(), ""]
    for group in GROUPS.values():
        if not all(key in results for key in group.rows):
            continue
        rounds = (
            "one run" if group.rounds == 1 else f"medians of {group.rounds} runs, least to most in brackets"
        )
        parts += [f".. list-table:: {group.title}; {rounds}", "   :header-rows: 1", ""]
        titles = ["", *(f"{a} {b}".strip() for a, b, _ in COLUMNS.values())]
        lines = [titles]
        for key, row in group.rows.items():
            cells = [_cell(name, results[key]) if _shown(key, name) else "" for name in COLUMNS]
            lines.append([row.label, *cells])
        for line in lines:
            parts += [
                f"   {'* -' if number == 0 else '  -'} {cell}".rstrip() for number, cell in enumerate(line)
            ]
        parts.append("")
    return "\n".join(parts)


def ratios(results: Results) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return peer / ours by pair and figure: the median of the rounds' ratios, the least and the most."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for pair, (peer, ours) in PAIRS.items():
        if peer not in results or ours not in results:
            continue
        found[pair] = {}
        for name in COLUMNS:
            rounds = [
                theirs[name] / mine[name]
                for theirs, mine in zip(results[peer], results[ours], strict=True)
                if mine[name]
            ]
            if rounds:
                found[pair][name] = (statistics.median(rounds), min(rounds), max(rounds))
    return found
