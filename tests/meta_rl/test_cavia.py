"""CAVIA: a context vector alone adapts; it starts at zero on each task, and is never trained."""

import pytest
import torch
from methods import agent, config, learner, moved
from numpy.random import SeedSequence

from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.policy import CONTEXT, Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import ADAPTS
from ssm_metarl.training.config import TrainConfig

FAMILIES = pytest.mark.parametrize("family", ["CartPole-v1", "Pendulum-v1"])


@FAMILIES
def test_the_context_alone_adapts_and_all_else_that_acts_is_trained(family: str) -> None:
    learning = learner("cavia", family, outer_epochs=1)
    before = {name: value.detach().clone() for name, value in learning.params.items()}
    assert before[CONTEXT].tolist() == [0.0] * 8
    start = agent(learning, config("cavia", family, adapted_std=0.3))
    tasks = learning.family.held_out(2)
    stages = adapt_tasks(start, learning.family, tasks, episodes=3, steps=2, seed=SeedSequence(0))
    adapted = list(stages)[-1].params
    assert adapted[CONTEXT].shape == (2, 8)
    assert not torch.equal(adapted[CONTEXT][0], adapted[CONTEXT][1])
    same = before.keys() - {CONTEXT, "action.log_std"}
    assert all(adapted[name] is start.params[name] for name in same)

    for iteration in (1, 2):  # each begins at zero, whatever the tasks before led to
        learning.iterate(SeedSequence(0), iteration)
        assert not learning.params[CONTEXT].any()
    idle = {CONTEXT, "value.weight", "value.bias", "prediction.weight", "prediction.bias"}
    assert moved(before, dict(learning.params)) == before.keys() - idle


@pytest.mark.parametrize(("encoder", "image"), [("linear", ()), ("cnn", (4, 4, 1))])
def test_a_context_is_more_inputs_of_the_encoder(encoder: str, image: tuple[int, ...]) -> None:
    size = 18 if image else 3
    spaces = Spaces((2.0,) * size, 2, discrete=True, image=image)
    policy = Policy(PolicyConfig(encoder=encoder, width=4, context_size=2), spaces)
    params = policy.init(torch.Generator().manual_seed(0))
    contexts = torch.tensor([[0.5, -1.0], [2.0, 0.3]])
    inputs = torch.randn(5, 2, 3, size, generator=torch.Generator().manual_seed(1))
    own = policy.bind({**params, CONTEXT: contexts})
    features, _ = own.scan(inputs, policy.initial_state(2, 3, inputs))
    for task, context in enumerate(contexts):
        bound, one = policy.bind({**params, CONTEXT: context}), inputs[:, task : task + 1]
        alone, _ = bound.scan(one, policy.initial_state(1, 3, inputs))
        torch.testing.assert_close(features[:, task : task + 1], alone)
        appended = torch.cat([one, context.expand(*one.shape[:-1], 2)], -1)
        torch.testing.assert_close(bound.encoder(appended), bound.encoder(bound._with_context(one)))
    zero = policy.bind(params)
    assert not torch.equal(zero.scan(inputs, policy.initial_state(2, 3, inputs))[0], features)


def test_a_context_and_its_size_go_together() -> None:
    assert config("cavia", context_size=5).context_size == 5
    assert config("maml").context_size == 0
    for wrong in ({"context_size": 3}, {"adapts": "context", "context_size": 0}):
        with pytest.raises(UserError, match=r"--context_size is \d and --adapts"):
            TrainConfig(**wrong)
    assert {*ADAPTS} == {"all", "heads", "context"}


def test_rates_are_learned_of_the_context_alone() -> None:
    assert {*learner("cavia", learn_inner_lr=True).log_gains} == {CONTEXT}
