"""An agent's calls: lanes do not mix, episodes start empty, and bad input is said to be so."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.distributions import Categorical
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError

FAMILIES = {"CartPole-v1": 4, "Pendulum-v1": 3}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_is_its_lanes_each_by_itself(make_agent: Callable[..., Agent], name: str) -> None:
    agent, rng = make_agent(name, trial_inputs=True, memory="trial"), np.random.default_rng(0)
    seen = rng.normal(size=(6, 3, FAMILIES[name])).astype(np.float32)
    reward, start = rng.normal(size=(6, 3)).astype(np.float32), rng.random((6, 3)) < 0.3
    together, apart = None, [None] * 3
    for t in range(6):
        actions, together = agent.predict(seen[t], together, start[t], reward=reward[t])
        assert actions.shape == (3, *get_family(name).action_space.shape)  # pyright: ignore[reportGeneralTypeIssues]
        for lane in range(3):
            action, apart[lane] = agent.predict(
                seen[t, lane],
                apart[lane],
                start[t, lane : lane + 1],
                reward=reward[t, lane : lane + 1],
            )
            np.testing.assert_allclose(action, actions[lane], atol=1e-5)
            assert get_family(name).action_space.contains(action)


def test_a_memory_of_an_episode_knows_of_nothing_before_it(
    make_agent: Callable[..., Agent],
) -> None:
    for name, size in FAMILIES.items():
        agent = make_agent(name, trial_inputs=True)
        seen = np.random.default_rng(1).normal(size=(2, size)).astype(np.float32)
        _, state = agent.predict(seen)
        _, state = agent.predict(seen, state, reward=3.0)
        both, fresh = np.array([True, True]), agent.choose(seen, None, None, True)[2]
        again = agent.choose(seen, state, both, True, reward=5.0)[2]
        first = agent.choose(seen, state, np.array([True, False]), True, reward=5.0)[2]
        gap = again.kl(fresh)[0].tolist(), first.kl(fresh)[0].tolist()
        assert gap[0] == [0.0, 0.0]
        assert gap[1][0] == 0.0
        assert gap[1][1] != 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observation": np.zeros(3)}, r"sees \[4\] or \[E, 4\], got \[3\]"),
        ({"observation": np.zeros((1, 2, 4))}, r"got \[1, 2, 4\]"),
        ({"observation": np.zeros(())}, r"got \[\]"),
        ({"observation": np.array([0.0, np.inf, 0.0, 0.0])}, "observation is not finite"),
        ({"observation": np.full(4, 1e300)}, "observation is not finite"),
        ({"observation": np.array(["a"] * 4)}, "observation cannot be read as numbers"),
        ({"observation": np.zeros((3, 4))}, "state is of 2 lanes, not of 3"),
        ({"reward": np.zeros(3)}, "reward has 3 entries for 2 observations"),
        ({"reward": np.array([0.0, np.nan])}, "reward is not finite"),
        ({"episode_start": np.array([True] * 3)}, "episode_start has 3 entries for 2"),
    ],
)
def test_bad_input_is_said_to_be_so(agent: Agent, changes: dict, words: str) -> None:
    _, state = agent.predict(np.zeros((2, 4)))
    with pytest.raises(UserError, match=words):
        agent.predict(**{"observation": np.zeros((2, 4)), "state": state, **changes})


def test_a_state_goes_from_agent_to_agent_of_one_network_only(
    agent: Agent, make_agent: Callable[..., Agent]
) -> None:
    seen = np.zeros(4)
    _, state = agent.predict(seen)
    adapted = agent.with_params({name: value + 0.1 for name, value in agent.params.items()})
    adapted.predict(seen, state)
    with pytest.raises(UserError, match="another network"):
        make_agent(memory="trial").predict(seen, state)


def test_arrays_that_torch_does_not_like_are_read_all_the_same(agent: Agent) -> None:
    seen = np.arange(8.0).reshape(2, 4)
    backwards, fixed = seen[::-1, ::-1][::-1, ::-1], seen.copy()
    fixed.flags.writeable = False
    for same in (seen.astype(np.float32), backwards, fixed, seen.astype(np.int64)):
        assert agent.predict(same)[0].tolist() == agent.predict(seen)[0].tolist()


def test_parameters_of_one_task_lose_its_axis_and_nothing_else(agent: Agent) -> None:
    per_task = {
        name: value if name.startswith("value.") else value.unsqueeze(0) + 1.0
        for name, value in agent.params.items()
    }
    other = agent.with_params(per_task)
    for name, value in agent.params.items():
        expected = value if name.startswith("value.") else value + 1.0
        assert torch.equal(other.params[name], expected)
    assert other.policy is agent.policy
    assert other.predict(np.ones(4))[0].shape == ()


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_samples_are_spread_as_the_distribution_says(
    make_agent: Callable[..., Agent], name: str
) -> None:
    agent, seen = make_agent(name), np.zeros((4000, FAMILIES[name]), np.float32)
    _, state, distribution = agent.choose(seen, None, None, False, seed=3)
    acted = state.action[0].double()
    if isinstance(distribution, Categorical):
        share = distribution.probabilities()[0, 0, 1].item()
        assert acted.mean().item() == pytest.approx(share, abs=0.04)
    else:
        z = (acted - distribution.mean[0]) / distribution.log_std.exp()
        assert abs(z.mean().item()) < 0.08
        assert z.std().item() == pytest.approx(1.0, abs=0.05)
        assert z.square().square().mean().item() == pytest.approx(3.0, abs=0.6)  # of a normal one
    again = agent.choose(seen, None, None, False, seed=3)[1]
    other = agent.choose(seen, None, None, False, seed=4)[1]
    assert torch.equal(state.action, again.action)
    assert not torch.equal(state.action, other.action)


def test_what_it_is_pushed_with_is_handed_on(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple] = []

    def push(*args: object, **options: object) -> str:
        asked.append((*args, options))
        return "hf://somebody/agent@1"

    monkeypatch.setattr("ssm_metarl.training.publish.push_agent", push)
    usual = {"private": True, "license": "mit", "trust_env_code": False}
    other = {"private": False, "license": "apache-2.0", "trust_env_code": True}
    for options in ({}, other):
        assert agent.push_to_hub("somebody/agent", **options) == "hf://somebody/agent@1"
    assert asked == [(agent, "somebody/agent", usual), (agent, "somebody/agent", other)]


@pytest.mark.parametrize("name", FAMILIES)
def test_numbers_of_another_default_type_change_nothing(
    make_agent: Callable[..., Agent], name: str
) -> None:
    agent, seen = make_agent(name), np.ones((30, FAMILIES[name]))
    torch.set_default_dtype(torch.float64)
    try:
        _, state, distribution = agent.choose(seen, None, None, False)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {memory.dtype for memory in state.memory} == {torch.float32}
    _, again, expected = agent.choose(seen, None, None, False)
    torch.testing.assert_close(state.action, again.action, rtol=0.0, atol=0.0)
    assert not distribution.kl(expected).any()


def test_an_agent_is_shown_without_its_numbers(agent: Agent) -> None:
    assert "family='CartPole-v1'" in repr(agent)
    assert "tensor" not in repr(agent)
