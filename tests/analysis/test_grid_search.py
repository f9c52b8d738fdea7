"""The best search of the grid's goal against every path, and the figures of the paper's grid."""

import itertools

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.analysis.grid_search import (
    CELLS,
    best_search,
    returns_of_path,
    returns_with_known_goal,
)
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.simulators.grid_world import GOALS, MOVES


def every_path(episodes: int, steps: int) -> np.ndarray:
    """Return the cells of all action sequences, walked one by one."""
    paths = []
    for actions in itertools.product(MOVES[:4], repeat=episodes * steps):
        cells: list[int] = []
        for number, (right, up) in enumerate(actions):
            x, y = CELLS[cells[-1]] if number % steps else (0, 0)
            cells.append(CELLS.index((min(max(x + right, 0), 4), min(max(y + up, 0), 4))))
        paths.append(cells)
    return np.unique(paths, axis=0)


@pytest.mark.parametrize(("episodes", "steps"), [(1, 5), (2, 3), (3, 2)])
def test_no_path_is_better(episodes: int, steps: int) -> None:
    best = max(returns_of_path(path, episodes).sum() for path in every_path(episodes, steps))
    found = best_search(episodes, steps)
    assert found.returns.sum() == pytest.approx(best)
    assert len(found.cells) == episodes * steps


def test_the_paper_s_grid() -> None:
    assert returns_with_known_goal() == pytest.approx(16.1 - 1.1 * 96 / 21)  # 11.07
    once, trial = best_search(1).returns, best_search(4).returns
    assert once == pytest.approx([4.0])
    # What is left after one episode can be visited in order of distance: as if it were known.
    assert trial == pytest.approx([4.0, *3 * [returns_with_known_goal()]])


def test_the_path_earns_that_in_the_world() -> None:
    path, family = best_search(1).cells, get_family("GridWorld-v0")
    native = family.make_vec(family.held_out(), 1, autoreset=False, dtype=torch.float64)
    at, total = np.zeros((len(GOALS), 2)), np.zeros(len(GOALS))
    native.reset(SeedSequence(0))
    found = np.zeros(len(GOALS), dtype=bool)
    for cell in path:
        moves = (np.array(CELLS[cell]) - at).astype(int).tolist()
        search = np.array([MOVES.index((right, up)) for right, up in moves])
        step = native.step(torch.from_numpy(np.where(found, 4, search))[:, None])
        total += step.reward[:, 0].numpy()
        found = step.reward[:, 0].numpy() > 0
        at = np.array([CELLS[cell]] * len(GOALS))
    assert total.mean() == pytest.approx(4.0)
