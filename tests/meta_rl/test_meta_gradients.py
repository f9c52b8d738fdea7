"""Gradients of the outer objectives against finite differences, in double precision."""

from collections.abc import Callable

import pytest
import torch
from enumerated import flatten, unflatten
from methods import doubled, learner
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import combine

TINY = {
    **{"tasks_per_epoch": 2, "episodes_per_task": 2, "support_steps": 10, "query_steps": 15},
    **{"width": 2, "state_size": 1, "inner_steps": 2, "entropy": 0.1, "support_weight": 0.3},
    **{"inner_lr": 0.05, "clip": 1.0},
}


def objective(method: str, family: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Return the loss of a flat vector of what acts, and where it is looked at."""
    learning = learner(method, family, **TINY)
    learning.keeps_behaviour = True
    tasks = learning.family.validation(2)
    *supports, query = [b for _, b in learning._collect(tasks, SeedSequence(0))]
    supports, query = [doubled(one) for one in supports], doubled(query)
    params = {n: v.double().requires_grad_() for n, v in learning.detached().items()}
    learned = {name.removeprefix("params/") for name in learning.learned}
    acting = {name: params[name].detach() for name in params if name in learned}
    if method == "promp":
        learning.kl_coefficients = torch.tensor([30.0, 70.0], dtype=torch.float64)

    def loss(vector: Tensor) -> Tensor:
        theta = combine(params, unflatten(vector, acting))
        outer = learning.objective()(supports, query, theta)
        assert outer.divergence is not None
        return (outer.loss + outer.divergence).sum()

    noise = torch.randn(flatten(acting).shape, generator=torch.Generator().manual_seed(1))
    return loss, flatten(acting) + 0.03 * noise.double()


@pytest.mark.parametrize("family", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("method", ["maml", "anil", "cavia", "promp", "maml_trpo"])
def test_of_the_loss_and_the_divergence(method: str, family: str) -> None:
    loss, point = objective(method, family)
    point.requires_grad_()
    assert torch.autograd.gradcheck(loss, point, eps=1e-5, atol=1e-5, rtol=1e-4, fast_mode=True)
