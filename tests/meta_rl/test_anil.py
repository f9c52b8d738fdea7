"""ANIL: the action head alone adapts, and all that acts is meta-trained."""

import pytest
import torch
from methods import agent, config, learner, moved
from numpy.random import SeedSequence

from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import ADAPTS
from ssm_metarl.training.config import TrainConfig

FAMILIES = pytest.mark.parametrize("family", ["CartPole-v1", "Pendulum-v1"])


@FAMILIES
def test_the_head_alone_adapts_and_all_that_acts_is_trained(family: str) -> None:
    learning = learner("anil", family, outer_epochs=1)
    before = {name: value.detach().clone() for name, value in learning.params.items()}
    start = agent(learning, config("anil", family))
    stages = adapt_tasks(
        start,
        learning.family,
        learning.family.held_out(2),
        episodes=3,
        steps=2,
        seed=SeedSequence(0),
    )
    adapted = list(stages)[-1].params
    heads = {name for name in before if name.startswith("action.")}
    assert {name for name in before if adapted[name].ndim > before[name].ndim} == heads
    assert all(torch.equal(adapted[name], before[name]) for name in before.keys() - heads)
    assert all((adapted[name] != before[name]).any() for name in heads)

    tasks = learning.family.validation(2)
    support, _ = [batch for _, batch in learning._collect(tasks, SeedSequence(0))]
    inner = learning.rule().step(learning.params, support, create_graph=True)
    assert {name for name in before if inner[name].ndim > before[name].ndim} == heads

    learning.iterate(SeedSequence(0), 1)
    acting = {name for name in before if not name.startswith(("value.", "prediction."))}
    assert moved(before, dict(learning.params)) == acting


def test_rates_are_learned_of_the_head_alone() -> None:
    learning = learner("anil", learn_inner_lr=True)
    assert {*learning.log_gains} == {"action.weight", "action.bias"}


def test_a_loss_that_does_not_depend_on_the_head_is_refused() -> None:
    with pytest.raises(UserError, match="--adapts heads: --surrogate prediction"):
        TrainConfig(adapts="heads", surrogate="prediction")
    assert {*ADAPTS} >= {"all", "heads"}
