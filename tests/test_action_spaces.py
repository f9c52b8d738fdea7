"""Every kind of action goes all the way: rollouts, training, predict, sessions, stores, Minari."""

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner.rollout import collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.experience.minari import export_minari, import_minari
from ssm_metarl.meta_rl.registry import LEARNERS

KINDS = {
    "Discrete": spaces.Discrete(3, start=-1),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3], start=[4, 0]),
    "MultiDiscrete of two axes": spaces.MultiDiscrete(np.array([[2, 3], [1, 2]])),
    "MultiBinary": spaces.MultiBinary(3),
    "Box of two axes": spaces.Box(-2.0, 3.0, (2, 2)),
    "Box without bounds": spaces.Box(-np.inf, np.inf, (2,)),
    "Box without axes": spaces.Box(np.float64(0), np.float64(np.inf), (), np.float64),
}


class Wants(gymnasium.Env):
    """Pays for the closeness of the action's sum to a target, which is the task."""

    observation_space = spaces.Box(-1, 1, (2,))

    def __init__(self, kind: str, target: float) -> None:
        self.action_space, self.target = KINDS[kind], target

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        return self._look(), {}

    def _look(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def step(self, action: object) -> tuple:
        assert self.action_space.contains(np.asarray(action)), action
        return self._look(), -abs(float(np.sum(np.asarray(action))) - self.target), False, False, {}


@pytest.fixture(params=KINDS)
def family(request: pytest.FixtureRequest) -> Iterator[sm.TaskFamily]:
    yield sm.register(
        sm.TaskFamily(
            "Wants",
            make=lambda task: Wants(request.param, task["target"]),
            parameters=[sm.Parameter("target", 1.0, low=0.0, high=2.0)],
            max_episode_steps=5,
        )
    )
    registry._REGISTERED.clear()


@pytest.mark.parametrize("mode", LEARNERS)
def test_it_is_trained_saved_loaded_and_used(
    mode: str, family: sm.TaskFamily, tmp_path: Path
) -> None:
    config = sm.TrainConfig(
        mode=mode,
        env_name="Wants",
        num_epochs=2,
        num_episodes=20,
        tasks_per_epoch=2,
        episodes_per_task=2,
        validate_every=1,
        validation_tasks=2,
        width=8,
        state_size=4,
    )
    assert len(list(sm.train(config, tmp_path / "run"))) == 2
    agent = sm.load(tmp_path / "run")
    assert agent.policy.spaces.action_space.shape == family.action_space.shape
    env = family.gymnasium(family.nominal())
    observation, _ = env.reset(seed=0)
    state = None
    for _ in range(3):
        action, state = agent.predict(observation, state)
        assert env.action_space.contains(action)
    several, _ = agent.predict(np.stack([observation] * 4))
    assert several.shape == (4, *(family.action_space.shape or ()))
    session = sm.Session(agent, "in_context" if mode == "rl2" else "standard", episodes=2)
    for _ in range(4):
        observation, _ = env.reset()
        ended = False
        while not ended:
            observation, reward, terminated, ended, _ = env.step(session.act(observation))
            session.observe(reward, terminated, ended, observation)
    assert len(session.returns) == 4


def test_what_is_stored_comes_back(family: sm.TaskFamily, tmp_path: Path) -> None:
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    tasks = family.sample(2, SeedSequence(0))
    environment = family.make_vec(tasks, 3, autoreset=False)
    played = collect_episodes(policy.bind(params), environment, SeedSequence(1))
    again = played.features(policy.bind(params))[:-1]
    log_prob = policy.bind(params).distribution(again).log_prob(played.action)
    torch.testing.assert_close(played.log_prob, log_prob)
    with sm.ExperienceStore.create(tmp_path / "store", family) as store:
        store.add(played, tasks)
        read = store.trajectory(store.tasks()[1].id)
        for name, value in played.tasks(torch.tensor([1])).tensors().items():
            assert torch.equal(getattr(read, name), value), name
        assert_minari_keeps(store, family, tmp_path)
    with sm.ExperienceStore.open(tmp_path / "store", family) as store:
        assert store.identity.layout.choices == policy.spaces.choices


def assert_minari_keeps(store: sm.ExperienceStore, family: sm.TaskFamily, path: Path) -> None:
    pytest.importorskip("h5py", reason="Minari needs Python 3.11")
    pytest.importorskip("minari")
    export_minari(store, "test/actions-v0", family)
    with sm.ExperienceStore.create(path / "other", family) as other:
        import_minari(other, "test/actions-v0", family)
        for one, two in zip(store.tasks(), other.tasks(), strict=True):
            first, second = store.trajectory(one.id), other.trajectory(two.id)
            assert torch.equal(first.action, second.action)


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
