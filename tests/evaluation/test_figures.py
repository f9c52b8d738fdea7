"""What is on the axes is what was passed in, and files appear whole or not at all."""

import dataclasses
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.online import adapt
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation import figures
from ssm_metarl.evaluation.report import Evaluation, ModeResult
from ssm_metarl.meta_rl.maml import MetaConfig


def result(mode: str, shots: int, steps: int, mean: float) -> ModeResult:
    """A result with an interval of 5 to either side."""
    return ModeResult(mode, shots, steps, mean, mean, (mean - 5, mean + 5), 0.0, mean, (mean,))


EVALUATION = Evaluation(
    "CartPole-v1",
    1,
    0,
    "held_out",
    (
        result("zero_shot", 0, 0, 34.0),
        result("in_context", 2, 0, 442.0),
        result("in_context", 5, 0, 470.0),
        result("standard", 5, 1, 480.0),
        result("standard", 20, 1, 490.0),
        result("standard", 1, 1, 350.0),
        result("standard", 40, 2, 499.0),
        result("from_scratch", 0, 0, 20.0),
        result("from_scratch", 20, 1, 83.0),
        result("from_scratch", 40, 2, 120.0),
    ),
)
METRICS = [
    {
        "iteration": index,
        "environment_steps": 1000.0 * index,
        "return_before": 34.0,
        "return_after": float(index),
    }
    for index in range(40)
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that was saved, in order."""
    saved: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, target: Path, *, format: str, dpi: float) -> None:
        saved.append(self)
        save(self, target, format=format, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def points(line: Line2D) -> np.ndarray:
    """The data of a line, ``[points, 2]``."""
    return np.asarray(line.get_xydata())


def curves(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """The points of every line with a marker or a colour of its own, by colour."""
    return {
        to_hex(line.get_color()): [(x, y) for x, y in points(line).tolist()]
        for line in axes.lines
        if line.get_linestyle() == "-"
    }


def colour(mode: str) -> str:
    """The colour of a mode."""
    return figures.LOOKS[mode][0]


def texts(axes: Axes) -> list[str]:
    """Everything written on the axes."""
    return [text.get_text() for text in axes.texts]


def test_adaptation_curve_draws_means_against_steps(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.adaptation_curve(EVALUATION, tmp_path / "curve.png", best=500.0)
    (axes,) = drawn[0].axes
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
    (reference,) = [line for line in axes.lines if line.get_linestyle() != "-"]
    assert points(reference)[:, 1].tolist() == [500.0, 500.0]
    assert axes.get_title(loc="left") == "CartPole-v1: 1 held-out task, seed 0"


def test_bands_are_the_confidence_intervals(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.adaptation_curve(EVALUATION, tmp_path / "curve.png")
    bands = [band for band in drawn[0].axes[0].collections if isinstance(band, PolyCollection)]
    corners = {(x, y) for x, y in np.asarray(bands[0].get_paths()[0].vertices).tolist()}
    assert corners == {(0, 29), (0, 39), (1, 485), (1, 495), (2, 494), (2, 504)}


def test_trial_curve_draws_means_against_episodes(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = (
        result("in_context", 0, 0, 400.0),
        result("in_context", 1, 0, 480.0),
        result("in_context", 2, 0, 490.0),
        result("in_context", 22, 1, 499.0),  # after a gradient step: another story
    )
    trial = dataclasses.replace(EVALUATION, results=rows)
    figures.trial_curve(trial, tmp_path / "trial.png", best=500.0)
    (axes,) = drawn[0].axes
    assert curves(axes) == {colour("in_context"): [(1, 400), (2, 480), (3, 490)]}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "3"]
    assert texts(axes) == ["in-context  490.0", "best possible: 500"]
    alone = dataclasses.replace(EVALUATION, results=EVALUATION.results[:1])
    with pytest.raises(UserError, match="nothing to draw"):
        figures.trial_curve(alone, tmp_path / "none.png")


def test_hybrid_and_standard_both_start_at_zero_shot(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = (*EVALUATION.results, result("hybrid", 5, 1, 495.0))
    figures.adaptation_curve(dataclasses.replace(EVALUATION, results=rows), tmp_path / "c.png")
    (axes,) = drawn[0].axes
    assert curves(axes)[colour("hybrid")] == [(0, 34), (1, 495)]
    assert curves(axes)[colour("standard")][0] == (0, 34)
    assert texts(axes) == ["standard  499.0", "hybrid  495.0", "from scratch  120.0"]
    # Where the modes used different data for a step, no number stands under it.
    assert [tick.get_text() for tick in axes.get_xticklabels()][1] == "1"


def test_several_evaluations_share_a_scale(tmp_path: Path, drawn: list[Figure]) -> None:
    weak = tuple(dataclasses.replace(row, mean=row.mean - 300) for row in EVALUATION.results)
    pair = [EVALUATION, dataclasses.replace(EVALUATION, results=weak)]
    figures.adaptation_curve(pair, tmp_path / "pair.png", titles=["SSM", "MLP"])
    left, right = drawn[0].axes
    assert [left.get_title(loc="left"), right.get_title(loc="left")] == ["SSM", "MLP"]
    assert left.get_ylim() == right.get_ylim()
    low, high = left.get_ylim()
    assert low < -280
    assert high > 504
    assert curves(right)[colour("standard")] == [(0, -266), (1, 190), (2, 199)]
    assert "from scratch  \N{MINUS SIGN}180.0" in texts(right)


def test_budget_curve_draws_one_step_against_episodes(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.budget_curve(EVALUATION, tmp_path / "budget.png")
    (axes,) = drawn[0].axes
    assert curves(axes) == {
        colour("zero_shot"): [(1, 34), (20, 34)],
        colour("in_context"): [(2, 442), (5, 470)],
        colour("standard"): [(1, 350), (5, 480), (20, 490)],
        colour("from_scratch"): [(20, 83)],
    }
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "5", "20"]
    assert list(axes.get_xticks(minor=True)) == []


def test_task_scatter_puts_each_task_in_its_group(tmp_path: Path, drawn: list[Figure]) -> None:
    before, after = np.array([10.0, 20.0, 30.0]), np.array([400.0, 15.0, 500.0])
    groups = ["swapped", "as trained", "swapped"]
    figures.task_scatter(before, after, tmp_path / "scatter.png", groups=groups)
    (axes,) = drawn[0].axes
    clouds = {
        cloud.get_label(): np.asarray(cloud.get_offsets()).tolist()
        for cloud in axes.collections
        if isinstance(cloud, PathCollection)
    }
    assert clouds == {"swapped": [[10, 400], [30, 500]], "as trained": [[20, 15]]}
    assert axes.get_title(loc="left") == "Better after adaptation on 2 of 3 tasks"
    assert axes.get_xlim() == axes.get_ylim()
    diagonal = points(axes.lines[0])
    np.testing.assert_array_equal(diagonal[:, 0], diagonal[:, 1])
    assert axes.get_legend() is not None


def test_task_scatter_without_groups_has_no_legend(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.task_scatter(np.array([1.0]), np.array([1.0]), tmp_path / "one.png")
    (axes,) = drawn[0].axes
    assert axes.get_legend() is None
    assert axes.get_title(loc="left") == "Better after adaptation on 0 of 1 tasks"


def test_more_groups_than_colours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 4 groups"):
        figures.task_scatter(np.zeros(5), np.ones(5), tmp_path / "s.png", groups=list("abcde"))


def test_learning_curve_draws_records_and_their_mean(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.learning_curve(METRICS, tmp_path / "learning.png", best=500.0)
    (axes,) = drawn[0].axes
    raw_before, mean_before, raw_after, mean_after = map(points, axes.lines[:4])
    steps = 1000.0 * np.arange(40)
    np.testing.assert_array_equal(raw_before, np.stack([steps, np.full(40, 34.0)], 1))
    np.testing.assert_array_equal(raw_after, np.stack([steps, np.arange(40.0)], 1))
    # A centred mean leaves a straight line where it was; of 5 records, so 2 are lost at each end.
    np.testing.assert_allclose(mean_before, raw_before[2:-2])
    np.testing.assert_allclose(mean_after, raw_after[2:-2])
    assert texts(axes) == ["before adaptation", "after adaptation", "best possible: 500"]


def test_learning_curve_passes_over_iterations_that_did_not_look(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    blind = {"environment_steps": 1.0, "return_before": None, "return_after": None}
    figures.learning_curve([blind, *METRICS[:3], blind], tmp_path / "learning.png")
    np.testing.assert_array_equal(points(drawn[0].axes[0].lines[0])[:, 0], [0.0, 1000.0, 2000.0])


def test_learning_curve_of_training_without_adaptation_has_one_line(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    plain = [{**record, "return_after": None} for record in METRICS]
    figures.learning_curve(plain, tmp_path / "learning.png")
    (axes,) = drawn[0].axes
    assert texts(axes) == ["return"]


def test_short_runs_are_drawn_too(tmp_path: Path) -> None:
    for count in (1, 2, 3):
        assert figures.learning_curve(METRICS[:count], tmp_path / "short.png").exists()


def test_a_reader_of_the_old_figure_is_not_disturbed(tmp_path: Path) -> None:
    path = figures.learning_curve(METRICS, tmp_path / "figure.png")
    old = path.read_bytes()
    with path.open("rb") as reader:
        figures.learning_curve(METRICS[:5], path)
        assert reader.read() == old
    assert path.read_bytes() != old


def test_nothing_to_draw_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    only_zero_shot = dataclasses.replace(EVALUATION, results=EVALUATION.results[:1])
    with pytest.raises(UserError, match="nothing to draw"):
        figures.adaptation_curve(only_zero_shot, tmp_path / "c.png")
    with pytest.raises(UserError, match="2 data budgets"):
        figures.budget_curve(only_zero_shot, tmp_path / "b.png")
    with pytest.raises(UserError, match="no training metrics"):
        figures.learning_curve([], tmp_path / "l.png")
    broken = [METRICS[0], {"environment_steps": 1.0, "return_before": 1.0}]
    with pytest.raises(UserError, match="record 1: no 'return_after'"):
        figures.learning_curve(broken, tmp_path / "l.png")
    assert list(tmp_path.iterdir()) == []


def test_files_are_png_at_twice_the_density_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "figures"  # made when needed
    written = [
        figures.adaptation_curve(EVALUATION, folder / "a.png"),
        figures.budget_curve(EVALUATION, str(folder / "b.png")),
        figures.task_scatter(np.zeros(3), np.ones(3), folder / "c.png"),
        figures.learning_curve(METRICS, folder / "d.png"),
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
    path = figures.learning_curve(METRICS, tmp_path / "figure.png")
    old = path.read_bytes()

    def full_disk(self: Figure, target: Path, **options: object) -> None:
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space left"):
        figures.learning_curve(METRICS[:5], path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_the_style_is_the_same_whatever_was_set_and_leaves_no_trace(tmp_path: Path) -> None:
    plain = figures.learning_curve(METRICS, tmp_path / "plain.png").read_bytes()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        before = dict(mpl.rcParams)
        odd = figures.learning_curve(METRICS, tmp_path / "odd.png").read_bytes()
        assert dict(mpl.rcParams) == before
    assert odd == plain


def test_names_at_line_ends_never_touch() -> None:
    heights = [500.0, 499.9, 30.0, 500.0, 34.0]
    spread = figures._spread(heights, 20.0)
    assert np.diff(np.sort(spread)).min() >= 20.0 - 1e-9
    assert np.argsort(spread, kind="stable").tolist() == np.argsort(heights, kind="stable").tolist()
    assert np.mean(spread) == pytest.approx(np.mean(heights))  # each group stays where it was
    assert figures._spread([1.0, 50.0], 20.0) == [1.0, 50.0]  # nothing moves without need


def test_missing_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'ssm-metarl\[figures\]'"):
        figures.learning_curve(METRICS, tmp_path / "figure.png")


def test_colours_of_modes_and_groups_are_all_different() -> None:
    colours = [look[0] for look in figures.LOOKS.values()] + [look[0] for look in figures.GROUPS]
    assert len(set(colours)) == len(colours)


def test_the_profile_is_the_share_of_tasks_that_reach_a_return(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    def on_tasks(mode: str, shots: int, steps: int, *returns: float) -> ModeResult:
        return dataclasses.replace(result(mode, shots, steps, 0.0), per_task=returns)

    rows = (
        on_tasks("zero_shot", 0, 0, 30.0, 10.0),
        on_tasks("standard", 20, 1, 500.0, 500.0),
        on_tasks("standard", 5, 1, 400.0, 100.0),
        on_tasks("standard", 10, 2, 450.0, 450.0),
        on_tasks("from_scratch", 0, 0, 5.0, 5.0),
        on_tasks("from_scratch", 5, 1, 50.0, 70.0),
    )
    profile = dataclasses.replace(EVALUATION, tasks=2, results=rows)
    figures.performance_profile(profile, tmp_path / "profile.png")
    (axes,) = drawn[0].axes
    assert curves(axes) == {
        colour("zero_shot"): [(10, 1), (10, 1), (30, 0.5)],
        colour("standard"): [(10, 1), (100, 1), (400, 0.5)],  # the smallest budget of one step
        colour("from_scratch"): [(10, 1), (50, 1), (70, 0.5)],
    }
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "zero-shot",
        "standard, 5 episodes",
        "from scratch, 5 episodes",
    ]


def test_the_episodes_of_an_adaptation_are_drawn_in_turn_with_its_steps(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    family = get_family("CartPole-v1")
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    agent = Agent(policy, params, 0.1, MetaConfig(support_horizon=20), family.name)
    records = list(adapt(agent, family.gymnasium(family.nominal()), episodes=3, steps=2))
    figures.episode_curve(records, 123.0, tmp_path / "episodes.png", best=500.0)
    (axes,) = drawn[0].axes
    returns = [float(record.returns[0]) for record in records]
    solid = [points(line).tolist() for line in axes.lines if line.get_linestyle() == "-"]
    episodes, afterwards = solid
    assert episodes == [[number + 1, value] for number, value in enumerate(returns)]
    assert afterwards == [[7.0, 123.0]]
    dashed = [points(line) for line in axes.lines if line.get_linestyle() != "-"]
    assert sorted({line[0, 0].item() for line in dashed}) == [0.0, 3.5, 6.5]  # 0: the best line
    assert texts(axes) == ["afterwards\n123.0"]
