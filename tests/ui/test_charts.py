"""Charts: what lies on each other stays visible, and counts are counted in whole numbers."""

import re

import pytest

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.ui.charts import WIDE, Axis, Line, chart, ticks
from ssm_metarl.ui.monitor import curves
from ssm_metarl.ui.overlap import DASH, cut, stretches, together

X, Y = Axis("Episodes", 0.0, 20.0), Axis("Return", 0.0, 500.0)
LOWER = Line("standard", "standard", [(0.0, 30.0), (2.0, 500.0), (20.0, 500.0)])
UPPER = Line("hybrid", "hybrid", [(0.0, 30.0), (1.0, 500.0), (10.0, 500.0), (20.0, 500.0)])


def wide(*lines: Line) -> str:
    return chart(lines, X, Y, "alt").split("</svg>")[0]


def dashed(svg: str, style: str) -> list[tuple[str, str]]:
    """The stretches a line is drawn with dashes on: the pattern, and the points."""
    found = rf'line mark-{style}" points="([^"]+)" style="([^"]+)"'
    return [(how, points) for points, how in re.findall(found, svg)]


def test_lines_share_a_stretch_in_dashes_by_turns() -> None:
    svg = wide(LOWER, UPPER)
    ((how, points),), ((other, same),) = dashed(svg, "standard"), dashed(svg, "hybrid")
    assert points == same  # from 2 to 20 episodes, whatever points each has there
    assert len(points.split()) == 3
    assert how == f"stroke-dasharray:{DASH} {DASH};stroke-dashoffset:0"
    assert other == f"stroke-dasharray:{DASH} {DASH};stroke-dashoffset:{-DASH}"


def test_lines_alone_are_drawn_whole() -> None:
    apart = Line("from scratch", "from_scratch", [(0.0, 20.0), (20.0, 60.0)])
    svg = wide(LOWER, apart)
    assert dashed(svg, "standard") == dashed(svg, "from_scratch") == []
    assert svg.count("<polyline") == 2


def test_dots_on_each_other_are_rings_of_each_other() -> None:
    before = Line("before adapting", "zero_shot", [(0.0, 30.0)])
    svg = wide(before, LOWER, UPPER)
    sizes = dict.fromkeys(("zero_shot", "standard", "hybrid"), 0.0)
    for style, x, r in re.findall(r'dot mark-(\w+)" cx="([\d.]+)" cy="[\d.]+" r="([\d.]+)"', svg):
        if float(x) == 66.0:  # at no episodes
            sizes[style] = float(r)
    assert sizes["zero_shot"] > sizes["standard"] + 2 > sizes["hybrid"] + 4
    assert svg.index("dot mark-zero_shot") < svg.index("dot mark-standard")  # the larger lie below
    assert svg.rindex("<polyline") < svg.index("<circle")  # and no line on a dot


def test_what_cannot_be_told_apart_counts_as_the_same_place() -> None:
    assert together([[(10.0, 10.0)], [(11.9, 9.9)], [(16.0, 10.0)]]) == [[[0, 1]], [[0, 1]], [[2]]]


def test_a_line_is_cut_where_others_have_points() -> None:
    assert cut([(0.0, 0.0), (4.0, 8.0)], [1.0, 4.0, 9.0]) == [(0.0, 0.0), (1.0, 2.0), (4.0, 8.0)]
    assert cut([], [1.0]) == []
    assert stretches([[], [(3.0, 3.0)]]) == [[], []]


@pytest.mark.parametrize(("high", "most"), [(1.0, 8), (2.0, 8), (3.0, 4), (40.0, 8), (400.0, 4)])
def test_counts_have_whole_ticks(high: float, most: int) -> None:
    found = ticks(0.0, high, most, whole=True)
    assert found[0] == 0.0
    assert len(found) in range(2, most + 2)
    assert all(tick.is_integer() for tick in found)


def labels(svg: str) -> list[str]:
    below = f'y="{WIDE[1] - 29}" text-anchor="middle">'
    return re.findall(re.escape(below) + r"([^<]*)<", svg)


def test_an_axis_of_iterations_has_no_fractions() -> None:
    config, family = TrainConfig(num_epochs=2), get_family("CartPole-v1")
    record = {"iteration": 1, "return_before": 20.0, "return_after": 40.0}
    for records in ([], [record]):
        assert labels(curves(config, family, 2, records)) == ["0", "1", "2"]
    shares = chart([Line("", "new", [(0.25, 1.0), (0.75, 2.0)])], Axis("Share"), Y, "alt")
    assert any("." in label for label in labels(shares))
