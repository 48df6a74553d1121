"""The array behind the picture, and the picture's own pixels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from harness.policy.portset import PortSet
from harness.predict import heatmap
from harness.predict.ends import chosen
from harness.predict.heatmap import HeatMap, Level, heat_map, level_of
from harness.predict.picture import COLOURS, MEANING, cell_text, draw
from harness.predict.portwords import size
from harness.predict.prediction import Prediction, predict
from tests.harness.network.builders import machine, network, vnet
from tests.harness.predict.networks import random_network, tiers_network


def whole(prediction: Prediction, **options: bool) -> HeatMap:
    ends = chosen(prediction.ends, (), "")
    return heat_map(prediction, prediction.families[0], ends, ends, **options)


ALL = 2 * 65536 + 3


@pytest.mark.parametrize(
    ("number", "asked", "level"),
    [
        (0, None, Level.NOTHING), (1, None, Level.ONE), (2, None, Level.TENS), (10, None, Level.TENS),
        (11, None, Level.HUNDREDS), (1000, None, Level.THOUSANDS), (10_000, None, Level.TEN_THOUSANDS),
        (10_001, None, Level.MANY), (ALL - 1001, None, Level.MANY),
        (ALL - 1000, None, Level.NEARLY_EVERYTHING),
        (ALL - 1, None, Level.NEARLY_EVERYTHING), (ALL, None, Level.EVERYTHING),
        (0, 3, Level.NOTHING), (2, 3, Level.SOME_ASKED), (3, 3, Level.ALL_ASKED),
    ],
)  # fmt: skip
def test_levels(number: int, asked: int | None, level: Level) -> None:
    assert level_of(number, asked) is level


def test_the_tiers() -> None:
    heat = whole(predict(tiers_network()))
    names = [span.name for span in heat.sources.ends]
    assert names == [
        "jump-01", "jump-02", "app-01", "app-02", "fw 10.1.2.100", "db-01", "db-02",
        "fw 10.1.1.100", "web-01", "web-02", "web-03",
    ]  # fmt: skip
    at = {(a, b): Level(int(heat.levels[i, j])) for i, a in enumerate(names) for j, b in enumerate(names)}
    assert at["jump-01", "jump-01"] is Level.ITSELF
    assert at["fw 10.1.1.100", "fw 10.1.2.100"] is Level.ITSELF
    assert at["jump-01", "jump-02"] is Level.EVERYTHING
    assert at["web-01", "web-02"] is Level.TENS
    assert at["app-01", "db-02"] is Level.ONE
    assert at["web-01", "db-01"] is Level.NOTHING
    assert at["web-03", "app-02"] is Level.HUNDREDS
    assert [(span.name, span.begin, span.end) for span in heat.sources.vnets] == [
        ("hub", 0, 2),
        ("prod", 2, 11),
    ]
    assert [(span.name, span.end) for span in heat.sources.subnets] == [
        ("hub/jump", 2), ("prod/app", 5), ("prod/db", 7), ("prod/web", 11),
    ]  # fmt: skip


@pytest.mark.parametrize("asked", [None, PortSet(((22, 443),), ((53, 53),))], ids=str)
def test_every_cell_is_its_ports(asked: PortSet | None) -> None:
    heat = whole(predict(random_network(21), asked=asked))
    most = None if asked is None else size(asked)
    for row, levels in enumerate(heat.levels.tolist()):
        for column, level in enumerate(levels):
            ports = heat.ports(row, column)
            assert level == (Level.ITSELF if ports is None else level_of(size(ports), most))
            assert (ports is None) == (row == column)


def test_a_part() -> None:
    prediction = predict(tiers_network(), asked=PortSet(((1433, 1433),)))
    ends = prediction.ends
    heat = heat_map(
        prediction, prediction.families[0], chosen(ends, ["app-*"], ""), chosen(ends, ["*-01"], "")
    )
    assert [span.name for span in heat.targets.ends] == ["jump-01", "app-01", "db-01", "web-01"]
    no, yes = Level.NOTHING, Level.ALL_ASKED
    assert heat.levels.tolist() == [[yes, Level.ITSELF, yes, no], [yes, no, yes, no]]


def test_by_class_each_class_is_a_row_in_the_order_of_places() -> None:
    prediction = predict(random_network(22))
    (answer,) = prediction.families
    ends, classes = whole(prediction), whole(prediction, by_class=True)
    assert classes.levels.shape == (len(answer.members),) * 2
    names = [span.name for span in ends.sources.ends]
    shown = [names.index(span.name) for span in classes.sources.ends]
    assert shown == sorted(shown)
    alone = np.array([len(own) == 1 for own in answer.members])
    assert (np.diag(classes.levels) == Level.ITSELF).sum() == alone.sum()
    off = ~np.eye(len(shown), dtype=bool)
    assert (classes.levels == ends.levels[np.ix_(shown, shown)])[off].all()


def test_neighbours_that_share_a_cell_show_the_most_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = whole(predict(tiers_network()))
    monkeypatch.setattr(heatmap, "MAX_CELLS", 6)
    coarse = whole(predict(tiers_network()))
    assert (fine.fold, coarse.fold, coarse.levels.shape) == (1, 2, (6, 6))
    for row in range(6):
        for column in range(6):
            block = fine.levels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert coarse.levels[row, column] == block.max()
    assert coarse.sources.vnets[-1].end == 6


@pytest.mark.parametrize(("vms", "cell"), [(10, 180), (100, 18), (1000, 2)])
def test_cells_are_whole_pixels_of_their_colour(vms: int, cell: int, tmp_path: Path) -> None:
    """Golden sizes: the heat map's own square has the same number of pixels for each cell, and its colour."""
    from matplotlib.image import imread

    heat = whole(predict(random_network(23, vms), asked=PortSet(((443, 443), (22, 22)))))
    path = tmp_path / "x.png"
    draw(heat, "title", path, "png")
    pixels = np.rint(imread(path)[:, :, :3] * 255).astype(int)
    frame = np.flatnonzero((pixels == 0).all(axis=2).mean(axis=1) > 0.5)
    top, left = frame[0], np.flatnonzero((pixels == 0).all(axis=2).mean(axis=0) > 0.5)[0]
    colours = np.array([tuple(bytes.fromhex(COLOURS[level][1:])) for level in Level])
    # a quarter into the cell is neither its text nor a line between cells
    places = np.arange(vms) * cell + cell // 4 + (cell > 4)
    shown = pixels[np.ix_(top + 1 + places, left + 1 + places)]
    same = (shown == colours[heat.levels]).all(axis=2)
    # lines between subnets cover the first pixels of some
    assert same.mean() > (0.99 if cell > 4 else 0.75)
    assert vms * cell < min(pixels.shape[:2]) < vms * cell + 700


