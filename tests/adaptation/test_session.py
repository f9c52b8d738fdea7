"""A session in a live system learns what the same episodes teach when they are given at once."""

import dataclasses
import warnings
from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.session import Session
from ssm_metarl.adaptation.standard import Adaptation
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.rollout import Trajectory, collect_trials, side_by_side
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import DivergenceError, UserError

MakeAgent = Callable[..., Agent]
KINDS = {
    "memory of an episode": {},
    "sees what it did": {"trial_inputs": True},
    "memory of a trial": {"trial_inputs": True, "memory": "trial"},
    "continuous": {"name": "Pendulum-v1", "trial_inputs": True},
}


def play(session: Session, episodes: int, name: str = "CartPole-v1") -> list[list[tuple]]:
    """Play whole episodes; return what was seen, done, earned and led to at each step."""
    env, played = gymnasium.make(name), []
    for episode in range(episodes):
        seen, _ = env.reset(seed=episode)
        steps, done = [], False
        while not done:
            action = session.act(seen)
            after, reward, terminated, truncated, _ = env.step(action)
            steps.append((seen, action, reward, terminated, after))
            session.observe(float(reward), terminated, truncated, after)
            seen, done = after, terminated or truncated
        played.append(steps)
    env.close()
    return played


def as_trajectory(agent: Agent, steps: list[tuple]) -> Trajectory:
    """One episode put together by hand, with log-probabilities of the policy's own scan."""
    steps = steps[: agent.config.horizon]
    seen, action, reward, ended, after = zip(*steps, strict=True)
    flags = torch.zeros(len(steps), 1, 1, dtype=torch.bool)
    start, last = torch.zeros(len(steps) + 1, 1, 1, dtype=torch.bool), flags.clone()
    start[0] = last[-1] = True
    observation = torch.tensor(np.stack([*seen, after[-1]])).float()[:, None, None]
    draft = Trajectory(
        action=torch.tensor(np.stack(action))[:, None, None],
        observation=observation,
        reward=torch.tensor(reward).float()[:, None, None],
        log_prob=torch.zeros(len(steps), 1, 1),
        terminated=last & ended[-1],
        truncated=last & (not ended[-1]),
        valid=~flags,
        episode_start=start,
    )
    bound = agent.policy.bind(agent.params)
    log_prob = bound.distribution(draft.features(bound)[:-1]).log_prob(draft.action)
    return dataclasses.replace(draft, log_prob=log_prob)


def test_a_session_learns_what_the_same_episodes_teach_at_once(agent: Agent) -> None:
    before = {name: value.clone() for name, value in agent.params.items()}
    session = Session(agent, episodes=4, seed=3)
    first = play(session, 4)
    expected = Adaptation(agent, 1, seed=SeedSequence(3))
    played = side_by_side([as_trajectory(agent, steps) for steps in first])
    expected.add(played)
    assert session.adapted is not None
    assert session.adapted.played is not None
    for name, value in played.tensors().items():
        torch.testing.assert_close(vars(session.adapted.played)[name], value)
    for name, value in agent.with_params(expected.now.params).params.items():
        torch.testing.assert_close(session.agent.params[name], value)
    second = play(session, 4)
    adapted = agent.with_params(expected.now.params)
    expected.add(side_by_side([as_trajectory(adapted, steps) for steps in second]))
    for name, value in agent.with_params(expected.now.params).params.items():
        torch.testing.assert_close(session.agent.params[name], value, atol=1e-5, rtol=1e-4)
    assert session.adapted.steps == 2
    assert session.returns == [float(len(steps)) for steps in first + second]
    assert all(torch.equal(before[name], value) for name, value in agent.params.items())
    assert not torch.equal(session.agent.params["action.weight"], before["action.weight"])
    assert 0.0 < session.longest_pause < 60.0


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_what_is_recorded_is_what_the_policy_would_say_of_it(
    make_agent: MakeAgent, kind: dict
) -> None:
    agent = make_agent(**kind)
    session = Session(agent, episodes=3)
    play(session, 3, kind.get("name", "CartPole-v1"))
    assert session.adapted is not None
    played = session.adapted.played
    assert played is not None
    bound = agent.policy.bind(agent.params)
    log_prob = bound.distribution(played.features(bound)[:-1]).log_prob(played.action)
    torch.testing.assert_close(log_prob[played.valid], played.log_prob[played.valid])


