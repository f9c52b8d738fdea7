"""Adapting in somebody's own environment: what is played, what it costs, what may go wrong."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import gymnasium
import jaxtyping
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.random import SeedSequence

from ssm_metarl.adaptation import source
from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.online import AdaptProgress, adapt
from ssm_metarl.adaptation.session import Session
from ssm_metarl.adaptation.source import EnvironmentSource
from ssm_metarl.adaptation.standard import Adaptation
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import EnvironmentFailure, UserError
from ssm_metarl.training.loading import save

MakeAgent = Callable[..., Agent]
HORIZON = 20


class Scripted(gymnasium.Env):
    """Episodes of given lengths in turn, 0 for ever; a reward of 1 per step; counts its calls."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, *lengths: int, **broken: float) -> None:
        self.lengths, self.broken = lengths, broken
        self.resets = self.steps = self.time = 0
        self.seeds: list[int | None] = []
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.seeds.append(seed)
        if "reset" in self.broken and self.resets:
            raise RuntimeError("the motor\nis stuck")
        self.length = self.lengths[self.resets % len(self.lengths)]
        self.resets, self.time = self.resets + 1, 0
        return self._seen(), {}

    def step(self, action: int) -> tuple:
        assert self.action_space.contains(action)
        self.steps, self.time = self.steps + 1, self.time + 1
        if "step" in self.broken and self.resets > 1:
            raise OSError("no signal")
        reward = self.broken.get("reward", 1.0) if self.resets > 1 else 1.0
        return self._seen(), reward, self.time == self.length, False, {}

    def close(self) -> None:
        self.closed = True

    def _seen(self) -> np.ndarray:
        bad = self.resets > 1 and self.time == 2
        return np.full(4, self.broken.get("observation", 0.1) if bad else 0.1, np.float32)


def lanes(*envs: gymnasium.Env, mode: AutoresetMode = AutoresetMode.NEXT_STEP) -> SyncVectorEnv:
    return SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=mode)


def copies(agent: Agent) -> Params:
    return {name: value.clone() for name, value in agent.params.items()}


def assert_same(params: Params, other: Params) -> None:
    assert all(torch.equal(value, other[name]) for name, value in params.items())


def test_one_lane_is_played_not_a_step_more_than_is_learned_from(agent: Agent) -> None:
    before, env = copies(agent), Scripted(3, 9, 0, 5)
    records = list(adapt(agent, env, episodes=4, steps=2))
    assert [record.returns.tolist() for record in records] == [
        *([3.0], [9.0], [HORIZON], [5.0]),
        *([3.0], [9.0], [HORIZON], [5.0]),
    ]
    assert [record.episodes for record in records] == list(range(1, 9))
    assert [record.steps for record in records] == [0, 0, 0, 1, 1, 1, 1, 2]
    assert [record.total for record in records] == [8] * 8
    assert records[-1].environment_steps == env.steps == 2 * (3 + 9 + HORIZON + 5)
    assert env.resets == 8
    assert records[2].agent is agent
    changed = records[3].agent.params["action.bias"]
    assert not torch.equal(changed, agent.params["action.bias"])
    assert changed.shape == agent.params["action.bias"].shape
    assert_same(before, agent.params)


