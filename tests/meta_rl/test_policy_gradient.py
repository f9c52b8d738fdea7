"""PPO on one task: whole episodes in, a better policy out."""

import dataclasses

import pytest
import torch
from chance import CHANCE, Chance
from numpy.random import SeedSequence
from resolved import resolved
from torch import Tensor

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.policy_gradient import PolicyGradient, _nothing_to_learn
from ssm_metarl.meta_rl.returns import discounted_sum

FAMILY = get_family("CartPole-v1")
POLICY = Policy(PolicyConfig(), policy_spaces(FAMILY))
TOO_SHORT_TO_FALL = dataclasses.replace(FAMILY, max_episode_steps=6)


def learner(
    family: TaskFamily = FAMILY,
    policy: Policy = POLICY,
    *,
    episodes: int = PolicyGradient.episodes,
    epochs: int = PolicyGradient.epochs,
    **changes: object,
) -> PolicyGradient:
    params = policy.init(torch.Generator().manual_seed(0))
    settings = resolved("policy_gradient", **{"discount": 0.99, **changes})
    learning = PolicyGradient(policy, family, params, settings)
    learning.episodes, learning.epochs = episodes, epochs
    return learning


def rollout_of(learning: PolicyGradient, lanes: int = 6, horizon: int = 500) -> Trajectory:
    params = {name: value.detach() for name, value in learning.params.items()}
    environment = FAMILY.make_vec(FAMILY.nominal(), lanes, autoreset=False, horizon=horizon)
    return collect_episodes(learning.policy.bind(params), environment, SeedSequence(4))


def copies(learning: PolicyGradient) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in learning.params.items()}


def test_every_episode_asked_for_is_played_and_no_more() -> None:
    learning = learner(num_episodes=19, episodes=8, epochs=1)
    counts = [learning.iterate(SeedSequence(0), i).metrics["episodes"] for i in (1, 2, 3)]
    assert counts == [8, 16, 19]


def test_lanes_whose_episode_has_ended_do_not_begin_another() -> None:
    policy = Policy(PolicyConfig(), policy_spaces(CHANCE))
    learning = learner(CHANCE, policy, episodes=6, epochs=1)
    before = Chance.begun
    learning.iterate(SeedSequence(0), 1)
    assert Chance.begun - before == 6


@pytest.mark.parametrize(("discount", "scale"), [(0.9, 10.0), (0.999, 500.0), (1.0, 500.0)])
def test_values_are_in_units_of_the_discounted_or_the_whole_episode(
    discount: float, scale: float
) -> None:
    assert learner(discount=discount).value_scale == pytest.approx(scale)


def test_values_are_in_units_of_the_rewards() -> None:
    one = learner(discount=0.9)
    spaces = dataclasses.replace(one.policy.spaces, reward_scale=1e3)
    policy = dataclasses.replace(one.policy, spaces=spaces)
    other = learner(policy=policy, discount=0.9)
    assert other.value_scale == pytest.approx(1e4)
    data = rollout_of(one, 8)
    paid = dataclasses.replace(data, reward=1e3 * data.reward)
    mine, theirs = one._targets(data), other._targets(paid)
    torch.testing.assert_close(theirs.advantage, mine.advantage, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(theirs.target, 1e3 * mine.target, rtol=1e-3, atol=1.0)


def test_a_gradient_of_a_hundred_thousandth_moves_half_a_full_step() -> None:
    learning = learner()  # PPO is usually run with Adam's epsilon at 1e-5, not 1e-8
    bias = learning.params["action.bias"]
    before = bias.detach().clone()
    learning.optimizer.step(lambda: [1e-5 * bias.sum()])
    moved = (before - bias.detach()) / learning.settings.outer_lr
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5), rtol=1e-3, atol=0.0)


