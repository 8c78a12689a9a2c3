"""The picture of requests and CPU seconds over the number of jobs."""

from __future__ import annotations

import statistics
from pathlib import Path

_COLOURS = {
    "this package": "#0b6e4f",
    "dbt Cloud": "#c2410c",
    "Fivetran": "#1d4ed8",
    "http (event trigger)": "#7c3aed",
    "sleeping tasks": "#6b7280",
}
_PANELS = {"requests": "requests", "cpu": "CPU seconds"}


def _apart(ends: dict[str, float], least: float) -> dict[str, float]:
    """Move labels up so that each stands at least a factor above the one below it."""
    placed: dict[str, float] = {}
    before = 0.0
    for label, value in sorted(ends.items(), key=lambda item: item[1]):
        before = placed[label] = max(value, before * least)
    return placed


def draw(file: Path, lines: dict[str, dict[int, list[dict[str, float]]]]) -> None:
    """Draw medians by label and number of jobs into a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    figure, panels = pyplot.subplots(1, 2, figsize=(9.6, 4.2), facecolor="white", layout="constrained")
    for panel, (name, title) in zip(panels, _PANELS.items(), strict=True):
        ends = {}
        for label, points in lines.items():
            sizes = sorted(points)
            values = [statistics.median(run[name] for run in points[size]) for size in sizes]
            if not all(values):
                continue
            ours = label == "this package"
            style = {
                "linewidth": 3 if ours else 1.6,
                "markersize": 6 if ours else 4,
                "zorder": 3 if ours else 2,
            }
            dashes = "--" if label == "sleeping tasks" else "-"
            panel.plot(sizes, values, dashes, marker="o", color=_COLOURS[label], **style)
            ends[label] = values[-1]
        panel.set(xscale="log", yscale="log", xlabel="jobs, over 10 workflows")
        panel.set_title(title, loc="left")
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(sizes[0] * 0.85, sizes[-1] * 6.5)
        panel.grid(visible=True, axis="y", color="#e5e7eb")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        low, high = panel.get_ylim()
        panel.set_ylim(low, high * 2)
        for label, value in _apart(ends, (high / low) ** 0.06).items():
            weight = "bold" if label == "this package" else "normal"
            panel.text(sizes[-1] * 1.18, value, label, color=_COLOURS[label], weight=weight, va="center")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