def test_it_learns_what_the_episodes_played_teach(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[Trajectory] = []
    play = EnvironmentSource.play_round

    def kept(self: EnvironmentSource, bound: BoundPolicy, seed: SeedSequence) -> Trajectory:
        played.append(play(self, bound, seed))
        return played[-1]

    monkeypatch.setattr(EnvironmentSource, "play_round", kept)
    envs = lanes(*(gymnasium.make("CartPole-v1") for _ in range(3)))
    *_, last = adapt(agent, envs, episodes=3)
    envs.close()
    (trajectory,) = played
    expected = Adaptation(agent, 1, seed=SeedSequence(0))
    expected.add(trajectory)
    assert_same(agent.with_params(expected.now.params).params, last.agent.params)
    # Lanes are different episodes, and what was sampled differs too.
    assert len(set(trajectory.observation[0, 0, :, 0].tolist())) == 3


def test_lanes_end_at_different_times_and_are_cut_at_the_horizon(agent: Agent) -> None:
    envs = Scripted(3), Scripted(8), Scripted(0)
    records = list(adapt(agent, lanes(*envs), episodes=4))
    assert [record.returns.tolist() for record in records] == [[3, 8, HORIZON], [3]]
    assert [record.episodes for record in records] == [3, 4]
    assert [record.steps for record in records] == [0, 1]
    assert records[-1].environment_steps == 3 + 8 + HORIZON + 3
    source = EnvironmentSource(agent, lanes(*envs))
    played = source.play_round(agent.policy.bind(agent.params), SeedSequence(0))
    assert played.terminated.sum(0).tolist() == [[1, 1, 0]]
    assert played.truncated.sum(0).tolist() == [[0, 0, 1]]


def test_no_two_episodes_start_from_one_seed(agent: Agent) -> None:
    envs = Scripted(3), Scripted(3)
    list(adapt(agent, lanes(*envs), episodes=4, steps=2))
    seeds = [seed for env in envs for seed in env.seeds if seed is not None]
    assert len(set(seeds)) == len(seeds) == 8
    list(adapt(agent, lanes(*envs), episodes=2, seed=1))
    assert envs[0].seeds[-1] not in seeds


def test_modes_without_steps_leave_the_agent_alone(make_agent: MakeAgent) -> None:
    agent = make_agent(memory="trial", trial_inputs=True)
    for mode in ("zero_shot", "in_context"):
        records = list(adapt(agent, Scripted(3, 7), mode, episodes=2, steps=5))
        assert [record.returns.tolist() for record in records] == [[3.0], [7.0]]
        assert [record.environment_steps for record in records] == [3, 10]
        assert [(record.episodes, record.total) for record in records] == [(1, 2), (2, 2)]
        assert all(record.agent is agent and record.steps == 0 for record in records)
    records = list(adapt(agent, lanes(Scripted(3), Scripted(5)), "in_context", episodes=2))
    assert [record.returns.tolist() for record in records] == [[3, 5], [3, 5]]
    assert [(record.episodes, record.environment_steps) for record in records] == [(2, 8), (4, 16)]


def test_in_context_tells_of_an_episode_as_soon_as_it_has_ended(make_agent: MakeAgent) -> None:
    agent, env = make_agent(memory="trial"), Scripted(3, 7, 4)
    steps = [(record.episodes, env.steps) for record in adapt(agent, env, "in_context", episodes=3)]
    assert steps == [(1, 3), (2, 10), (3, 14)]
    one, other = Scripted(3, 9), Scripted(5, 2)
    stream = adapt(agent, lanes(one, other), "in_context", episodes=2)
    first = next(stream)
    assert (first.returns.tolist(), first.environment_steps, other.steps) == ([3, 5], 8, 5)
    assert (one.resets, one.steps) == (2, 4)  # the lane that was through first has gone on
    last = next(stream)
    assert (last.returns.tolist(), last.environment_steps) == ([9, 2], 19)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"reward": np.nan}, "gave a reward that is not finite"),
        ({"observation": np.inf}, "gave an observation that is not finite"),
    ],
)
def test_in_context_what_is_not_finite_stops_at_once(
    make_agent: MakeAgent, broken: dict[str, float], words: str
) -> None:
    env = Scripted(4, **broken)
    stream = adapt(make_agent(memory="trial"), env, "in_context", episodes=50)
    assert next(stream).returns.tolist() == [4.0]
    with pytest.raises(EnvironmentFailure, match=words):
        next(stream)
    assert env.resets == 2


