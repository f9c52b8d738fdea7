"""Policies: acting equals training, tasks do not mix, episodes do not leak."""

import dataclasses

import pytest
import torch

from ssm_metarl.core import cells
from ssm_metarl.core.distributions import Categorical, DiagonalGaussian
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces

K, E = 3, 2
DISCRETE = Spaces(observation_scale=(1.0, 2.0, 0.5), actions=2, discrete=True)
CONTINUOUS = Spaces((1.0, 2.0, 0.5), 2, False, (-2.0, -1.0), (2.0, 3.0))
CELLS = list(cells.CELLS)


def make(cell: str, *, per_task: bool = False, **changes: object) -> tuple[Policy, dict]:
    config = PolicyConfig(cell=cell, width=8, state_size=4, blocks=2, norm=True)
    policy = Policy(dataclasses.replace(config, **changes), DISCRETE)
    rng = torch.Generator().manual_seed(0)
    sets = [{n: v.double() for n, v in policy.init(rng).items()} for _ in range(K)]
    if not per_task:
        return policy, sets[0]
    return policy, {name: torch.stack([s[name] for s in sets]) for name in sets[0]}


def inputs(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(length)
    keep = torch.rand(length, K, E) > 0.2
    return torch.randn(length, K, E, 3, dtype=torch.float64), keep


@pytest.mark.parametrize("per_task", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7, 200])
@pytest.mark.parametrize("cell", CELLS)
def test_step_equals_scan_and_scan_can_be_split_anywhere(
    cell: str, length: int, per_task: bool
) -> None:
    policy, params = make(cell, per_task=per_task)
    bound = policy.bind(params)
    x, keep = inputs(length)
    start = policy.initial_state(K, E, x)
    start = tuple(s + torch.randn_like(s) for s in start)  # a memory carried in
    whole, last = bound.scan(x, start, keep)

    state, steps = start, []
    for t in range(length):
        features, state = bound.step(x[t], state, keep[t])
        steps.append(features)
    torch.testing.assert_close(torch.stack(steps), whole)
    torch.testing.assert_close(state, last)

    for cut in {1, length // 2, length - 1} - {0, length}:
        first, middle = bound.scan(x[:cut], start, keep[:cut])
        second, end = bound.scan(x[cut:], middle, keep[cut:])
        torch.testing.assert_close(torch.cat([first, second]), whole)
        torch.testing.assert_close(end, last)


@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_of_tasks_equals_one_task_at_a_time(cell: str) -> None:
    policy, params = make(cell, per_task=True)
    x, keep = inputs(7)
    together, _ = policy.bind(params).scan(x, policy.initial_state(K, E, x), keep)
    for k in range(K):
        alone = policy.bind({name: value[k] for name, value in params.items()})
        state = policy.initial_state(1, E, x)
        features, _ = alone.scan(x[:, k : k + 1], state, keep[:, k : k + 1])
        torch.testing.assert_close(together[:, k : k + 1], features)


@pytest.mark.parametrize("cell", CELLS)
def test_an_episode_leaves_the_next_one_bitwise_unchanged(cell: str) -> None:
    policy, params = make(cell)
    x, keep = inputs(20)
    keep[:] = True
    keep[12, 1, 0] = False
    state = policy.initial_state(K, E, x)
    before, _ = policy.bind(params).scan(x, state, keep)
    x[:12, 1, 0] += 3.0
    after, _ = policy.bind(params).scan(x, state, keep)
    assert torch.equal(before[12:, 1, 0], after[12:, 1, 0])
    assert not torch.equal(before[11, 1, 0], after[11, 1, 0])
    others = torch.ones(K, E, dtype=torch.bool)
    others[1, 0] = False
    assert torch.equal(before[:, others], after[:, others])


@pytest.mark.parametrize("cell", ["ssm", "gated", "gru"])
def test_what_was_seen_long_ago_matters_unless_there_is_no_memory(cell: str) -> None:
    def late(name: str) -> torch.Tensor:
        policy, params = make(name)
        x, _ = inputs(7)
        x.requires_grad_()
        features, _ = policy.bind(params).scan(x, policy.initial_state(K, E, x))
        (grad,) = torch.autograd.grad(features[-1].sum(), x)
        return grad[0].abs().max()

    assert late(cell) > 0
    assert late("mlp") == 0


@pytest.mark.parametrize("cell", CELLS)
def test_second_order_gradients_of_the_whole_network(cell: str) -> None:
    policy, params = make(cell, width=3, state_size=2, blocks=1)
    names = [n for n in params if n.startswith(("encoder", "block0"))]
    x, keep = inputs(3)

    def run(*values: torch.Tensor) -> torch.Tensor:
        bound = policy.bind({**params, **dict(zip(names, values, strict=True))})
        return bound.scan(x, policy.initial_state(K, E, x), keep)[0]

    values = tuple(params[n].clone().requires_grad_() for n in names)
    assert torch.autograd.gradcheck(run, values)
    assert torch.autograd.gradgradcheck(run, values, fast_mode=True)


def test_observations_are_scaled_by_their_typical_magnitude() -> None:
    policy, params = make("mlp")
    unit = dataclasses.replace(policy, spaces=Spaces((1.0, 1.0, 1.0), 2, True))
    x, _ = inputs(4)
    scaled = x / torch.tensor([1.0, 2.0, 0.5])
    state = policy.initial_state(K, E, x)
    torch.testing.assert_close(
        policy.bind(params).scan(x, state)[0], unit.bind(params).scan(scaled, state)[0]
    )


def test_trial_inputs_are_a_switch() -> None:
    plain = Policy(PolicyConfig(), DISCRETE)
    trial = Policy(PolicyConfig(trial_inputs=True), DISCRETE)
    observation = torch.ones(K, E, 3)
    action = torch.tensor([[0, 1], [-1, 0], [1, 1]])
    reward = torch.full((K, E), 2.0)
    start = torch.tensor([[False, False], [True, False], [False, False]])
    assert torch.equal(plain.inputs(observation, action, reward, start), observation)
    seen = trial.inputs(observation, action, reward, start)
    assert seen[0, 0].tolist() == [1, 1, 1, 1, 0, 2, 0]
    assert seen[0, 1].tolist() == [1, 1, 1, 0, 1, 2, 0]
    assert seen[1, 0].tolist() == [1, 1, 1, 0, 0, 2, 1]  # no action before the first
    params = trial.init(torch.Generator().manual_seed(0))
    assert params["encoder.weight"].shape[0] == seen.shape[-1]


def test_continuous_actions_are_mapped_to_the_bounds_and_clipped() -> None:
    action = torch.tensor([[0.0, 0.0], [1.0, -1.0], [5.0, -5.0]])
    expected = torch.tensor([[0.0, 1.0], [2.0, -1.0], [2.0, -1.0]])
    torch.testing.assert_close(CONTINUOUS.to_environment(action), expected)


def test_heads_have_the_shapes_they_promise() -> None:
    for spaces, kind in ((DISCRETE, Categorical), (CONTINUOUS, DiagonalGaussian)):
        policy = Policy(PolicyConfig(), spaces)
        bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
        x = torch.randn(7, K, E, 3)
        features, _ = bound.scan(x, policy.initial_state(K, E, x))
        distribution = bound.distribution(features)
        assert isinstance(distribution, kind)
        action = distribution.mode()
        assert distribution.log_prob(action).shape == (7, K, E)
        assert bound.value(features).shape == (7, K, E)
        assert bound.prediction(features, action).shape == (7, K, E, 3)


def test_the_spread_of_actions_stays_in_its_range() -> None:
    policy = Policy(PolicyConfig(), CONTINUOUS)
    params = policy.init(torch.Generator().manual_seed(0))
    params["action.log_std"] = torch.tensor([-9.0, 9.0])
    assert policy.bind(params).log_std().tolist() == [-4.0, 1.0]


def test_rewards_are_clipped_as_inputs() -> None:
    policy = Policy(PolicyConfig(trial_inputs=True), DISCRETE)
    reward, never = torch.tensor([[50.0, -50.0, 9.0]]), torch.zeros(1, 3, dtype=torch.bool)
    seen = policy.inputs(torch.zeros(1, 3, 3), torch.zeros(1, 3).long(), reward, never)
    assert seen[0, :, -2].tolist() == [10.0, -10.0, 9.0]


def test_rewards_as_inputs_are_in_units_of_their_scale() -> None:
    spaces = dataclasses.replace(DISCRETE, reward_scale=4.0)
    policy = Policy(PolicyConfig(trial_inputs=True), spaces)
    never = torch.zeros(1, 1, dtype=torch.bool)
    seen = policy.inputs(torch.zeros(1, 1, 3), never.long(), torch.tensor([[2.0]]), never)
    assert seen[0, 0, -2] == 0.5


def test_observations_are_clipped_around_their_typical_value() -> None:
    spaces = Spaces((2.0, 4.0), 2, True, observation_offset=(1.0, -1.0))
    policy = Policy(PolicyConfig(clip_obs=1.5), spaces)
    observation, none = torch.tensor([[9.0, 2.0], [-9.0, -20.0]]), torch.zeros(2)
    seen = policy.inputs(observation, none.long(), none, none.bool())
    assert seen.tolist() == [[3.0, 3.0], [-3.0, -6.0]]


def test_several_choices_stand_side_by_side() -> None:
    policy = Policy(PolicyConfig(), Spaces((1.0,), 5, True, choices=(2, 3)))
    like = torch.zeros(1, dtype=torch.float64)
    acted = policy.action_features(torch.tensor([[[1, 0], [-1, 2], [0, -1]]]), like)
    assert acted.dtype == torch.float64
    assert acted.tolist() == [[[0, 1, 1, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]]
    assert torch.equal(policy.action_features(acted, like), acted)
    bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
    found = bound.distribution(torch.zeros(1, 1, 32))
    assert isinstance(found, Categorical)
    assert found.choices == (2, 3)


def test_initial_values_that_are_not_drawn() -> None:
    policy = Policy(PolicyConfig(norm=True, initial_log_std=-1.5), CONTINUOUS)
    params = policy.init(torch.Generator().manual_seed(0))
    assert params["action.log_std"].tolist() == [-1.5, -1.5]
    assert (params["block0.norm"] == 1.0).all()
    discrete = Policy(PolicyConfig(), DISCRETE).init(torch.Generator().manual_seed(0))
    assert discrete.keys() == params.keys() - {"action.log_std", "block0.norm"}


@pytest.mark.parametrize(("cell", "size"), [("ssm", 8), ("gated", 4), ("gru", 4), ("mlp", 0)])
def test_the_empty_memory_is_zero_in_the_dtype_asked_for(cell: str, size: int) -> None:
    policy, _ = make(cell)
    like = torch.ones(1, dtype=torch.float64)
    for memory in policy.initial_state(K, E, like):
        assert torch.equal(memory, torch.zeros(K, E, size, dtype=torch.float64))
        assert memory.dtype == torch.float64
