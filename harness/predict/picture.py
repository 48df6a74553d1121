"""Draws a heat map as PNG or SVG: readable with ten ends, a hundred, a thousand, and by classes beyond.

Colours tell apart for colour-blind eyes (Okabe and Ito's vermilion and blue, else lightness alone)
and in print. matplotlib is the extra ``azreach[reports]``; it is imported here, when a picture is asked for.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.policy.portset import PortSet
from harness.predict.heatmap import NEARLY, HeatMap, Labels, Level, Span
from harness.predict.portwords import size, words
from harness.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Mapping[Level, str] = {
    Level.ITSELF: "#9a9a9a",
    Level.NOTHING: "#ffffff",
    Level.ONE: "#dcecf7",
    Level.TENS: "#a9d0ea",
    Level.HUNDREDS: "#6aaed6",
    Level.THOUSANDS: "#3787c0",
    Level.TEN_THOUSANDS: "#1a5fa0",
    Level.MANY: "#08306b",
    Level.NEARLY_EVERYTHING: "#f6bd7c",
    Level.EVERYTHING: "#d55e00",
    Level.SOME_ASKED: "#e8b960",
    Level.ALL_ASKED: "#0072b2",
}
MEANING: Mapping[Level, str] = {
    Level.ITSELF: "itself",
    Level.NOTHING: "nothing",
    Level.ONE: "1 port",
    Level.TENS: "up to 10 ports",
    Level.HUNDREDS: "up to 100",
    Level.THOUSANDS: "up to 1,000",
    Level.TEN_THOUSANDS: "up to 10,000",
    Level.MANY: "more than 10,000",
    Level.NEARLY_EVERYTHING: f"all but at most {NEARLY:,}",
    Level.EVERYTHING: "everything",
    Level.SOME_ASKED: "some of these ports",
    Level.ALL_ASKED: "all of these ports",
}

DPI = 200
SIDE = 1_800
"""Pixels of the longer side, about; never less than one for a cell."""

TEXT_CELLS = 16
"""Up to so many cells of an axis each has room for its ports."""

_CELL_LINES = 6

_FONT = {"labels": 7.0, "least": 4.5, "cells": 6.0, "title": 10.0, "legend": 7.5}
"""Sizes in points."""

_LINE = 1.15
"""The height of a line of text, in its font sizes."""

_PADDING = 30
"""Pixels around everything."""

_LINE_SHARE, _THINNEST = 0.06, 0.15
"""What separating lines may take of the cells between them, and points below which they are left out."""


def draw(heat: HeatMap, title: str, path: Path, kind: str) -> None:
    """Writes the picture (``kind``: png or svg). Raises InputError where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            f"pictures need matplotlib ({error})", hint="pip install 'azreach[reports]', or write CSV"
        ) from error
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "azreach"}), warnings.catch_warnings():
        # a name in a script that the font lacks becomes boxes, which is no news to the terminal
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        rows, columns = heat.levels.shape
        cell = max(1, round(SIDE / max(rows, columns)))
        figure = Figure(figsize=(columns * cell / DPI, rows * cell / DPI), dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        _labels(axes, heat, cell)
        _around(figure, axes, heat, title)
        _make_room(figure, axes, columns * cell, rows * cell)
        _cells(axes, heat, cell)
        figure.savefig(path, format=kind, metadata={"Date": None} if kind == "svg" else {})


def _make_room(figure: Figure, axes: Axes, width: int, height: int) -> None:
    """Makes the figure as large as what is around the axes needs; these keep their size, on whole pixels."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    left, below = (math.ceil(_PADDING - low * DPI) for low in (box.x0, box.y0))
    whole_width = left + max(width, math.ceil(box.x1 * DPI)) + _PADDING
    whole_height = below + max(height, math.ceil(box.y1 * DPI)) + _PADDING
    figure.set_size_inches(whole_width / DPI, whole_height / DPI)
    axes.set_position((left / whole_width, below / whole_height, width / whole_width, height / whole_height))


def _cells(axes: Axes, heat: HeatMap, cell: int) -> None:
    import numpy as np

    palette = np.array([_rgba(COLOURS[level]) for level in Level], dtype=np.uint8)
    # as RGBA at once: matplotlib makes several copies of anything else
    axes.imshow(palette[heat.levels], interpolation="none", aspect="auto")
    rows, columns = heat.levels.shape
    if max(rows, columns) > TEXT_CELLS:
        return
    room = int(cell / DPI * 72 / (_FONT["cells"] * 0.62))
    for row in range(rows):
        for column in range(columns):
            ports = heat.ports(row, column)
            if ports:
                dark = Level(int(heat.levels[row, column])) in _DARK
                axes.text(
                    column, row, cell_text(ports, room), size=_FONT["cells"], ha="center", va="center",
                    color="white" if dark else "black", parse_math=False,
                )  # fmt: skip


_DARK = frozenset({Level.THOUSANDS, Level.TEN_THOUSANDS, Level.MANY, Level.EVERYTHING, Level.ALL_ASKED})


def _rgba(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(f"{colour.removeprefix('#')}ff"))


def cell_text(ports: PortSet, room: int) -> str:
    """The ports, each protocol in a line of at most ``room`` characters; their number where one is longer."""
    lines = words(ports).replace("all but ", "all_but ").split(" ")
    if len(lines) <= _CELL_LINES and all(len(line) <= room for line in lines):
        return "\n".join(lines).replace("_", " ")
    return f"{size(ports):,}\nports"


def _labels(axes: Axes, heat: HeatMap, cell: int) -> None:
    """Left and below the finest names that have room; right and above the groups that these are in."""
    rows, columns = heat.levels.shape
    axes.tick_params(length=0)
    down, down_groups = _chosen(heat.sources, cell)
    across, across_groups = _chosen(heat.targets, cell)
    _ticks(axes.yaxis, down, cell)
    _ticks(axes.xaxis, across, cell, rotation=90)
    if down_groups:
        _ticks(axes.secondary_yaxis("right").yaxis, down_groups, cell)
    if across_groups:
        _ticks(axes.secondary_xaxis("top").xaxis, across_groups, cell, rotation=90)
    for labels, line in ((heat.sources, axes.axhline), (heat.targets, axes.axvline)):
        for spans, width, shade in _separators(labels, cell):
            for span in spans[1:]:
                line(span.begin - 0.5, linewidth=width, color=shade)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def _chosen(labels: Labels, cell: int) -> tuple[Sequence[Span], Sequence[Span]]:
    """The finest depth most of whose names have room, and the next coarser one that says more."""
    depths = (labels.ends, labels.subnets, labels.vnets)
    least = _FONT["least"] * _LINE * DPI / 72
    for place, spans in enumerate(depths):
        mean = (spans[-1].end * cell / len(spans)) if spans else 0
        if mean >= least or place == len(depths) - 1:
            coarser = next((wider for wider in depths[place + 1 :] if 1 < len(wider) < len(spans)), ())
            return spans, coarser
    raise AssertionError("the last depth is taken whatever its room")


def _ticks(axis: Any, spans: Sequence[Span], cell: int, rotation: int = 0) -> None:
    shown = _with_room(spans, cell)
    points = [min(_FONT["labels"], (span.end - span.begin) * cell * 72 / DPI / _LINE) for span in shown]
    size = min(points, default=_FONT["labels"])
    axis.set_ticks([(span.begin + span.end - 1) / 2 for span in shown], [span.name for span in shown])
    axis.set_tick_params(length=0)
    for text in axis.get_ticklabels():
        text.set(size=max(size, _FONT["least"]), rotation=rotation, parse_math=False)


def _with_room(spans: Sequence[Span], cell: int) -> list[Span]:
    """Those whose names do not run into another's; the wider ones first."""
    least = _FONT["least"] * _LINE * DPI / 72 / cell
    taken: list[float] = []
    found = []
    for span in sorted(spans, key=lambda span: span.begin - span.end):
        middle = (span.begin + span.end) / 2
        place = bisect(taken, middle)
        if all(abs(middle - other) >= least for other in taken[max(0, place - 1) : place + 1]):
            taken.insert(place, middle)
            found.append(span)
    return sorted(found, key=lambda span: span.begin)


def _separators(labels: Labels, cell: int) -> Iterator[tuple[Sequence[Span], float, str]]:
    """Lines between virtual networks, finer ones between subnets and ends: as far as they hide nothing."""
    for spans, thickest, shade in (
        (labels.ends, 0.25, "#cccccc"),
        (labels.subnets, 0.35, "#777777"),
        (labels.vnets, 0.8, "#000000"),
    ):
        pixels = spans[-1].end * cell / len(spans)
        width = min(thickest, _LINE_SHARE * pixels * 72 / DPI)
        if width >= _THINNEST:
            yield spans, width, shade


def _around(figure: Figure, axes: Axes, heat: HeatMap, title: str) -> None:
    """The title above and the legend below, wherever the labels end."""
    import numpy as np
    from matplotlib.patches import Patch
    from matplotlib.transforms import ScaledTranslation, Transform

    figure.draw_without_rendering()
    labels = axes.get_tightbbox()
    assert labels is not None  # the axes are visible

    def shifted(inches: float) -> Transform:
        return axes.transAxes + ScaledTranslation(0, inches, figure.dpi_scale_trans)

    top, bottom = (labels.y1 - axes.bbox.y1) / DPI, (labels.y0 - axes.bbox.y0) / DPI
    axes.text(
        0,
        1,
        plain(title),
        transform=shifted(top + 0.32),
        size=_FONT["title"],
        weight="bold",
        parse_math=False,
    )
    axes.text(
        0, 1, _reading(heat), transform=shifted(top + 0.14), size=_FONT["legend"], color="#444444",
        parse_math=False,
    )  # fmt: skip
    present = set(np.unique(heat.levels).tolist())
    axes.legend(
        handles=[
            Patch(facecolor=COLOURS[level], edgecolor="#777777", linewidth=0.5, label=MEANING[level])
            for level in Level
            if level in present
        ],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=shifted(bottom - 0.08),
        borderaxespad=0,
        ncols=min(len(present), max(2, int(figure.get_figwidth() / 1.1))),
        frameon=False,
        fontsize=_FONT["legend"],
    )


def _reading(heat: HeatMap) -> str:
    units = {"address": "an address", "class": "a class of addresses that nothing tells apart"}
    what = units[heat.unit]
    colour = "how many ports pass" if heat.asked is None else "how much of that passes"
    if heat.fold > 1:
        what = f"{heat.fold} of them ({what} each), showing the most that passes"
    return f"rows: sources, columns: targets (IPv{heat.family}); each is {what}; colour: {colour}"
