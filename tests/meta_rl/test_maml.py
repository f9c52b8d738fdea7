"""Meta-learning: invariances, and that it learns to adapt."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence
from resolved import resolved

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import DivergenceError
from ssm_metarl.evaluation.play import mean_returns
from ssm_metarl.meta_rl import meta_learner, objective
from ssm_metarl.meta_rl.batch import Batch, collect_data, make_batch
from ssm_metarl.meta_rl.learner import TASK_STREAM
from ssm_metarl.meta_rl.losses import sampling_loss
from ssm_metarl.meta_rl.maml import MAML

FAMILY = get_family("CartPole-v1")
SMALL = {
    **{"tasks_per_epoch": 3, "episodes_per_task": 4, "outer_epochs": 2, "inner_lr": 0.1},
    **{"support_steps": 20, "query_steps": 30},
}


def learner(chunk: int = MAML.chunk, **changes: object) -> MAML:
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(FAMILY))
    params = policy.init(torch.Generator().manual_seed(0))
    learning = MAML(policy, FAMILY, params, resolved("meta_rl", **{**SMALL, **changes}))
    learning.chunk = chunk
    return learning


def agent_of(learning: MAML) -> Agent:
    config = AdaptationConfig(horizon=learning.settings.support_steps)
    rate = learning.settings.inner_lr
    return Agent(learning.policy, learning.detached(), rate, config, FAMILY.name)


def after_one_iteration(**changes: object) -> dict[str, torch.Tensor]:
    learning = learner(**changes)
    learning.iterate(SeedSequence(3), 1)
    return {name: value.detach().clone() for name, value in learning.tensors.items()}


@pytest.mark.parametrize("surrogate", ["lvc", "emaml"])
@pytest.mark.parametrize("inner_steps", [1, 2])
def test_chunks_of_tasks_give_the_gradient_of_all_at_once(inner_steps: int, surrogate: str) -> None:
    changes = {"inner_steps": inner_steps, "surrogate": surrogate, "outer_epochs": 1}
    whole = after_one_iteration(chunk=3, **changes)
    for chunk in (1, 2):
        parts = after_one_iteration(chunk=chunk, **changes)
        for name in whole:
            torch.testing.assert_close(whole[name], parts[name], atol=3e-5, rtol=0)


@pytest.mark.parametrize(("most", "sizes"), [(20_000, [3]), (120 * 2, [2, 1]), (1, [1, 1, 1])])
def test_the_longer_the_episodes_the_fewer_tasks_at_once(most: int, sizes: list[int]) -> None:
    learning, found = learner(outer_epochs=1, query_steps=30), []
    learning.chunk_steps, compute = most, learning.objective()

    def counted(supports: list[Batch], query: Batch, theta: Params) -> objective.OuterLoss:
        found.append(len(query.scale))
        return compute(supports, query, theta)

    learning.objective = lambda: counted
    learning.iterate(SeedSequence(3), 1)
    assert found == sizes


def test_rewards_are_reported_of_the_first_and_of_the_last_rollout() -> None:
    learning, rollouts = learner(inner_steps=2), []
    collect = learning._collect

    def kept(*given: object) -> list:
        rollouts.extend(collect(*given))
        return rollouts

    learning._collect = kept
    metrics = learning.iterate(SeedSequence(3), 1).metrics
    first, middle, last = [(one.reward.sum() / one.done.sum()).item() for one, _ in rollouts]
    assert middle != last
    assert (metrics["support_reward"], metrics["query_reward"]) == (first, last)


def test_the_outer_loss_is_the_mean_over_tasks() -> None:
    learning = learner(chunk=2)
    tasks = FAMILY.sample(3, SeedSequence(1))
    support, query = [batch for _, batch in learning._collect(tasks, SeedSequence(2))]
    query = dataclasses.replace(query, advantage=query.advantage + 1.0)  # so that it is not 0
    mean = learning.objective()([support], query, learning.params).loss.mean()
    assert mean < -0.5
    shares = [outer.loss.sum() for outer in learning.outer_losses([support], query)]
    assert len(shares) == 2
    torch.testing.assert_close(sum(shares) / 3, mean)


def test_tasks_of_about_the_same_length_are_taken_together_without_the_steps_after_it() -> None:
    learning, seen = learner(chunk=2), []
    support, query = [
        batch for _, batch in learning._collect(FAMILY.sample(3, SeedSequence(1)), SeedSequence(2))
    ]
    early = torch.arange(len(query.valid)).view(-1, 1, 1) < torch.tensor([5, 30, 7]).view(1, -1, 1)
    advantage = (query.advantage + 1.0) * early
    query = dataclasses.replace(query, advantage=advantage, valid=query.valid & early)
    compute = learning.objective()
    gradients = []
    for outers in (
        learning.outer_losses([support], query),
        [compute([support], query, learning.params)],
    ):
        for outer in outers:
            outer.loss.sum().backward()
        gradients.append({name: value.grad for name, value in learning.params.items()})
        for value in learning.params.values():
            value.grad = None
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], atol=1e-6, rtol=1e-4)

    def counted(supports: list[Batch], query: Batch, theta: Params) -> objective.OuterLoss:
        seen.append(query.valid.shape[:2])
        return compute(supports, query, theta)

    learning.objective = lambda: counted
    list(learning.outer_losses([support], query))
    assert seen == [(7, 2), (query.lengths[1], 1)]


@pytest.mark.parametrize(("memory", "steps"), [("episode", 20), ("trial", 40)])
def test_the_longest_rollout_is_an_episode_or_a_trial(memory: str, steps: int) -> None:
    policy = Policy(PolicyConfig(width=8, state_size=4, memory=memory), policy_spaces(FAMILY))
    params = policy.init(torch.Generator().manual_seed(0))
    settings = resolved("meta_rl", **SMALL, episodes_per_trial=2)
    assert MAML(policy, FAMILY, params, settings).longest_rollout == steps


def test_switches_change_what_is_learned() -> None:
    base = after_one_iteration(inner_lr=1.0)
    for changes in (
        {"first_order": True},
        {"surrogate": "dice"},
        {"surrogate": "emaml"},
        {"inner_lr": 0.1},
    ):
        other = after_one_iteration(**{"inner_lr": 1.0, **changes})
        assert any(not torch.equal(base[name], other[name]) for name in base), changes


def test_support_data_are_credited_with_the_return_against_the_other_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rollouts, credited = [], []

    def spy_on_rollouts(*arguments, **settings):  # noqa: ANN002, ANN003, ANN202
        rollouts.append(collect_data(*arguments, **settings))
        return rollouts[-1]

    def spy_on_credit(log_prob, behaviour, credit, *rest):  # noqa: ANN001, ANN002, ANN202
        credited.append((behaviour, credit))
        return sampling_loss(log_prob, behaviour, credit, *rest)

    monkeypatch.setattr(meta_learner, "collect_data", spy_on_rollouts)
    monkeypatch.setattr(objective, "sampling_loss", spy_on_credit)
    learner(surrogate="emaml", inner_steps=2, outer_epochs=1).iterate(SeedSequence(3), 1)
    a, b, c = rollouts[-1].reward.sum(0).mean(-1).tolist()
    better = torch.tensor([a - (b + c) / 2, b - (a + c) / 2, c - (a + b) / 2])
    for support, (behaviour, credit) in zip(rollouts[:2], credited, strict=True):
        assert torch.equal(behaviour, support.log_prob)  # of the parameters before that step
        assert credit.abs().max() > 0
        torch.testing.assert_close(credit / credit.norm(), better / better.norm())


def test_the_return_before_adapting_adds_its_policy_gradient() -> None:
    """Against ``-A log pi`` averaged over the live steps of each task, differentiated directly."""
    learning, plain = learner(support_weight=0.5), learner()
    plain.params = learning.params
    policy, tasks = learning.policy, FAMILY.validation(3)
    settings = {"episodes": 4, "per_trial": 1, "device": torch.device("cpu")}
    support, query = (
        make_batch(
            collect_data(
                policy.bind(learning.params), FAMILY, tasks, SeedSequence(n), horizon=20, **settings
            ),
            policy,
            0.99,
            1.0,
        )
        for n in range(2)
    )
    learned = list(learning.optimizer.learned.values())
    with_it, without = (
        torch.autograd.grad(one.objective()([support], query, learning.params).loss.sum(), learned)
        for one in (learning, plain)
    )
    log_prob = support.distribution(policy.bind(learning.params)).log_prob(support.action)
    steps = support.valid.sum((0, 2))
    direct = -((support.advantage * log_prob * support.valid).sum((0, 2)) / steps).sum()
    expected = torch.autograd.grad(direct, learned)
    assert max(g.abs().max() for g in expected) > 1e-3
    for a, b, e in zip(with_it, without, expected, strict=True):
        torch.testing.assert_close(a - b, 0.5 * e, atol=1e-5, rtol=1e-4)


def test_an_iteration_depends_on_the_seed_and_its_number_alone() -> None:
    assert all(
        torch.equal(a, b)
        for a, b in zip(after_one_iteration().values(), after_one_iteration().values(), strict=True)
    )
    learning = learner()
    report = learning.iterate(SeedSequence(3), 1)
    stream = substream(SeedSequence(3), 1, TASK_STREAM)
    expected = FAMILY.sample(learning.settings.tasks_per_epoch, stream).values
    for tasks, _ in report.played:
        assert all(np.array_equal(tasks.values[name], values) for name, values in expected.items())
    assert report.experience == report.played[0]


def test_learned_rates_start_at_inner_lr_and_move() -> None:
    learning = learner(learn_inner_lr=True)
    rates = learning.rule().rates
    assert not isinstance(rates, float)
    assert all((rate == SMALL["inner_lr"]).all() for rate in rates.values())
    learning.iterate(SeedSequence(3), 1)
    moved = learning.rule().rates
    assert not isinstance(moved, float)
    assert all((moved[n] != SMALL["inner_lr"]).any() for n in moved)
    assert all((rate > 0).all() for rate in moved.values())


def test_heads_that_do_not_act_are_left_alone() -> None:
    learning = learner()
    before = {n: v.detach().clone() for n, v in learning.params.items()}
    learning.iterate(SeedSequence(3), 1)
    for name, value in learning.params.items():
        same = torch.equal(before[name], value)
        assert same == name.startswith(("value.", "prediction.")), name


def test_query_data_are_fresh_and_of_the_adapted_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    rollouts = []

    def spy(bound, *data, **settings):  # noqa: ANN001, ANN002, ANN003, ANN202
        rollouts.append((bound.params, collect_data(bound, *data, **settings)))
        return rollouts[-1][1]

    monkeypatch.setattr(meta_learner, "collect_data", spy)
    learner(inner_steps=2).iterate(SeedSequence(3), 1)
    assert len(rollouts) == 3
    shapes = [params["action.weight"].ndim for params, _ in rollouts]
    assert shapes == [2, 3, 3]  # shared, then one set of parameters per task
    first = [rollout.observation[0] for _, rollout in rollouts]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    learning = learner()
    before = {n: v.detach().clone() for n, v in learning.params.items()}
    with torch.no_grad():
        learning.params["encoder.bias"].register_hook(lambda g: g * torch.nan)
    with pytest.raises(DivergenceError, match="gradient norm nan"):
        learning.iterate(SeedSequence(3), 1)
    assert all(torch.equal(before[n], v) for n, v in learning.params.items())


def test_adaptation_counts_its_data() -> None:
    learning = learner()
    agent, tasks = agent_of(learning), FAMILY.held_out(3)
    stages = list(adapt_tasks(agent, FAMILY, tasks, episodes=5, steps=2, seed=SeedSequence(0)))
    assert [s.steps for s in stages] == [0, 1, 2]
    assert [s.episodes for s in stages] == [0, 5, 10]
    assert (stages[0].environment_steps == 0).all()
    used = stages[1].environment_steps
    assert ((used >= 5 * 5) & (used <= 5 * SMALL["support_steps"])).all()
    assert (stages[2].environment_steps > used).all()


@pytest.mark.slow
def test_meta_training_teaches_to_adapt() -> None:
    policy = Policy(PolicyConfig(), policy_spaces(FAMILY))
    settings = resolved(
        "meta_rl",
        **{"tasks_per_epoch": 8, "episodes_per_task": 10, "query_steps": 200, "num_epochs": 12},
        **{"inner_lr": 0.1, "outer_lr": 0.003, "support_steps": 100, "discount": 0.99},
    )
    params = policy.init(torch.Generator().manual_seed(0))
    learning = MAML(policy, FAMILY, params, settings)
    tasks = FAMILY.validation(20)

    def returns() -> list[float]:
        agent = agent_of(learning)
        stages = adapt_tasks(agent, FAMILY, tasks, episodes=10, steps=1, seed=SeedSequence(1))
        seed = SeedSequence(2)
        return [mean_returns(policy, s.params, FAMILY, tasks, 2, seed).mean() for s in stages]

    _, untrained = returns()
    for iteration in range(1, learning.iterations + 1):
        learning.iterate(SeedSequence(0), iteration)
    zero_shot, adapted = returns()
    assert zero_shot < 60  # half of the tasks are swapped: nobody can know before acting
    assert adapted > untrained + 30
    assert adapted > 5 * zero_shot
