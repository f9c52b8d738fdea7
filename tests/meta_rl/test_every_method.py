"""Every way to meta-train gradient steps: with all cells and kinds of actions, and learning."""

import math

import pytest
import torch
from methods import METHODS, learner, moved
from numpy.random import SeedSequence

from ssm_metarl.core.cells import CELLS
from ssm_metarl.meta_rl import natural

TINY = {
    **{"tasks_per_epoch": 2, "episodes_per_task": 3, "support_steps": 40, "query_steps": 30},
    **{"width": 4, "state_size": 2, "outer_epochs": 1},
}
FAMILIES = ("CartPole-v1", "Pendulum-v1")


ALONE = {"reptile": "gru", "loaded dice": "gated", "anil": "mlp"}  # as maml, beside one thing
CASES = [(method, cell) for method in METHODS for cell in CELLS if ALONE.get(method, cell) == cell]


@pytest.mark.parametrize(("method", "cell"), CASES)
def test_it_trains_every_cell(method: str, cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "ITERATIONS", 2)
    family = FAMILIES[([*CELLS].index(cell) + [*METHODS].index(method)) % 2]
    learning = learner(method, family, **TINY, cell=cell)
    before = {name: value.detach().clone() for name, value in learning.tensors.items()}
    metrics = learning.iterate(SeedSequence(0), 1).metrics
    assert all(math.isfinite(value) for value in metrics.values())
    assert all(torch.isfinite(value).all() for value in learning.tensors.values())
    assert moved(before, learning.tensors) >= learning.learned.keys()


@pytest.mark.parametrize(("method", "inner_lr"), [("anil", 0.01), ("cavia", 0.3)])
def test_it_learns_to_adapt(method: str, inner_lr: float) -> None:
    """Half of the tasks are swapped, so that no shared policy survives on all of them."""
    learning = learner(
        method,
        **{"tasks_per_epoch": 8, "episodes_per_task": 8, "support_steps": 40, "query_steps": 80},
        **{"num_epochs": 9, "outer_epochs": 4, "outer_lr": 0.02, "inner_lr": inner_lr},
        **{"width": 16, "state_size": 8},
    )
    told = [learning.iterate(SeedSequence(0), i).metrics for i in range(1, 10)]
    first, *_, last = told
    assert first["query_reward"] < 45
    assert last["query_reward"] > 60
    assert last["support_reward"] < 35