def test_long_episodes_are_cut_at_the_horizon_of_adaptation(make_agent: MakeAgent) -> None:
    session = Session(make_agent(horizon=5), episodes=1)
    for step in range(200):
        session.act(np.full(4, step / 1000))
        assert len(session._episode.observations) <= 6
        session.observe(2.0, step == 199, False)
    assert session.returns == [400.0]
    assert session.adapted is not None
    played = session.adapted.played
    assert played is not None
    assert played.observation[:, 0, 0, 0].tolist() == pytest.approx(
        [0, 1e-3, 2e-3, 3e-3, 4e-3, 5e-3]
    )
    assert played.reward.flatten().tolist() == [2.0] * 5
    assert played.truncated.flatten().tolist() == [False] * 4 + [True]
    assert not played.terminated.any()


def test_modes_without_steps_record_nothing(make_agent: MakeAgent) -> None:
    agent = make_agent(memory="trial")
    for mode in ("zero_shot", "in_context"):
        session = Session(agent, mode, deterministic=True)
        session.act(np.zeros(4))
        session.observe(1.0, False, False)
        assert session._episode.observations == session._episode.actions == []
        play(session, 6)
        assert session.agent is agent
        assert session.adapted is None
        assert session.longest_pause == 0.0


def test_a_trial_s_memory_is_that_of_the_collector(make_agent: MakeAgent) -> None:
    agent = make_agent(trial_inputs=True, memory="trial")
    makers = [lambda: gymnasium.make("CartPole-v1")]
    envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
    world = GymnasiumEnvironment(
        envs, Tasks({}, np.zeros(1, dtype=np.int64)), max_episode_steps=500
    )
    bound = agent.policy.bind(agent.params)
    trial = collect_trials(bound, world, SeedSequence(1), 3, deterministic=True)
    world.close()
    session = Session(agent, "in_context", deterministic=True)
    for t in range(len(trial.reward)):
        if not trial.valid[t, 0, 0]:
            continue
        assert session.act(trial.observation[t, 0, 0].numpy()) == trial.action[t, 0, 0]
        ended = bool(trial.terminated[t, 0, 0]), bool(trial.truncated[t, 0, 0])
        session.observe(float(trial.reward[t]), *ended, trial.observation[t + 1, 0, 0].numpy())
    assert len(session.returns) == 3
    assert sum(session.returns) == trial.environment_steps
    # Up to the end, which the memory of a trial sees too.
    _, memory = bound.scan(
        trial.inputs(agent.policy), agent.policy.initial_state(1, 1, trial.reward)
    )
    for mine, theirs in zip(session._state.memory, memory, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_only_in_context_does_memory_outlast_the_episode(make_agent: MakeAgent) -> None:
    agent = make_agent(trial_inputs=True, memory="trial")
    empty = agent.policy.initial_state(1, 1, torch.zeros(()))
    for mode in ("zero_shot", "standard", "in_context"):
        session = Session(agent, mode, episodes=50)
        play(session, 2)
        forgotten = torch.equal(session._state.memory[0], empty[0])
        assert forgotten == (mode != "in_context")


def test_sampling_goes_on_across_episodes_and_follows_the_seed(agent: Agent) -> None:
    def actions(seed: int) -> list[list[int]]:
        session, taken = Session(agent, "zero_shot", seed=seed), []
        for _ in range(2):
            taken.append([])
            for step in range(30):
                taken[-1].append(int(session.act(np.zeros(4))))
                session.observe(1.0, step == 29, False)
        return taken

    first, second = actions(0)
    assert first != second
    assert [first, second] == actions(0)
    assert first != actions(1)[0]


def test_a_failure_drops_the_episode_and_nothing_else(agent: Agent) -> None:
    session = Session(agent, episodes=2)
    play(session, 1)
    session.act(np.zeros(4))
    with pytest.raises(DivergenceError, match="the reward is nan"):
        session.observe(float("nan"), False, False)
    session.act(np.zeros(4))
    with pytest.raises(UserError, match="not finite"):
        session.observe(1.0, False, True, np.full(4, np.nan))
    session.act(np.zeros(4))
    with pytest.raises(UserError, match=r"got \[3\]"):
        session.observe(1.0, True, False, np.zeros(3))
    session.act(np.zeros(4))  # and then the system failed
    session.drop_episode()
    assert session.agent is agent
    assert len(session.returns) == 1
    played = play(session, 1)
    assert session.adapted is not None
    assert session.adapted.episodes == 2
    assert session.adapted.played is not None
    assert session.adapted.played.valid[:, 0].sum(0).tolist() == [
        min(session.returns[0], 20),
        min(len(played[0]), 20),
    ]


def test_what_is_no_reward_drops_the_episode_too(agent: Agent) -> None:
    session = Session(agent, episodes=2)
    session.act(np.zeros(4))
    session.observe(np.float32(1.0), False, False)
    session.act(np.zeros(4))
    with pytest.raises(UserError, match="not a number"):
        session.observe(np.array([1.0]), False, False)  # as of a vector environment
    session.act(np.zeros(4))
    with pytest.raises(DivergenceError, match="reward is inf"):
        session.observe(10**400, False, False)
    play(session, 2)
    assert session.adapted is not None
    assert session.adapted.steps == 1


def test_an_observation_that_is_none_ends_the_episode_it_was_seen_in(agent: Agent) -> None:
    session = Session(agent, episodes=1)
    for _ in range(3):
        session.act(np.zeros(4))
        session.observe(1.0, False, False)
    with pytest.raises(UserError, match="not finite"):
        session.act(np.full(4, np.nan))
    session.act(np.zeros(4))
    session.observe(1.0, True, False)
    assert session.returns == [1.0]


def test_what_cannot_be_learned_leaves_the_agent_as_it_was(agent: Agent) -> None:
    wild = dataclasses.replace(agent, rates=1e39)
    session = Session(wild, episodes=1)
    with pytest.raises(DivergenceError, match="no longer finite"):
        play(session, 1)
    assert session.agent is wild
    assert session.adapted is not None
    assert session.adapted.steps == 0


def test_calls_out_of_turn_and_bad_observations_are_refused(agent: Agent) -> None:
    session = Session(agent)
    with pytest.raises(UserError, match="call act first"):
        session.observe(1.0, False, False)
    for wrong, words in ((np.zeros((2, 4)), "one episode at a time"), (np.zeros(5), "sees")):
        with pytest.raises(UserError, match=words):
            session.act(wrong)
    with pytest.raises(UserError, match="not finite"):
        session.act(np.full(4, np.nan))
    session.act(np.zeros(4))
    with pytest.raises(UserError, match="act was called twice"):
        session.act(np.zeros(4))
    session.observe(1.0, False, False)
    session.act(np.zeros(4))


def test_what_an_agent_cannot_do_is_refused(agent: Agent) -> None:
    for wrong, words in (
        ({"mode": "standart"}, "did you mean 'standard'"),
        ({"mode": "in_context"}, "adapt with between them; train one whose .*: .* --mode rl2"),
        ({"mode": "standard", "deterministic": True}, "deterministic is not valid"),
        ({"episodes": 0}, "episodes is 0"),
        ({"seed": -1}, "seed is -1"),
    ):
        with pytest.raises(UserError, match=words):
            Session(agent, **wrong)


def test_hybrid_with_nothing_to_recall_is_standard_and_says_so_once(agent: Agent) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        hybrid = Session(agent, "hybrid", episodes=2, seed=4)
        play(hybrid, 4)
    assert len(said) == 1
    assert "as standard" in str(said[0].message)
    standard = Session(agent, "standard", episodes=2, seed=4)
    play(standard, 4)
    for name, value in standard.agent.params.items():
        assert torch.equal(value, hybrid.agent.params[name])
