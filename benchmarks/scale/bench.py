"""Run groups of scenarios, print their tables, and put them into the documentation where asked to."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from scale import plot, report
from scale.run import run
from scale.scenarios import GROUPS, OURS, PEERS, SIZES

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PAGE = _DOCS / "scaling.rst"
_PICTURE = _DOCS / "images" / "scaling.png"
_BEGIN, _END = ".. Written by make bench from here ...\n", ".. ... to here.\n"
#: From this part of its time on, the server may have slowed down what is measured.
_TOO_BUSY = 0.8


def main(groups: list[str], rounds: int | None, quick: bool, write: bool) -> dict[str, dict[str, float]]:
    """Return the ratios of the groups that were run."""
    if find_spec("fivetran_provider_async") is None:
        raise SystemExit("The other providers need Python 3.11 or later: make bench PYTHON=python3.11")
    print(report.setting())
    results: report.Results = {}
    for name in groups:
        group = GROUPS[name].quick() if quick else GROUPS[name]
        if rounds and group.rounds > 1:
            group = replace(group, rounds=rounds)
        started = time.monotonic()
        for _ in range(group.rounds):
            for key, row in group.rows.items():
                figures = run(row.case)
                results.setdefault(key, []).append(figures)
                if figures["server_busy"] > _TOO_BUSY:
                    print(
                        f"  note: {row.label}: the server was busy {figures['server_busy']:.0%} of the time"
                    )
        print(f"\n{report.table(group, results)}\n  ({time.monotonic() - started:.0f} s)", flush=True)
    if write:
        _write(results)
    found = report.ratios(results)
    if found:
        print("\nOther / ours, the median of the rounds (least-most):")
    for pair, figures in found.items():
        print(f"  {pair}: {', '.join(f'{name} {_words(*values)}' for name, values in figures.items())}")
    return {
        pair: {name: float(f"{median:.3g}") for name, (median, _, _) in figures.items()}
        for pair, figures in found.items()
    }


def _words(middle: float, least: float, most: float) -> str:
    return f"{middle:.3g}" + (f" ({least:.3g}-{most:.3g})" if least < most else "")


def _write(results: report.Results) -> None:
    text = _PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise SystemExit(f"{_PAGE.name} has lost the comments between which the figures go")
    _PAGE.write_text(f"{before}{begin}\n{report.rest(results)}\n{end}{after}", encoding="utf-8")
    print(f"\nWritten: {_PAGE.name}")
    keys = {size: "" if size == 1_000 else f"{size}-" for size in SIZES}
    if all(f"{prefix}pixxel" in results for prefix in keys.values()):
        lines = {"pixxel": OURS, **PEERS, "floor": "sleeping tasks"}
        _PICTURE.parent.mkdir(exist_ok=True)
        plot.draw(
            _PICTURE,
            {
                label: {size: results[f"{prefix}{key}"] for size, prefix in keys.items()}
                for key, label in lines.items()
            },
        )
        print(f"Written: {_PICTURE.name}")
