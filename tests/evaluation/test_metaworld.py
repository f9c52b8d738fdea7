"""Meta-World's own evaluation drives an agent."""

import importlib
import sys
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from lamp import Lamp

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.session import Session
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.metaworld import SEED
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.tasks import Parameter
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation import metaworld as module
from ssm_metarl.evaluation.metaworld import (
    MetaWorldAgent,
    MetaWorldResult,
    evaluate_metaworld,
    held_out_environments,
)

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
    shown = [observations(rng), observations(rng, 0.7), observations(rng, 0.3)]
    states = [player._state for player in driver._players]
    acted = [driver.eval_action(one) for one in shown[:2]]
    driver.reset(np.array([True, False]))
    acted.append(driver.eval_action(shown[2]))
    for lane, (rewards, starts) in enumerate(
        [((0.0, 0.7, 0.0), (1, 0, 1)), ((0.0, 0.7, 0.3), (1, 0, 0))]
    ):
        state = states[lane]
        for one, actions, reward, start in zip(shown, acted, rewards, starts, strict=True):
            expected, state = agent.predict(one[lane, :SEEN], state, np.array(start), reward=reward)
            assert np.array_equal(actions[lane], expected)
        fresh, _ = agent.predict(shown[0][lane, :SEEN])
        assert not np.array_equal(fresh, acted[0][lane])


def test_without_episodes_to_adapt_from_it_plays_as_it_is() -> None:
    agent, shown = make_agent(), observations(np.random.default_rng(0))
    driver = MetaWorldAgent(agent, "zero_shot")
    driver.init()
    driver.reset(np.ones(ENVIRONMENTS, dtype=bool))
    expected = [agent.predict(one[:SEEN])[0] for one in shown]
    assert np.array_equal(driver.eval_action(shown), expected)


def test_every_environment_round_and_seed_explores_in_its_own_way() -> None:
    same = np.zeros((ENVIRONMENTS, SEEN + 6))

    def rounds(**seed: int) -> list[np.ndarray]:
        driver, acted = MetaWorldAgent(make_agent(), "standard", **seed), []
        for _ in range(2):
            driver.init()
            actions, more = driver.adapt_action(same)
            assert more == {}
            acted += [*actions]
        return acted

    first = rounds()
    assert np.array_equal(first, rounds(seed=0))
    several = np.array([*first, *rounds(seed=1)])
    assert several.shape == (8, 4)
    assert len(np.unique(several, axis=0)) == 8
    with pytest.raises(UserError, match="seed is -1; it must be at least 0"):
        MetaWorldAgent(make_agent(), "standard", seed=-1)


@pytest.mark.parametrize("mode", ["standard", "hybrid"])
def test_sessions_are_told_how_to_adapt(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple] = []

    def session(agent: Agent, mode: str, **options: object) -> Session:
        told.append((mode, options["episodes"], options["memory"]))
        return Session(agent, "zero_shot")

    monkeypatch.setattr(module, "Session", session)
    memory: Any = object.__new__(Memory)
    for episodes in ({}, {"episodes": 4}):
        driver = MetaWorldAgent(make_agent(), mode, memory=memory, **episodes)
        driver.adapt_action(observations(np.random.default_rng(0)))
    own = memory if mode == "hybrid" else None
    assert told == [(mode, 10, own)] * 2 + [(mode, 4, own)] * 2


def test_other_families_are_refused() -> None:
    expected = (
        "CartPole-v1 is none of Meta-World's families; "
        "valid: ML1-reach-v3 or another of its tasks, ML10, ML45"
    )
    with pytest.raises(UserError, match=f"^{expected}$"):
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


def family_of(name: str, parameter: str) -> TaskFamily:
    """A family of that name, whose tasks are of three kinds."""
    parameters = [Parameter(parameter, choices=(0, 1, 2))]
    return TaskFamily(name, make=lambda _: Lamp(1.0), parameters=parameters, max_episode_steps=9)


@pytest.mark.parametrize(
    ("name", "parameter", "benchmark", "classes"),
    [("ML1-reach-v3", "variation", "reach-v3", 1), ("ML10", "task", "ML10", 3)],
)
def test_environments_are_one_of_each_class(
    name: str, parameter: str, benchmark: str, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs, asked = gymnasium.vector.VectorEnv(), []

    def make(*args: str, **options: object) -> gymnasium.vector.VectorEnv:
        asked.append((*args, options))
        return envs

    monkeypatch.setattr(module, "load_metaworld", lambda: SimpleNamespace(make_ml_envs_test=make))
    family = family_of(name, parameter)
    assert held_out_environments(family) is held_out_environments(family, 4) is envs
    assert asked == [
        (
            benchmark,
            {
                "seed": SEED,
                "meta_batch_size": classes,
                "total_tasks_per_cls": variations,
                "recurrent_info_in_obs": True,
                "normalize_reward_in_recurrent_info": False,
            },
        )
        for variations in (50, 4)
    ]


def test_the_protocol_plays_its_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, closed = [], []
    envs = SimpleNamespace(close=lambda: closed.append(True))

    def measure(driver: MetaWorldAgent, given: object, **plan: int) -> tuple[float, float, dict]:
        assert given is envs
        assert driver._seed.entropy == plan.pop("num_evals")  # as they are given below
        asked.append((driver._mode, *plan.values()))
        driver.init()
        return 0.5, 3.0, {"reach-v3": np.float64(0.25)}

    library = SimpleNamespace(metalearning_evaluation=measure)
    monkeypatch.setitem(sys.modules, "metaworld.evaluation", library)
    monkeypatch.setattr(module, "held_out_environments", lambda *_: envs)
    family, agent = family_of("ML1-reach-v3", "variation"), make_agent(**TRIAL)
    modes = ["zero_shot", "in_context", "standard", "hybrid"]
    with pytest.warns(UserWarning, match="as standard"):
        rows = list(evaluate_metaworld(agent, family, modes, variations=4, steps=2, seed=4))
    assert rows == [MetaWorldResult(mode, 0.5, 3.0, {"reach-v3": 0.25}) for mode in modes]
    assert type(rows[0].per_class["reach-v3"]) is float
    steps = dict(zip(modes, (1, 1, 2, 2), strict=True))
    assert asked == [(mode, steps[mode], 10 if mode != "zero_shot" else 0, 3) for mode in modes]
    assert len(closed) == 4
    for variations in (0, 51):
        with pytest.raises(UserError, match=f"variations is {variations}; it must be at"):
            list(evaluate_metaworld(agent, family, modes, variations=variations))
