"""Figures of single tasks: each point and each share is one that was measured."""

import dataclasses

import numpy as np
import pytest
from drawing import EVALUATION, colour, curves, points, result
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation import figures
from ssm_metarl.evaluation.figures import Scatter
from ssm_metarl.evaluation.report import ModeResult


def test_task_scatter_puts_each_task_in_its_group_and_panel() -> None:
    before, after = np.array([10.0, 20.0, 30.0]), np.array([400.0, 15.0, 500.0])
    panels = [
        Scatter("CartPole-v1: standard", before, after, ["swapped", "as trained", "swapped"]),
        Scatter("CartPole-v1: in-context", before, before + 1, ["swapped"] * 3),
    ]
    figure = figures.task_scatter(panels)
    left, right = figure.axes
    assert clouds(left) == {"swapped": [[10, 400], [30, 500]], "as trained": [[20, 15]]}
    assert clouds(right) == {"swapped": [[10, 11], [20, 21], [30, 31]], "as trained": []}
    assert left.get_title(loc="left") == "CartPole-v1: standard\nbetter on 2 of 3 tasks"
    assert right.get_title(loc="left") == "CartPole-v1: in-context\nbetter on 3 of 3 tasks"
    for axes in (left, right):
        assert axes.get_xlim() == axes.get_ylim()
        diagonal = points(axes.lines[0])
        np.testing.assert_array_equal(diagonal[:, 0], diagonal[:, 1])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["swapped", "as trained"]


def clouds(axes: Axes) -> dict[object, list[list[float]]]:
    """The points of each group."""
    return {
        cloud.get_label(): np.asarray(cloud.get_offsets()).tolist()
        for cloud in axes.collections
        if isinstance(cloud, PathCollection)
    }


def test_nothing_of_a_scatter_is_cut_off() -> None:
    panel = Scatter("CartPole-v1: standard", np.zeros(2), np.ones(2), ["a", "b"])
    figure = figures.task_scatter([panel, panel])
    figure.draw_without_rendering()
    whole = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        assert box.x0 >= whole.x0
        assert box.y0 >= whole.y0
        assert box.x1 <= whole.x1
        assert box.y1 <= whole.y1


def test_task_scatter_without_groups_has_no_legend() -> None:
    figure = figures.task_scatter([Scatter("", np.array([1.0]), np.array([1.0]))])
    assert not figure.legends
    assert figure.axes[0].get_title(loc="left") == "better on 0 of 1 task"


def test_more_groups_than_colours_are_refused() -> None:
    panel = Scatter("", np.zeros(5), np.ones(5), list("abcde"))
    with pytest.raises(UserError, match="at most 4 groups"):
        figures.task_scatter([panel])


def test_the_profile_is_the_share_of_tasks_that_reach_a_return() -> None:
    def on_tasks(mode: str, shots: int, steps: int, *returns: float) -> ModeResult:
        return dataclasses.replace(result(mode, shots, steps, 0.0), per_task=returns)

    rows = (
        on_tasks("zero_shot", 0, 0, 30.0, 10.0),
        on_tasks("in_context", 0, 0, 30.0, 10.0),
        on_tasks("in_context", 1, 0, 200.0, 300.0),
        on_tasks("in_context", 6, 1, 410.0, 110.0),
        on_tasks("standard", 20, 1, 500.0, 500.0),
        on_tasks("standard", 5, 1, 400.0, 100.0),
        on_tasks("standard", 10, 2, 450.0, 450.0),
        on_tasks("from_scratch", 0, 0, 5.0, 5.0),
        on_tasks("from_scratch", 5, 1, 50.0, 70.0),
    )
    profile = dataclasses.replace(EVALUATION, tasks=2, results=rows)
    figure = figures.performance_profile(profile)
    (axes,) = figure.axes
    assert curves(axes) == {
        colour("zero_shot"): [(10, 1), (10, 1), (30, 0.5)],
        colour("in_context"): [(10, 1), (200, 1), (300, 0.5)],  # of the memory alone
        colour("standard"): [(10, 1), (100, 1), (400, 0.5)],  # the smallest budget of one step
        colour("from_scratch"): [(10, 1), (50, 1), (70, 0.5)],
    }
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "zero-shot",
        "in-context, 1 episode",
        "standard, 5 episodes",
        "from scratch, 5 episodes",
    ]


def test_many_panels_take_more_than_one_row() -> None:
    panel = Scatter("", np.array([1.0]), np.array([1.0]))
    axes = figures.task_scatter([panel] * 4).axes
    places = [one.get_subplotspec() for one in axes]
    assert [(place.rowspan.start, place.colspan.start) for place in places if place] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    assert [bool(one.get_ylabel()) for one in axes] == [True, False, True, False]