def test_observations_of_other_units_have_the_same_targets() -> None:
    plain, data = learner(), rollout_of(learner(), 8)
    declared = plain.policy.spaces
    offset = (100.0, -3.0, 0.0, 7.0)
    scale = tuple(32.0 * value for value in declared.observation_scale)
    spaces = dataclasses.replace(declared, observation_offset=offset, observation_scale=scale)
    policy = dataclasses.replace(plain.policy, spaces=spaces)
    other = learner(policy=policy)
    moved = dataclasses.replace(data, observation=torch.tensor(offset) + 32.0 * data.observation)
    mine, theirs = plain._targets(data), other._targets(moved)
    torch.testing.assert_close(theirs.value, mine.value, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(theirs.advantage, mine.advantage, rtol=1e-2, atol=1e-2)


def test_all_that_acts_or_values_learns_and_the_prediction_head_does_not() -> None:
    learning = learner(epochs=1)
    before = copies(learning)
    for iteration in (1, 2):
        learning.iterate(SeedSequence(0), iteration)
    for name, value in learning.params.items():
        assert value.isfinite().all()
        assert torch.equal(before[name], value) == name.startswith("prediction."), name


def test_an_iteration_depends_on_the_seed_and_its_number_alone() -> None:
    a, b = learner(epochs=2), learner(epochs=2)
    b.iterate(SeedSequence(8), 1)
    with torch.no_grad():
        for name, value in b.params.items():
            value.copy_(a.params[name])
    b.optimizer.load_state(a.optimizer.state())
    reports = [learning.iterate(SeedSequence(0), 3) for learning in (a, b)]
    assert reports[0] == reports[1]
    assert all(torch.equal(a.params[name], b.params[name]) for name in a.params)


def test_minibatches_of_whole_episodes_add_up_to_the_whole_gradient() -> None:
    learning = learner(entropy=0.01)
    rollout = rollout_of(learning)
    targets = learning._targets(rollout)
    advantage, target = targets.advantage, targets.target

    def gradient(lanes: Tensor) -> Tensor:
        loss, _ = learning.loss(rollout.lanes(lanes), advantage[:, :, lanes], target[:, :, lanes])
        learned = list(learning.optimizer.learned.values())
        parts = torch.autograd.grad(loss, learned, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts]) * rollout.valid[:, :, lanes].sum()

    whole = gradient(torch.arange(6))
    parts = [gradient(lanes) for lanes in (torch.tensor([4, 0, 3]), torch.tensor([5, 1, 2]))]
    assert whole.abs().max() > 1.0
    torch.testing.assert_close(parts[0] + parts[1], whole, rtol=1e-3, atol=1e-3)
    assert (parts[0] - parts[1]).abs().max() > 0.1  # and they are not the same halves


def test_with_a_full_trace_the_value_targets_are_the_returns() -> None:
    learning = learner(gae_lambda=1.0)
    rollout = rollout_of(learning)
    assert rollout.terminated.any(0).all()
    target = learning._targets(rollout).target
    returns = discounted_sum(rollout.reward, rollout.done | ~rollout.valid, 0.99)
    torch.testing.assert_close(target[rollout.valid], returns[rollout.valid], rtol=1e-4, atol=1e-3)


def test_a_time_limit_is_bootstrapped_and_an_end_is_not() -> None:
    learning = learner()
    with torch.no_grad():
        learning.params["value.bias"] += 0.5  # half of the best that can be had: 50 more steps
    cut = rollout_of(learning, horizon=6)
    assert cut.truncated.any(0).all()
    ended = dataclasses.replace(cut, terminated=cut.truncated, truncated=cut.terminated)
    assert (learning._targets(cut).target[-1] > 10.0).all()
    assert (learning._targets(ended).target[-1] < 1.1).all()


def test_episodes_that_all_survive_alike_change_nothing() -> None:
    learning = learner(family=TOO_SHORT_TO_FALL)
    before = copies(learning)
    report = learning.iterate(SeedSequence(0), 1)
    assert (report.mean_return, report.metrics["loss"]) == (6.0, 0.0)
    assert all(torch.equal(before[name], value) for name, value in learning.params.items())


def test_episodes_that_all_end_alike_do_change_something() -> None:
    learning = learner(episodes=1)  # its return equals itself, but it fell
    before = copies(learning)
    learning.iterate(SeedSequence(0), 1)
    assert not torch.equal(before["action.weight"], learning.params["action.weight"])


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    learning = learner()
    before = copies(learning)
    learning.params["encoder.bias"].register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(DivergenceError, match="gradient norm nan"):
        learning.iterate(SeedSequence(0), 1)
    assert all(torch.equal(before[name], value) for name, value in learning.params.items())


@pytest.mark.slow
def test_a_hundred_episodes_teach_to_balance() -> None:
    learning = learner()
    returns = [learning.iterate(SeedSequence(0), i).mean_return for i in range(1, 10)]
    assert returns[0] < 60
    assert sum(returns[-2:]) / 2 > 150


def test_where_there_is_nothing_to_learn_the_rate_is_still_reported() -> None:
    learning = learner(family=TOO_SHORT_TO_FALL, num_episodes=100, episodes=4)
    metrics = learning.iterate(SeedSequence(0), 1).metrics
    assert metrics["learning_rate"] == learning.optimizer.learning_rate
    assert metrics["loss"] == 0.0


@pytest.mark.parametrize("lanes", [1, 3])
def test_equal_returns_teach_nothing_only_if_every_episode_met_the_time_limit(lanes: int) -> None:
    data = rollout_of(learner(), lanes, horizon=5)
    assert _nothing_to_learn(data)
    fell = torch.zeros_like(data.truncated)
    fell[:, :, 0] = data.truncated[:, :, 0]  # with the return of the others
    changed = dataclasses.replace(data, truncated=data.truncated & ~fell, terminated=fell)
    assert not _nothing_to_learn(changed)
