"""Meta-World's own evaluation drives an agent."""

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.session import Session
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.metaworld import SEED
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.metaworld import MetaWorldAgent, evaluate_metaworld

SEEN, ENVIRONMENTS = 39, 2
SPACES = Spaces((1.0,) * SEEN, 4, discrete=False, action_low=(-1.0,) * 4, action_high=(1.0,) * 4)
TRIAL = {"memory": "trial", "trial_inputs": True}


def make_agent(**network: Any) -> Agent:  # noqa: ANN401
    policy = Policy(PolicyConfig(width=8, state_size=4, **network), SPACES)
    params = policy.init(torch.Generator().manual_seed(0))
    params["action.weight"] = 100.0 * params["action.weight"]
    return Agent(policy, params, 0.1, AdaptationConfig(horizon=20), "ML1-reach-v3")


def observations(rng: np.random.Generator, reward: float = 0.0) -> np.ndarray:
    """What Meta-World shows two environments: also the last action, its reward and end."""
    shown = rng.normal(size=(ENVIRONMENTS, SEEN + 6))
    shown[:, -2:] = reward, 0.0
    return shown


def play(driver: MetaWorldAgent, rng: np.random.Generator, episodes: int, steps: int = 5) -> None:
    """Play episodes to adapt from, as Meta-World's function does."""
    for _ in range(episodes):
        for left in reversed(range(steps)):
            driver.adapt_action(observations(rng))
            ended = np.full(ENVIRONMENTS, left == 0)
            rewards = rng.normal(size=ENVIRONMENTS)
            driver.step(SimpleNamespace(reward=rewards, terminated=~ended & ended, truncated=ended))
    driver.adapt()
    driver.reset(np.ones(ENVIRONMENTS, dtype=bool))


@pytest.mark.parametrize("network", [{}, TRIAL])
def test_each_environment_adapts_by_itself_and_starts_anew(network: dict[str, Any]) -> None:
    agent, rng = make_agent(**network), np.random.default_rng(0)
    driver = MetaWorldAgent(agent, "standard", episodes=3)
    driver.init()
    play(driver, rng, 3)
    adapted = [player.agent.params["action.weight"] for player in driver._players]
    assert not torch.equal(adapted[0], adapted[1])
    assert not torch.equal(adapted[0], agent.params["action.weight"])
    shown = observations(rng)
    likely = Session(driver._players[1].agent, "zero_shot", deterministic=True)
    assert np.array_equal(driver.eval_action(shown)[1], likely.act(shown[1, :SEEN]))
    driver.init()
    play(driver, rng, 1)
    assert torch.equal(
        driver._players[0].agent.params["action.weight"], agent.params["action.weight"]
    )


def test_a_memory_goes_on_into_the_episodes_that_count_and_sees_their_rewards() -> None:
    agent = make_agent(**TRIAL)
    driver = MetaWorldAgent(agent, "in_context")
    driver.init()
    play(driver, np.random.default_rng(0), 2)
    rng = np.random.default_rng(1)
    shown = [observations(rng), observations(rng, 0.7), observations(rng)]
    state = driver._players[0]._state
    acted = [driver.eval_action(one)[0] for one in shown[:2]]
    driver.reset(np.array([True, False]))
    acted.append(driver.eval_action(shown[2])[0])
    for one, action, reward, start in zip(shown, acted, (0.0, 0.7, 0.0), (1, 0, 1), strict=True):
        expected, state = agent.predict(one[0, :SEEN], state, np.array(start), reward=reward)
        assert np.array_equal(action, expected)
    fresh, _ = agent.predict(shown[0][0, :SEEN])
    assert not np.array_equal(fresh, acted[0])


def test_other_families_are_refused() -> None:
    with pytest.raises(UserError, match="CartPole-v1 is none of Meta-World's"):
        list(evaluate_metaworld(make_agent(), get_family("CartPole-v1"), ["zero_shot"]))


@pytest.mark.parametrize(
    ("mode", "network"), [("zero_shot", {}), ("standard", {}), ("in_context", TRIAL)]
)
def test_its_own_function_drives_an_agent(mode: str, network: dict[str, Any]) -> None:
    library = pytest.importorskip("metaworld")
    evaluation = importlib.import_module("metaworld.evaluation")
    agent = make_agent(**network)
    # A gripper that goes for where most goals are, so that some episodes end early.
    envs = library.make_ml_envs_test(
        "reach-v3",
        seed=SEED,
        meta_batch_size=1,
        max_episode_steps=15,
        recurrent_info_in_obs=True,
        normalize_reward_in_recurrent_info=False,
    )
    driver = MetaWorldAgent(agent, mode, episodes=2)
    rate, mean, per_class = evaluation.metalearning_evaluation(
        driver, envs, num_evals=2, adaptation_episodes=2, evaluation_episodes=2
    )
    envs.close()
    assert per_class == {"reach-v3": rate}
    assert 0.0 <= rate <= 1.0
    assert mean > 0.0


def test_the_protocol_plays_its_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("metaworld")
    evaluation, asked = importlib.import_module("metaworld.evaluation"), []

    def spy(driver: MetaWorldAgent, envs: Any, **plan: int) -> tuple[float, float, dict]:  # noqa: ANN401
        asked.append(plan)
        assert envs.num_envs == 1
        assert len(envs.get_attr("tasks")[0]) == 4
        driver.init()
        return 0.5, 3.0, {"reach-v3": np.float64(0.5)}

    monkeypatch.setattr(evaluation, "metalearning_evaluation", spy)
    family = get_family("ML1-reach-v3")
    rows = list(evaluate_metaworld(make_agent(), family, ["zero_shot", "standard"], variations=4))
    assert [row.mode for row in rows] == ["zero_shot", "standard"]
    assert rows[0].success_rate == 0.5
    assert [plan["adaptation_episodes"] for plan in asked] == [0, 10]
    assert all(plan["evaluation_episodes"] == 3 and plan["num_evals"] == 4 for plan in asked)
