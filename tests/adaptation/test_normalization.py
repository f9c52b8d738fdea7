"""Agents normalise alike wherever they act, as if the environment had been normalised for them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TransformObservation, TransformReward
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.online import adapt
from ssm_metarl.adaptation.session import Session
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.evaluation.play import play_trials

MakeAgent = Callable[..., Agent]
MEAN, STD = np.array([0.2, -0.1, 1.0], np.float32), np.array([0.5, 0.7, 3.0], np.float32)
REWARD_UNIT, CLIP_OBS, CLIP_REWARD = 4.0, 0.8, 0.5
STEPS, EPISODES = 30, 2


class Recorder(gymnasium.Wrapper):
    """Pendulum, which keeps what was done."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("Pendulum-v1", max_episode_steps=STEPS))
        self.actions: list[np.ndarray] = []

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401
        self.actions.append(np.array(action))
        return self.env.step(action)


def by_hand(env: gymnasium.Env) -> gymnasium.Env:
    """Normalise an environment, as VecNormalize would with fixed statistics."""
    seen = TransformObservation(
        env,
        lambda seen: np.clip((seen - MEAN) / STD, -CLIP_OBS, CLIP_OBS),
        gymnasium.spaces.Box(-CLIP_OBS, CLIP_OBS, (3,), np.float32),
    )
    return TransformReward(
        seen, lambda paid: float(np.clip(paid / REWARD_UNIT, -CLIP_REWARD, CLIP_REWARD))
    )


def by_prediction(agent: Agent, env: gymnasium.Env) -> None:
    state, reward = None, 0.0
    for episode in range(EPISODES):
        seen, _ = env.reset(seed=episode)
        start, over = np.array([True]), False
        while not over:
            action, state = agent.predict(seen, state, start, reward=reward)
            seen, paid, terminated, truncated, _ = env.step(action)
            reward, start, over = float(paid), np.array([False]), terminated or truncated
        _, state = agent.predict(seen, state, reward=reward)  # the memory sees how it ended
        reward = 0.0


def by_session(agent: Agent, env: gymnasium.Env) -> None:
    session = Session(agent, "in_context", deterministic=True)
    for episode in range(EPISODES):
        seen, _ = env.reset(seed=episode)
        over = False
        while not over:
            seen, reward, terminated, truncated, _ = env.step(session.act(seen))
            over = terminated or truncated
            session.observe(float(reward), terminated, truncated, seen)


def by_evaluation(agent: Agent, env: gymnasium.Env) -> None:
    family = TaskFamily("Recorded", make=lambda task: env, max_episode_steps=STEPS)
    played = agent.policy, agent.params, family, family.nominal(), 1, EPISODES
    play_trials(*played, SeedSequence(0), deterministic=True)


@pytest.mark.parametrize("play", [by_prediction, by_session, by_evaluation])
def test_units_and_bounds_are_those_of_an_environment_normalised_by_hand(
    make_agent: MakeAgent, play: Callable[[Agent, gymnasium.Env], None]
) -> None:
    plain = make_agent("Pendulum-v1", trial_inputs=True, memory="trial")
    policy = plain.policy
    unit = replace(policy.spaces, observation_scale=(1.0,) * 3, reward_scale=1.0)
    plain = replace(plain, policy=replace(policy, spaces=unit))
    spaces = replace(
        unit,
        observation_offset=tuple(MEAN.tolist()),
        observation_scale=tuple(STD.tolist()),
        reward_scale=REWARD_UNIT,
    )
    config = replace(policy.config, clip_obs=CLIP_OBS, clip_reward=CLIP_REWARD)
    normalising = replace(plain, policy=replace(policy, spaces=spaces, config=config))

    own, theirs = Recorder(), Recorder()
    play(normalising, own)
    play(plain, by_hand(theirs))
    assert len(own.actions) >= EPISODES * STEPS
    np.testing.assert_allclose(own.actions, theirs.actions, rtol=1e-3, atol=1e-4)
    unbounded = Recorder()
    play(replace(normalising, policy=replace(policy, spaces=spaces)), unbounded)
    assert not np.allclose(own.actions, unbounded.actions, rtol=1e-3, atol=1e-4)


def test_adapting_changes_no_units(make_agent: MakeAgent) -> None:
    agent = make_agent("Pendulum-v1")
    env = gymnasium.make("Pendulum-v1", max_episode_steps=20)
    *_, last = adapt(agent, env, episodes=2)
    assert last.agent.policy is agent.policy
