"""What is on the axes is what was passed in, and files appear whole or not at all."""

import dataclasses
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from drawing import EVALUATION, METRICS, colour, curves, pattern, points, result, texts
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation import figures
from ssm_metarl.evaluation.figures import Scatter
from ssm_metarl.evaluation.figures.panel import spread
from ssm_metarl.evaluation.figures.style import COLOURS, GROUPS, REFERENCE


def test_adaptation_curve_draws_means_against_steps() -> None:
    figure = figures.adaptation_curve(EVALUATION, best=500.0)
    (axes,) = figure.axes
    assert curves(axes) == {
        colour("standard"): [(0, 34), (1, 490), (2, 499)],  # the largest budget of each step
        colour("from_scratch"): [(0, 20), (1, 83), (2, 120)],
    }
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [
        "before",
        "1\n20 episodes",
        "2\n40 episodes",
    ]
    assert texts(axes) == ["meta-trained  499.0", "from scratch  120.0", "best possible: 500"]
    (reference,) = [line for line in axes.lines if pattern(line) == REFERENCE["linestyle"][1]]
    assert points(reference)[:, 1].tolist() == [500.0, 500.0]
    assert axes.get_title(loc="left") == "CartPole-v1: 1 held-out task, seed 0"


def test_bands_are_the_confidence_intervals() -> None:
    figure = figures.adaptation_curve(EVALUATION)
    bands = [band for band in figure.axes[0].collections if isinstance(band, PolyCollection)]
    corners = {(x, y) for x, y in np.asarray(bands[0].get_paths()[0].vertices).tolist()}
    assert corners == {(0, 29), (0, 39), (1, 485), (1, 495), (2, 494), (2, 504)}


def test_trial_curve_draws_means_against_episodes() -> None:
    rows = (
        result("in_context", 0, 0, 400.0),
        result("in_context", 1, 0, 480.0),
        result("in_context", 2, 0, 490.0),
        result("in_context", 22, 1, 499.0),  # after a gradient step: another story
    )
    trial = dataclasses.replace(EVALUATION, results=rows)
    figure = figures.trial_curve(trial, best=500.0)
    (axes,) = figure.axes
    assert curves(axes) == {colour("in_context"): [(1, 400), (2, 480), (3, 490)]}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "3"]
    assert texts(axes) == ["in-context  490.0", "best possible: 500"]
    alone = dataclasses.replace(EVALUATION, results=EVALUATION.results[:1])
    with pytest.raises(UserError, match="nothing to draw"):
        figure = figures.trial_curve(alone)


def test_hybrid_and_standard_both_start_at_zero_shot() -> None:
    rows = (*EVALUATION.results, result("hybrid", 5, 1, 495.0))
    figure = figures.adaptation_curve(dataclasses.replace(EVALUATION, results=rows))
    (axes,) = figure.axes
    assert curves(axes)[colour("hybrid")] == [(0, 34), (1, 495)]
    assert curves(axes)[colour("standard")][0] == (0, 34)
    assert texts(axes) == ["standard  499.0", "hybrid  495.0", "from scratch  120.0"]
    # Where the modes used different data for a step, no number stands under it.
    assert [tick.get_text() for tick in axes.get_xticklabels()][1] == "1"


def test_several_evaluations_share_a_scale() -> None:
    weak = tuple(dataclasses.replace(row, mean=row.mean - 300) for row in EVALUATION.results)
    pair = [EVALUATION, dataclasses.replace(EVALUATION, results=weak)]
    figure = figures.adaptation_curve(pair, titles=["SSM", "MLP"])
    left, right = figure.axes
    assert [left.get_title(loc="left"), right.get_title(loc="left")] == ["SSM", "MLP"]
    assert left.get_ylim() == right.get_ylim()
    low, high = left.get_ylim()
    assert low < -280
    assert high > 504
    assert curves(right)[colour("standard")] == [(0, -266), (1, 190), (2, 199)]
    assert "from scratch  \N{MINUS SIGN}180.0" in texts(right)


def test_budget_curve_draws_one_step_against_episodes() -> None:
    figure = figures.budget_curve(EVALUATION)
    (axes,) = figure.axes
    assert curves(axes) == {
        colour("zero_shot"): [(1, 34), (20, 34)],
        colour("in_context"): [(2, 442), (5, 470)],
        colour("standard"): [(1, 350), (5, 480), (20, 490)],
        colour("from_scratch"): [(20, 83)],
    }
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "5", "20"]
    assert list(axes.get_xticks(minor=True)) == []


def test_a_reader_of_the_old_figure_is_not_disturbed(tmp_path: Path) -> None:
    path = figures.write_png(
        figures.learning_curve(METRICS, family="CartPole-v1"), tmp_path / "figure.png"
    )
    old = path.read_bytes()
    with path.open("rb") as reader:
        figures.write_png(figures.learning_curve(METRICS[:5], family="CartPole-v1"), path)
        assert reader.read() == old
    assert path.read_bytes() != old


