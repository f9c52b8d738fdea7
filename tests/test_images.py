"""Agents that see images, from training to sessions."""

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import ssm_metarl as sm
from ssm_metarl.env_runner import registry
from ssm_metarl.errors import UserError
from ssm_metarl.training.loop import resume

IMAGE = (7, 7, 3)
TINY = sm.TrainConfig(
    env_name="Bright",
    num_epochs=2,
    tasks_per_epoch=2,
    episodes_per_task=2,
    validate_every=1,
    validation_tasks=2,
    width=8,
    state_size=4,
)


class Bright(gymnasium.Env):
    """Pays for telling whether the image is bright; its brightness is the task's."""

    observation_space = spaces.Box(0, 255, IMAGE, np.uint8)
    action_space = spaces.Discrete(2)

    def __init__(self, step: float = 10.0) -> None:
        self.size = step

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        return self._look(), {}

    def _look(self) -> np.ndarray:
        self.bright = int(self.np_random.integers(2))
        noise = self.np_random.integers(0, 5, IMAGE)
        return (noise + self.bright * self.size).astype(np.uint8)

    def step(self, action: int) -> tuple:
        reward = float(action == self.bright)
        return self._look(), reward, False, False, {}


@pytest.fixture(autouse=True)
def family() -> Iterator[sm.TaskFamily]:
    yield sm.register(
        sm.TaskFamily(
            "Bright",
            make=lambda task: Bright(task["step"]),
            parameters=[sm.Parameter("step", 10.0, low=5.0, high=20.0)],
            max_episode_steps=5,
        )
    )
    registry._REGISTERED.clear()


@pytest.mark.parametrize("mode", ["meta_rl", "rl2", "policy_gradient"])
def test_they_are_trained_through_convolutions(
    mode: str, family: sm.TaskFamily, tmp_path: Path
) -> None:
    settings = {**vars(TINY), "mode": mode, "num_episodes": 20}
    stream = sm.train(sm.TrainConfig(**settings), tmp_path / "run")
    next(stream)
    stream.close()
    assert [progress.iteration for progress in resume(tmp_path / "run")] == [2]
    agent = sm.load(tmp_path / "run")
    assert (agent.policy.spaces.image, agent.policy.config.encoder) == (IMAGE, "cnn")
    scale = np.reshape(agent.policy.spaces.observation_scale, IMAGE)
    assert (scale == scale[0, 0]).all()
    env = sm.make(family, family.nominal())
    session = sm.Session(agent, "in_context" if mode == "rl2" else "standard", episodes=2)
    for _ in range(3):
        observation, _ = env.reset()
        ended = False
        while not ended:
            observation, reward, terminated, ended, _ = env.step(session.act(observation))
            session.observe(float(reward), terminated, ended, observation)
    assert len(session.returns) == 3


def test_other_encoders_can_be_asked_for(tmp_path: Path) -> None:
    settings = {**vars(TINY), "encoder": "linear", "num_epochs": 1}
    list(sm.train(sm.TrainConfig(**settings), tmp_path / "run"))
    assert sm.load(tmp_path / "run").policy.config.encoder == "linear"


def test_what_is_no_image_has_no_convolutions(tmp_path: Path) -> None:
    config = sm.TrainConfig(env_name="CartPole-v1", encoder="cnn")
    with pytest.raises(UserError, match="valid: --encoder linear"):
        sm.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_text_is_refused_by_its_key() -> None:
    class Told(Bright):
        observation_space = spaces.Dict(
            image=spaces.Box(0, 255, IMAGE, np.uint8), mission=spaces.Text(9)
        )

    with pytest.raises(UserError, match=r"\['mission'\] Text.* is not supported"):
        sm.register(sm.TaskFamily("Told", make=lambda task: Told(), max_episode_steps=5))
