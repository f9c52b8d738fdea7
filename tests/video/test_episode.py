"""Foreign environments in a video: every fault is one line, and costs only the video."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
import pytest

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.cli import main
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import EnvironmentFailure, UserError
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import train
from ssm_metarl.training.recipes import adaptation_config, initial_params, make_policy
from ssm_metarl.video.episode import DEFAULT_FPS, RecordedEpisode, frames_per_second

# Gymnasium's own checker warns of some of these faults as well.
pytestmark = pytest.mark.filterwarnings("ignore:.*WARN")

GOOD = np.zeros((32, 48, 3), np.uint8)


class Drawn(gymnasium.Env):
    """Three steps; draws whatever it is told to."""

    metadata: ClassVar[dict[str, object]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    picture: Callable[[int], object] = staticmethod(lambda t: GOOD)
    reward: object = 1.0

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.t = render_mode, 0

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: object) -> tuple[np.ndarray, object, bool, bool, dict]:
        self.t += 1
        return np.zeros(2, np.float32), self.reward, self.t == 3, False, {}

    def render(self) -> object:
        return self.picture(self.t)


def family_of(monkeypatch: pytest.MonkeyPatch, **attributes: object) -> TaskFamily:
    """Register an environment with these attributes for the length of a test."""
    kind = type("Kind", (Drawn,), attributes)
    spec = gymnasium.envs.registration.EnvSpec("Kind-v0", entry_point=kind, max_episode_steps=5)
    monkeypatch.setitem(gymnasium.registry, "Kind-v0", spec)
    return TaskFamily("Kind-v0", "an environment of a test", "Kind-v0", 5)


def agent_of(family: TaskFamily) -> Agent:
    config = TrainConfig(width=8, state_size=4, env_name=family.name).resolve(family)
    policy, settings = make_policy(config, policy_spaces(family)), adaptation_config(config)
    return Agent(policy, initial_params(policy, 0), settings.inner_lr, settings, family.name)


def recorded(family: TaskFamily) -> list[np.ndarray]:
    return list(RecordedEpisode(agent_of(family), family, family.task(), 0, 0).frames())


def test_a_picture_per_step_and_one_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = recorded(family_of(monkeypatch, picture=staticmethod(lambda t: np.full_like(GOOD, t))))
    assert [int(picture.max()) for picture in drawn] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (lambda t: np.full((32, 32, 3), 0.5), r"draws float64 pictures of shape \[32, 32, 3\]"),
        (lambda t: np.zeros((32, 32), np.uint8), r"shape \[32, 32\]; a video needs uint8 RGB"),
        (lambda t: np.zeros((32, 32, 1), np.uint8), r"shape \[32, 32, 1\]"),
        (lambda t: [GOOD], r"shape \[1, 32, 48, 3\]"),
        (lambda t: None, "draws object pictures"),
        (lambda t: np.zeros((32 + t, 32, 3), np.uint8), r"different sizes, \[32, 32, 3\] and"),
    ],
)
def test_pictures_that_no_video_can_show_are_named(
    picture: Callable[[int], object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=says):
        recorded(family_of(monkeypatch, picture=staticmethod(picture)))


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"render": lambda self: 1 / 0}, "failed in render: ZeroDivisionError: division by zero"),
        (
            {"step": lambda self, action: 1 / 0},
            "failed in step: ZeroDivisionError: division by zero",
        ),
        (
            {"reset": lambda self, *, seed=None, options=None: 1 / 0},
            "failed in reset: ZeroDivisionError: division by zero",
        ),
        ({"reward": None}, "failed in step"),
    ],
)
def test_errors_of_the_environment_are_one_line(
    attributes: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EnvironmentFailure, match=says):
        recorded(family_of(monkeypatch, **attributes))


@pytest.mark.parametrize("fps", [None, "fast", 0, float("nan")])
def test_a_rate_that_is_no_number_is_the_default(
    fps: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = family_of(monkeypatch, metadata={"render_modes": ["rgb_array"], "render_fps": fps})
    assert frames_per_second(family, family.task()) == DEFAULT_FPS


@pytest.mark.parametrize("modes", [[], ["human"]])
def test_an_environment_that_cannot_draw_is_named(
    modes: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = family_of(monkeypatch, metadata={"render_modes": modes})
    with pytest.raises(UserError, match="Kind-v0 cannot draw itself"):
        frames_per_second(family, family.task())


@pytest.mark.filterwarnings("ignore:.*declares no parameters that vary")
def test_a_video_that_fails_costs_only_the_video(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family_of(monkeypatch, render=lambda self: 1 / 0)
    config = TrainConfig(mode="policy_gradient", env_name="Kind-v0", num_episodes=10, width=8)
    list(train(config, tmp_path / "run"))
    argv = ["adapt", str(tmp_path / "run"), "--mode=zero_shot", "--episodes=1"]
    assert main([*argv, f"--out={tmp_path / 'out'}"]) == 0
    assert (
        "skipped: the environment failed in render: ZeroDivisionError: division by zero"
        in capsys.readouterr().out
    )


def boom(*_: object, **options: object) -> None:
    raise ZeroDivisionError("division\nby zero")


def test_failing_to_close_hides_nothing_and_failing_to_be_made_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = family_of(monkeypatch)
    agent = agent_of(family)
    monkeypatch.setattr(Drawn, "close", boom)
    episode = RecordedEpisode(agent, family, family.nominal(), 0, 0)
    assert len(list(episode.frames())) == 4
    monkeypatch.undo()
    monkeypatch.setattr(TaskFamily, "gymnasium", boom)
    with pytest.raises(
        EnvironmentFailure, match=r"failed in being built: ZeroDivisionError: division by zero$"
    ):
        RecordedEpisode(agent, family, family.nominal(), 0, 0)
    with pytest.raises(
        EnvironmentFailure, match=r"failed in being built: ZeroDivisionError: division by zero$"
    ):
        frames_per_second(family, family.nominal())
