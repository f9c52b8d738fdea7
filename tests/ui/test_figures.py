"""Figures at the size of the page."""

from itertools import pairwise

import pytest

from ssm_metarl.evaluation import figures
from ssm_metarl.evaluation.report import Evaluation, ModeResult

pytest.importorskip("gradio")
from ssm_metarl.ui.figures import SIZE


def row(mode: str, shots: int, steps: int, mean: float) -> ModeResult:
    return ModeResult(mode, shots, steps, mean, mean, (mean - 90, mean + 90), 0.0, mean, (mean,))


def test_nothing_of_a_budget_curve_touches_or_is_cut_off() -> None:
    rows = [
        *(row("in_context", shots, 0, 300.0) for shots in (1, 2, 3)),
        *(row("in_context", shots, 1, 300.0) for shots in (4, 5, 8, 13, 23)),
        *(row("standard", shots, 1, 301.0) for shots in (1, 2, 5, 10, 20)),
        *(row("hybrid", shots, 1, 302.0) for shots in (1, 2, 5, 10, 20)),
    ]
    found = Evaluation("CartPole-v1", 1, 0, "held_out", tuple(rows))
    figure = figures.budget_curve(found, titles=[""])
    figure.set_size_inches(SIZE)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    ticks = [tick.get_window_extent() for tick in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(ticks))
    names = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1.0 for low, high in pairwise(names))  # in pixels
    assert axes.xaxis.label.get_window_extent().x0 >= figure.bbox.x0
