"""RL^2: advantages that end with the episode, a memory that does not, and learning from both."""

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence
from resolved import resolved
from torch import Tensor

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.learner import TASK_STREAM
from ssm_metarl.meta_rl.rl2 import RL2

FAMILY = get_family("CartPole-v1")
SMALL = {
    **{"num_epochs": 10, "tasks_per_epoch": 4, "episodes_per_trial": 3, "discount": 0.99},
    **{"first_steps": 10, "query_steps": 40},
}


def learner(epochs: int = 1, **changes: object) -> RL2:
    network = PolicyConfig(width=16, state_size=8, blocks=2, trial_inputs=True, memory="trial")
    policy = Policy(network, policy_spaces(FAMILY))
    params = policy.init(torch.Generator().manual_seed(0))
    learning = RL2(policy, FAMILY, params, resolved("rl2", **{**SMALL, **changes}))
    learning.epochs = epochs
    return learning


def rollout_of(learning: RL2, horizon: int = 40) -> Trajectory:
    tasks = FAMILY.sample(learning.settings.tasks_per_epoch, SeedSequence(3))
    return learning._collect(tasks, horizon, SeedSequence(4))


def copies(learning: RL2) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in learning.params.items()}


def with_a_voice(learning: RL2) -> RL2:
    """Make values that differ from step to step."""
    with torch.no_grad():
        learning.params["value.weight"].normal_(generator=torch.Generator().manual_seed(1))
    return learning


def test_the_targets_are_those_of_a_slow_reference_that_knows_only_single_episodes() -> None:
    learning = with_a_voice(learner())
    rollout, own = rollout_of(learning), learning.settings
    bound = learning.policy.bind(learning.params)
    value = learning.value(bound, rollout.features(bound)).detach()
    target = learning._targets(rollout).target
    assert rollout.terminated.any()
    assert rollout.truncated.any()
    for task in range(own.tasks_per_epoch):
        for lane in range(learning.trials):
            v, r = value[:, task, lane].tolist(), rollout.reward[:, task, lane].tolist()
            gae = 0.0
            for t in reversed(range(len(r))):
                if not rollout.valid[t, task, lane]:
                    gae = 0.0  # nothing of the next episode reaches this one
                    continue
                rest = 0.0 if rollout.terminated[t, task, lane] else v[t + 1]
                carried = 0.0 if rollout.done[t, task, lane] else gae
                surprise = r[t] + own.discount * rest - v[t]
                gae = surprise + own.discount * own.gae_lambda * carried
                assert target[t, task, lane].item() == pytest.approx(v[t] + gae, rel=1e-3, abs=1e-3)


def test_advantages_are_standardised_by_task() -> None:
    learning = with_a_voice(learner())
    rollout = rollout_of(learning)
    advantage = learning._targets(rollout).advantage
    for task in range(learning.settings.tasks_per_epoch):
        own = advantage[:, task][rollout.valid[:, task]]
        assert own.mean().item() == pytest.approx(0.0, abs=1e-4)
        assert own.std().item() == pytest.approx(1.0, abs=1e-2)
    assert (advantage[~rollout.valid] == 0).all()


def test_episodes_grow_by_a_constant_factor_to_their_full_length() -> None:
    learning = learner(first_steps=50, query_steps=500)
    horizons = [learning._horizon(done / 40) for done in range(40)]
    assert horizons[0] == 50
    assert horizons[15] == round((50 * 500) ** 0.5)
    assert set(horizons[30:]) == {500}
    assert horizons == sorted(horizons)