def test_hybrid_with_nothing_to_recall_is_standard_and_says_so_once(agent: Agent) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        *_, hybrid = adapt(agent, Scripted(3, 9, 6), "hybrid", episodes=3, steps=2)
    assert ["as standard" in str(warning.message) for warning in said] == [True]
    *_, standard = adapt(agent, Scripted(3, 9, 6), "standard", episodes=3, steps=2)
    assert_same(standard.agent.params, hybrid.agent.params)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"reward": np.nan}, "gave a reward that is not finite"),
        ({"observation": np.inf}, "gave an observation that is not finite"),
        ({"step": True}, "failed in step: OSError: no signal"),
        ({"reset": True}, "in reset: RuntimeError: the motor is stuck"),
    ],
)
def test_what_goes_wrong_in_the_second_episode_leaves_the_first(
    agent: Agent, broken: dict, words: str
) -> None:
    env = Scripted(4, **broken)
    before, stream = copies(agent), adapt(agent, env, episodes=1, steps=3)
    first = next(stream)
    adapted = copies(first.agent)
    with pytest.raises(EnvironmentFailure, match=words):
        next(stream)
    assert first.steps == 1
    assert_same(before, agent.params)
    assert_same(adapted, first.agent.params)
    first.agent.predict(np.zeros(4))
    *_, again = adapt(first.agent, Scripted(4), episodes=1)
    assert again.steps == 1


