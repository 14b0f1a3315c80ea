"""The plots of the documentation, drawn from one result; each says below what it depends on."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from combinations import caption, front
from numerals import number

# Text stays text, which is small and can be searched; the same result makes the same file.
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "threadcache",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "white",
    }
)

OURS = {"native": "#0b5fa5", "pure": "#e07b00"}
LIMIT = "#8a8a8a"
PEERS = ("#2e8b57", "#b22222", "#7b4fa3", "#8b5a2b", "#c7509b", "#5f7f00", "#008b8b", "#444444")
LIMIT_STYLES = (":", "--", "-.")
TIMES = (
    *("round-trip", "chain", "burst", "blocking"),
    *("submit-result", "submit-many", "short-lived"),
    *("await-1", "await-16", "await-256", "trio", "files"),
)
CPU = ("cpu-1k", "cpu-10k", "cpu-20k", "cpu-flat-out", "cpu-burst")
HEIGHT_OF_LINE = 0.22  # inches


def _look(result: dict[str, Any], name: str, names: list[str]) -> dict[str, Any]:
    """Ours are thick and the limits grey, wherever they appear; peers get what colours there are, in their order."""
    about = result["contenders"][name]
    if about["mailbox"] is not None:
        # A second front of ours in the same plot is drawn apart.
        fronts = list(dict.fromkeys(front(one) for one in names if result["contenders"][one]["mailbox"] is not None))
        return {
            "color": OURS[about["mailbox"]],
            "linewidth": 2.4,
            "linestyle": "-" if front(name) == fronts[0] else "--",
        }
    if about["limit"]:
        limits = [one for one in names if result["contenders"][one]["limit"]]
        return {"color": LIMIT, "linewidth": 1.3, "linestyle": LIMIT_STYLES[limits.index(name) % len(LIMIT_STYLES)]}
    peers = [one for one in names if result["contenders"][one] == {"mailbox": None, "limit": False}]
    return {"color": PEERS[peers.index(name) % len(PEERS)], "linewidth": 1.2, "linestyle": "-"}


def _save(figure: Figure, result: dict[str, Any], file: Path) -> None:
    for index, line in enumerate(reversed(caption(result["machine"]))):
        figure.text(0.01, (0.04 + 0.15 * index) / figure.get_figheight(), line, fontsize=7, color="#555555")
    file.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    file.write_text(_shorter(text.getvalue()), encoding="utf-8")


def _shorter(svg: str) -> str:
    """About half as long: without comments, and with places to a hundredth of a point; text is left as it is."""
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.DOTALL)
    return re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    figure.set_layout_engine("constrained", rect=(0, 0.6 / height, 1, 1 - 0.6 / height))  # room for the caption
    return figure, list(axes.flat)


def _drop_unused(axes: Iterable[Axes]) -> None:
    for one in axes:
        one.set_axis_off()


def ratios(result: dict[str, Any]) -> Figure | None:
    """Each row's ratio to the cheapest peer, with its interval and its goal."""
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    order = list(dict.fromkeys(row["row"] for row in result["rows"]))
    for row in sorted(result["rows"], key=lambda row: order.index(row["row"])):
        if row["ratio"] is not None and row["ratio"]["value"] > 0:
            lines.setdefault(f"{row['row']}: {front(row['subject'])} / {{}}", {})[row["subject"]] = row
    if not lines:
        return None
    figure, (axes,) = _figure(10, 1.6 + 1.5 * HEIGHT_OF_LINE * len(lines))
    labels = []
    for y, (label, rows) in enumerate(lines.items()):
        labels.append(label.format(next(iter(rows.values()))["peer"]))
        for subject, row in rows.items():
            mailbox = result["contenders"][subject]["mailbox"]
            at, ratio = y + (0.18 if mailbox == "pure" else -0.18), row["ratio"]
            low = max(ratio["low"], ratio["value"] / 100)  # a cost found by subtraction can come out below 0
            axes.plot([low, ratio["high"]], [at, at], color=OURS[mailbox], linewidth=1.5)
            axes.plot([ratio["value"]], [at], "o", color=OURS[mailbox], markersize=5)
            if row["goal"]:
                axes.plot([row["goal"]], [at], "|", color=OURS[mailbox], markersize=11, markeredgewidth=2.2)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd")
    for mailbox, colour in OURS.items():
        axes.plot([], [], "o-", color=colour, label=mailbox)
    axes.plot([], [], "|", color="black", markersize=11, markeredgewidth=2.2, label="goal")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    axes.set_xlabel("our median / the cheapest peer's, and 90 % intervals; left of 1 is better")
    return figure