def test_minibatches_of_tasks_add_up_to_the_whole_gradient() -> None:
    learning = with_a_voice(learner(entropy=0.01))
    rollout = rollout_of(learning)
    targets = learning._targets(rollout)
    advantage, target = targets.advantage, targets.target

    def gradient(tasks: Tensor) -> Tensor:
        loss, _ = learning.loss(rollout.tasks(tasks), advantage[:, tasks], target[:, tasks])
        learned = list(learning.optimizer.learned.values())
        parts = torch.autograd.grad(loss, learned, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    whole = gradient(torch.arange(4))
    parts = [gradient(tasks) for tasks in (torch.tensor([3, 0]), torch.tensor([1, 2]))]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(parts[0], parts[1], rtol=1e-2)


def test_the_loss_is_ppo_s_with_values_in_their_own_unit() -> None:
    learning = with_a_voice(learner(entropy=0.3, clip=0.1))
    learning.value_weight = 0.7
    rollout = rollout_of(learning)
    targets = learning._targets(rollout)
    with torch.no_grad():
        learning.params["action.weight"].mul_(100.0)  # so that ratios are not 1
    loss, _ = learning.loss(rollout, targets.advantage, targets.target)
    bound = learning.policy.bind(learning.params)
    features = rollout.features(bound)[:-1]
    distribution = bound.distribution(features)
    ratio = (distribution.log_prob(rollout.action) - rollout.log_prob).exp()
    gain = torch.minimum(ratio * targets.advantage, ratio.clamp(0.9, 1.1) * targets.advantage)
    error = bound.value(features) - targets.target * (1.0 - learning.settings.discount)
    each = -gain + 0.7 * error.square() - 0.3 * distribution.entropy()
    steps = rollout.valid.sum((0, 2))
    expected = ((each * rollout.valid).sum((0, 2)) / steps).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_all_that_acts_or_values_learns_and_the_prediction_head_does_not() -> None:
    learning = learner()
    before = copies(learning)
    for iteration in (1, 2):
        learning.iterate(SeedSequence(0), iteration)
    for name, value in learning.params.items():
        assert value.isfinite().all()
        assert torch.equal(before[name], value) == name.startswith("prediction."), name


def test_an_iteration_depends_on_the_seed_and_its_number_alone() -> None:
    a, b = learner(), learner()
    b.iterate(SeedSequence(8), 1)
    with torch.no_grad():
        for name, value in b.params.items():
            value.copy_(a.params[name])
    b.optimizer.load_state(a.optimizer.state())
    reports = [learning.iterate(SeedSequence(0), 3) for learning in (a, b)]
    assert reports[0] == reports[1]
    expected = FAMILY.sample(4, substream(SeedSequence(0), 3, TASK_STREAM)).values
    ((tasks, _),) = reports[0].played
    assert all(np.array_equal(tasks.values[name], values) for name, values in expected.items())
    assert all(torch.equal(a.params[name], b.params[name]) for name in a.params)


def test_minibatches_are_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    learning, axes = learner(), []
    monkeypatch.setattr(learning, "improve", lambda *_, axis: axes.append(axis) or {"loss": 1.0})
    assert learning.iterate(SeedSequence(0), 1).metrics["loss"] == 1.0
    assert axes == [1]  # of [T, K, E]


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    learning = learner()
    before = copies(learning)
    learning.params["encoder.bias"].register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(DivergenceError, match="gradient norm nan"):
        learning.iterate(SeedSequence(0), 1)
    assert all(torch.equal(before[name], value) for name, value in learning.params.items())


@pytest.mark.slow
def test_both_signs_are_learned_within_short_episodes() -> None:
    learning = learner(
        **{"num_epochs": 30, "tasks_per_epoch": 32, "episodes_per_trial": 2, "outer_lr": 0.005},
        **{"first_steps": 50, "query_steps": 50, "epochs": 4},
    )
    for iteration in range(1, 31):
        learning.iterate(SeedSequence(0), iteration)
    tasks = FAMILY.validation(32)
    rollout = learning._collect(tasks, 50, SeedSequence(7))
    rewards = rollout.reward.sum(0).mean(-1) / 2  # per episode, [K]
    swapped = torch.from_numpy(tasks.values["swap"]) > 0.5
    assert rewards[swapped].mean() > 35  # knowing one sign only, one of them stays below 20
    assert rewards[~swapped].mean() > 35


def test_it_reports_the_horizon_and_the_rewards_of_first_and_last_episodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learning, seen = learner(), []
    collect = learning._collect

    def spy(*arguments: object) -> Trajectory:
        seen.append(collect(*arguments))  # pyright: ignore[reportArgumentType]
        return seen[-1]

    monkeypatch.setattr(learning, "_collect", spy)
    metrics = learning.iterate(SeedSequence(0), 1).metrics
    ended = seen[0].done.long().cumsum(0) - seen[0].done.long()  # episodes before this one
    paid = torch.where(seen[0].valid, seen[0].reward, 0.0)
    by_episode = [torch.where(ended == n, paid, 0.0).sum(0).mean().item() for n in range(3)]
    assert metrics["horizon"] == 10
    assert metrics["first_reward"] == pytest.approx(by_episode[0])
    assert metrics["last_reward"] == pytest.approx(by_episode[2])
