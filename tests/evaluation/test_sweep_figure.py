"""The figure of a search of settings."""

import pytest

pytest.importorskip("matplotlib")
from ssm_metarl.evaluation.figures.sweep import TrialPoint, sweep_figure


def test_trials_are_counted_in_whole_numbers() -> None:
    trials = [TrialPoint(number, float(number), {"lr": 0.1}, pruned=False) for number in range(4)]
    axes = sweep_figure(trials, {"lr": 1.0}, title="").axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