def times(result: dict[str, Any]) -> Figure | None:
    """Everyone's medians, a panel for each row."""
    rows = {row["row"]: row for row in result["rows"] if row["row"] in TIMES}
    if not rows:
        return None
    columns = 3
    lines = -(-len(rows) // columns)
    figure, panels = _figure(13, 0.6 + 3.1 * lines, lines, columns)
    for axes, row in zip(panels, rows.values(), strict=False):
        names = sorted((name for name, value in row["medians"].items() if value > 0), key=row["medians"].__getitem__)
        colours = [_look(result, name, list(result["contenders"]))["color"] for name in names]
        ours = [result["contenders"][name]["mailbox"] is not None for name in names]
        colours = [colour if mine or colour == LIMIT else "#c9c9d6" for colour, mine in zip(colours, ours, strict=True)]
        axes.barh(names, [row["medians"][name] for name in names], color=colours)
        for y, name in enumerate(names):
            value = row["medians"][name]
            axes.annotate(number(value), (value, y), (3, 0), textcoords="offset points", va="center", fontsize=7)
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(f"{row['row']}, {row['unit']}", fontsize=10)
    _drop_unused(panels[len(rows) :])
    return figure


def latencies(result: dict[str, Any]) -> Figure | None:
    """How slow the slow calls are."""
    found = result["latencies"]
    if not found:
        return None
    columns = min(2, len(found))
    lines = -(-len(found) // columns)
    figure, panels = _figure(6.5 * columns, 0.6 + 4.2 * lines, lines, columns)
    ticks = (0.0, 50.0, 90.0, 99.0, 99.9)
    for axes, latency in zip(panels, found, strict=False):
        names = list(latency["contenders"])
        points = [(p, -math.log10(1 - p / 100)) for p in latency["percentages"] if p < 100]
        for name in names:
            values = latency["contenders"][name]["us"][: len(points)]
            axes.plot([x for _p, x in points], values, label=name, **_look(result, name, names))
        axes.set_xticks([-math.log10(1 - p / 100) for p in ticks], [f"{p:g}" for p in ticks])
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
        axes.grid(color="#dddddd")
        axes.set_xlabel("percent of the calls took no longer")
        axes.set_ylabel("µs")
        axes.set_title(latency["title"], fontsize=10)
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _drop_unused(panels[len(found) :])
    return figure


def cpu(result: dict[str, Any]) -> Figure | None:
    """CPU time of a job, at each rate."""
    rows = {row["row"]: row for row in result["rows"] if row["row"] in CPU}
    if not rows:
        return None
    taking_part = {name for row in rows.values() for name in row["medians"]}
    names = sorted(taking_part, key=list(result["contenders"]).index)
    figure, (axes,) = _figure(12, 6)
    width = 0.85 / len(names)
    for index, name in enumerate(names):
        for x, row in enumerate(rows.values()):
            value = row["medians"].get(name)
            if value is None or value <= 0:
                continue
            at = x + (index - (len(names) - 1) / 2) * width
            late = name in row["did less work"]
            axes.bar(at, value, width, color=_look(result, name, names)["color"], alpha=0.3 if late else 1)
            axes.annotate(
                number(value), (at, value), (0, 2), textcoords="offset points", ha="center", fontsize=6.5, rotation=90
            )
        axes.bar(0, 0, color=_look(result, name, names)["color"], label=name)
    axes.margins(y=0.08)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set_ylabel("µs of CPU time per job")
    axes.set_title("CPU time per job; pale: fell behind the timetable", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


PLOTS = {
    "ratios": ("Ratios to the cheapest peer", ratios),
    "times": ("Everyone's medians", times),
    "latencies": ("Percentiles of single calls", latencies),
    "cpu": ("CPU time per job", cpu),
}


def draw(result: dict[str, Any], folder: Path, name: str) -> list[tuple[str, str]]:
    """Draw what a result has data for; return titles and file names."""
    drawn = []
    for kind, (title, make) in PLOTS.items():
        file = f"{name}-{kind}.svg"
        if (figure := make(result)) is not None:
            _save(figure, result, folder / file)
            drawn.append((title, file))
    return drawn
