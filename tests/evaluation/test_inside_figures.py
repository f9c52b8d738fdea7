"""Figures of what is inside an agent: each point is one that was given."""

import numpy as np
from drawing import colour, points
from matplotlib.axes import Axes

from ssm_metarl.evaluation import figures
from ssm_metarl.evaluation.figures.inside import TRACE_LEFT, TRACE_RIGHT


def complex_points(axes: Axes, label: str) -> list[complex]:
    """The centres of the circles or dots of a name."""
    cloud = next(one for one in axes.collections if one.get_label() == label)
    return [complex(*pair) for pair in np.asarray(cloud.get_offsets()).tolist()]


def test_both_discs_show_every_eigenvalue_before_and_after() -> None:
    before, after = [0.9 + 0.2j, 0.6 - 0.1j], [0.95 + 0.2j, 0.5 - 0.1j]
    (whole,) = figures.eigenvalue_plot(before, after).axes
    (close,) = figures.eigenvalue_plot(before, after, close=True).axes
    for axes in (whole, close):
        assert complex_points(axes, "before") == before
        assert complex_points(axes, "after") == after
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert all(left < v.real < right and bottom < v.imag < top for v in (*before, *after))
    assert whole.get_xlim()[0] < -1.0 < 1.0 < whole.get_xlim()[1]
    assert close.get_xlim()[0] > 0.0


def test_a_ring_has_the_radius_of_its_time_constant() -> None:
    whole = figures.eigenvalue_plot([0.5 + 0j], [0.5 + 0j]).axes[0]
    radii = [np.linalg.norm(points(line), axis=1) for line in whole.lines]
    found = sorted({round(float(radius[0]), 6) for radius in radii if np.ptp(radius) < 1e-9})
    rings = [round(float(np.exp(-1.0 / steps)), 6) for steps in (1, 2, 5, 20)]
    assert set(rings) | {1.0} <= set(found)
    assert [text.get_text() for text in whole.texts] == ["1", "2", "5", "20"]


def test_a_trace_stands_at_its_steps_between_fixed_margins() -> None:
    long, short = np.linspace(0.0, 1.0, 50), np.zeros(10)
    lines = [("before", "zero_shot", short), ("after", "hybrid", long)]
    figure = figures.trace_plot(lines, "chance", steps=30, reference=(0.5, "undecided"))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    first, second, reference = axes.lines
    assert points(first).tolist() == [[step, 0.0] for step in range(10)]
    assert points(second).tolist() == [[step, long[step]] for step in range(31)]
    assert (first.get_color(), second.get_color()) == (colour("zero_shot"), colour("hybrid"))
    assert first.get_zorder() > second.get_zorder()
    assert set(points(reference)[:, 1]) == {0.5}
    assert axes.get_xlim() == (0, 30)
    place = axes.get_position()
    np.testing.assert_allclose((place.x0, place.x1), (TRACE_LEFT, TRACE_RIGHT))


def test_the_names_of_a_trace_are_not_cut_off() -> None:
    lines = [(f"episode {n}", "zero_shot", np.zeros(10)) for n in (1, 10)]
    figure = figures.trace_plot(lines, "chance", steps=9, reference=(0.5, "undecided"))
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().x1 <= figure.bbox.x1