def test_nothing_to_draw_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    only_zero_shot = dataclasses.replace(EVALUATION, results=EVALUATION.results[:1])
    with pytest.raises(UserError, match="nothing to draw"):
        figures.adaptation_curve(only_zero_shot)
    with pytest.raises(UserError, match="2 data budgets"):
        figures.budget_curve(only_zero_shot)
    with pytest.raises(UserError, match="no training metrics"):
        figures.learning_curve([], family="CartPole-v1")
    broken = [METRICS[0], {"environment_steps": 1.0, "return_before": 1.0}]
    with pytest.raises(UserError, match="record 1: no 'return_after'"):
        figures.learning_curve(broken, family="CartPole-v1")
    assert list(tmp_path.iterdir()) == []


def test_files_are_png_at_twice_the_density_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "figures"  # made when needed
    written = [
        figures.write_png(figures.adaptation_curve(EVALUATION), folder / "a.png"),
        figures.write_png(figures.budget_curve(EVALUATION), str(folder / "b.png")),
        figures.write_png(
            figures.task_scatter([Scatter("", np.zeros(3), np.ones(3))]), folder / "c.png"
        ),
        figures.write_png(figures.learning_curve(METRICS, family="CartPole-v1"), folder / "d.png"),
    ]
    assert written == [folder / f"{name}.png" for name in "abcd"]
    assert sorted(folder.iterdir()) == written
    for path in written:
        with Image.open(path) as image:
            image.verify()
            assert image.format == "PNG"
            assert image.width >= 1080
            assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_a_failed_write_keeps_the_old_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = figures.write_png(
        figures.learning_curve(METRICS, family="CartPole-v1"), tmp_path / "figure.png"
    )
    old = path.read_bytes()

    def full_disk(self: Figure, target: Path, **options: object) -> None:
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space left"):
        figures.write_png(figures.learning_curve(METRICS[:5], family="CartPole-v1"), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_the_style_is_the_same_whatever_was_set_and_leaves_no_trace(tmp_path: Path) -> None:
    plain = figures.write_png(
        figures.learning_curve(METRICS, family="CartPole-v1"), tmp_path / "plain.png"
    ).read_bytes()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        before = dict(mpl.rcParams)
        odd = figures.write_png(
            figures.learning_curve(METRICS, family="CartPole-v1"), tmp_path / "odd.png"
        ).read_bytes()
        assert dict(mpl.rcParams) == before
    assert odd == plain


def test_names_at_line_ends_never_touch() -> None:
    heights = [500.0, 499.9, 30.0, 500.0, 34.0]
    apart = spread(heights, 20.0)
    assert np.diff(np.sort(apart)).min() >= 20.0 - 1e-9
    assert np.argsort(apart, kind="stable").tolist() == np.argsort(heights, kind="stable").tolist()
    assert np.mean(apart) == pytest.approx(np.mean(heights))  # each group stays where it was
    assert spread([1.0, 50.0], 20.0) == [1.0, 50.0]  # nothing moves without need


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'ssm-metarl\[figures\]'"):
        figures.learning_curve(METRICS, family="CartPole-v1")


def test_colours_of_modes_and_groups_are_all_different() -> None:
    colours = [*COLOURS.values(), *(colour for colour, _ in GROUPS)]
    assert len(set(colours)) == len(colours)


def test_memory_before_and_after_gradient_steps_are_two_lines() -> None:
    rows = (
        result("zero_shot", 0, 0, 30.0),
        result("in_context", 0, 0, 30.0),
        result("in_context", 3, 0, 200.0),
        result("standard", 4, 1, 300.0),
        result("standard", 20, 1, 350.0),
        result("standard", 40, 2, 400.0),
        result("in_context", 7, 1, 310.0),
        result("in_context", 23, 1, 360.0),
        result("in_context", 43, 2, 410.0),
    )
    evaluation = dataclasses.replace(EVALUATION, results=rows)
    figure = figures.budget_curve(evaluation)
    (axes,) = figure.axes
    together = colour("in_context") + ", dotted"
    assert curves(axes) == {
        colour("zero_shot"): [(3, 30), (23, 30)],
        colour("in_context"): [(3, 200)],
        colour("standard"): [(4, 300), (20, 350)],
        together: [(7, 310), (23, 360)],
    }
    assert "1 step + in-context  360.0" in texts(axes)
    # 3 and 4, and 20 and 23, stand too close for two labels.
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["4", "7", "23"]
    figure = figures.adaptation_curve(evaluation)
    (axes,) = figure.axes
    assert curves(axes) == {
        together: [(0, 200), (1, 360), (2, 410)],
        colour("standard"): [(0, 30), (1, 350), (2, 400)],
    }
    assert texts(axes) == ["steps + in-context  410.0", "standard  400.0"]
    # What a step cost is said of the steps alone.
    assert [tick.get_text() for tick in axes.get_xticklabels()][1] == "1\n20 episodes"


def test_hybrid_does_not_hide_the_standard_line_it_lies_on() -> None:
    rows = [result("zero_shot", 0, 0, 30.0)]
    rows += [result(mode, 5, 1, 500.0) for mode in ("standard", "hybrid")]
    figure = figures.adaptation_curve(dataclasses.replace(EVALUATION, results=tuple(rows)))
    lines = {to_hex(line.get_color()): line for line in figure.axes[0].lines}
    below, above = lines[colour("standard")], lines[colour("hybrid")]
    assert pattern(above)
    assert not pattern(below)
    assert above.get_zorder() > below.get_zorder()
    assert above.get_markersize() < below.get_markersize()