def test_a_trial_of_episodes_that_do_not_end_is_given_up(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LONGEST_EPISODE", 30)
    agent = make_agent(memory="trial")
    with pytest.raises(UserError, match="did not end within 30 steps"):
        list(adapt(agent, lanes(Scripted(0), Scripted(4)), "in_context", episodes=2))
    one = list(adapt(agent, Scripted(0), "in_context", episodes=2))  # one lane has a time limit
    assert [record.returns.tolist() for record in one] == [[30.0], [30.0]]


class Other(Scripted):
    """An environment whose spaces can be chosen."""

    def __init__(self, seen: gymnasium.Space, acts: gymnasium.Space) -> None:
        super().__init__(3)
        self.observation_space, self.action_space = seen, acts


BOX4, TWO = Scripted.observation_space, Scripted.action_space
MINE = "the agent sees 4 numbers and takes 2 discrete actions"


@pytest.mark.parametrize(
    ("seen", "acts", "theirs"),
    [
        (BOX4, gymnasium.spaces.Discrete(3), r"Discrete\(3\)"),
        (BOX4, gymnasium.spaces.Box(-1.0, 1.0, (2,)), r"takes Box\(-1.0, 1.0, \(2,\)"),
        (gymnasium.spaces.Box(-1.0, 1.0, (5,)), TWO, r"shows Box\(-1.0, 1.0, \(5,\)"),
        (BOX4, gymnasium.spaces.MultiDiscrete([2, 2]), r"MultiDiscrete\(\[2 2\]\)"),
    ],
)
def test_spaces_that_do_not_match_are_shown_both(
    agent: Agent, seen: gymnasium.Space, acts: gymnasium.Space, theirs: str
) -> None:
    env = Other(seen, acts)
    with pytest.raises(UserError, match=f"{theirs}.*{MINE}"):
        adapt(agent, env)
    assert env.resets == 0


def test_observations_that_can_be_flattened_are(agent: Agent) -> None:
    class Named(gymnasium.ObservationWrapper):
        observation_space = gymnasium.spaces.Dict(
            {"x": gymnasium.spaces.Box(-1.0, 1.0, (3,)), "y": gymnasium.spaces.Box(-1.0, 1.0, (1,))}
        )

        def observation(self, observation: np.ndarray) -> dict:
            return {"x": observation[:3], "y": observation[3:]}

    *_, named = adapt(agent, Named(Scripted(3, 9)), episodes=2)
    *_, flat = adapt(agent, Scripted(3, 9), episodes=2)
    assert_same(flat.agent.params, named.agent.params)


def test_wrong_arguments_are_refused_before_anything_is_played(agent: Agent) -> None:
    env = Scripted(3)
    envs = lanes(Scripted(3), mode=AutoresetMode.SAME_STEP)
    apart = AsyncVectorEnv([lambda: Scripted(3)], shared_memory=False)
    for make, words in (
        (lambda: adapt(agent, env, "standart"), "did you mean 'standard'"),
        (lambda: adapt(agent, env, "in_context"), "--mode rl2"),
        (lambda: adapt(agent, env, episodes=0), "episodes is 0"),
        (lambda: adapt(agent, env, steps=0), "steps is 0"),
        (lambda: adapt(agent, env, seed=-1), "seed is -1; it must be at least 0"),
        (lambda: adapt(agent, envs), "SAME_STEP.* valid: NEXT_STEP$"),
        (lambda: adapt(agent, apart), "valid: shared_memory=True$"),
        (lambda: adapt(agent, Other(gymnasium.spaces.Sequence(BOX4), TWO)), "Sequence.*valid: Box"),
    ):
        with pytest.raises(UserError, match=words):
            make()
    apart.close()
    assert env.resets == 0


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda _: adapt("CartPole-v1", None), "'CartPole-v1' is not an agent; valid: what ssm_me"),
        (lambda _: source._lanes_of("CartPole-v1"), "'CartPole-v1' is not an environment; pass"),
        (lambda _: save(Path("progress"), "new"), "PosixPath is not an agent; pass one, such as"),
        (lambda agent: agent.predict([0.0] * 4, 5), "the state is not one that predict returned"),
        (lambda agent: Session(agent, "hybrid", memory="x"), "'x' is not a memory; valid: Memory"),
    ],
)
def test_a_slip_is_one_line(
    slip: Callable[[Agent], object], words: str, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside the tests
    with pytest.raises(UserError) as caught:
        slip(agent)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_the_environment_stays_open_and_closing_the_stream_stops(agent: Agent) -> None:
    env = Scripted(3)
    stream = adapt(agent, env, episodes=2, steps=2)
    next(stream)
    record = next(stream)
    stream.close()
    assert (record.steps, env.resets) == (1, 2)
    EnvironmentSource(agent, env)._environment.close()
    assert not env.closed


@contextlib.contextmanager
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, double_by_default])
def test_what_is_set_for_torch_around_it_changes_nothing(
    agent: Agent, around: Callable[[], AbstractContextManager[None]]
) -> None:
    def last(env: gymnasium.Env) -> AdaptProgress:
        *_, record = adapt(agent, env, episodes=3, steps=2)
        return record

    env = gymnasium.make("CartPole-v1")
    expected = last(env)
    with around():
        found = last(env)
        session = Session(agent, episodes=2)
        for seed in range(4):
            seen, done = env.reset(seed=seed)[0], False
            while not done:
                seen, reward, terminated, truncated, _ = env.step(session.act(seen))
                session.observe(float(reward), terminated, truncated, seen)
                done = terminated or truncated
        assert session.adapted is not None
        assert session.adapted.steps == 2
    env.close()
    assert_same(found.agent.params, expected.agent.params)
    assert found.returns.tolist() == expected.returns.tolist()


@pytest.mark.parametrize("mode", ["zero_shot", "standard"])
def test_the_agent_that_comes_back_acts_in_the_environments_own_space(
    agent: Agent, mode: str
) -> None:
    class Strict(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (4,))
        action_space = gymnasium.spaces.Discrete(2, start=1, dtype=np.int32)

        def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
            return np.zeros(4, np.float32), {}

        def step(self, action: int) -> tuple:
            assert self.action_space.contains(action)
            return np.zeros(4, np.float32), 1.0, False, True, {}

    (*_, last) = adapt(agent, Strict(), mode, episodes=2)
    for _ in range(10):
        action, _ = last.agent.predict(np.random.default_rng(0).normal(size=4))
        assert Strict.action_space.contains(action)
    assert agent.policy.spaces.action_start == 0