def test_svg_holds_its_text_and_nothing_in_a_name_is_a_formula(tmp_path: Path) -> None:
    net = network(
        vnet("v$\\bad{$", "10.0.0.0/16", {"s": "10.0.0.0/24"}),
        machine("日本-$1", "v$\\bad{$/s", "10.0.0.4"),
        machine("two", "v$\\bad{$/s", "10.0.0.5"),
    )
    path = tmp_path / "x.svg"
    draw(whole(predict(net)), "a $ b \x1b", path, "svg")
    text = "\n".join(item.text or "" for item in ET.parse(path).iter() if item.tag.endswith("text"))
    for expected in ("日本-$1", "two", "everything", "a $ b \\x1b", MEANING[Level.EVERYTHING]):
        assert expected in text


def test_text_of_a_cell() -> None:
    assert (
        cell_text(PortSet(((22, 22), (443, 443)), ((53, 53),), icmp=True), 12) == "tcp/22,443\nudp/53\nicmp"
    )
    assert cell_text(PortSet(tuple((n, n) for n in range(1, 3000, 2))), 12) == "1,500\nports"


def test_every_level_has_its_own_colour_and_meaning() -> None:
    assert len({COLOURS[level] for level in Level}) == len({MEANING[level] for level in Level}) == len(Level)


@pytest.mark.parametrize(
    "scale", [range(Level.NOTHING, Level.MANY + 1), (Level.NOTHING, Level.SOME_ASKED, Level.ALL_ASKED)]
)
def test_lightness_alone_tells_how_much(scale: range) -> None:
    """What colour-blind eyes and printers are left with falls from level to level."""

    def lightness(level: int) -> float:
        red, green, blue = bytes.fromhex(COLOURS[Level(level)][1:])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    values = [lightness(level) for level in scale]
    assert all(after < before - 10 for before, after in pairwise(values))
