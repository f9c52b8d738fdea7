"""Gymnasium environments that are not ours, from training to evaluation and video."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import ssm_metarl as sm
from ssm_metarl.cli import main
from ssm_metarl.errors import EnvironmentFailure

NUMBERS = itertools.count()
TINY: dict[str, Any] = {
    "num_epochs": 2,
    "tasks_per_epoch": 2,
    "episodes_per_task": 3,
    "support_steps": 12,
    "query_steps": 12,
    "validation_tasks": 1,
    "width": 8,
    "state_size": 4,
}


class Strict(gymnasium.Env):
    """Twelve steps; takes only what its action space holds, and counts how many of it there are."""

    observation_space = spaces.Box(-1, 1, (3,))
    action_space: gymnasium.Space = spaces.Discrete(3, start=-1)
    built = opened = most = 0
    reward: Any = 1.0

    def __init__(self, **_: object) -> None:
        kind = type(self)
        kind.built, kind.opened = kind.built + 1, kind.opened + 1
        kind.most = max(kind.most, kind.opened)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.age = 0
        return self._look(), {}

    def _look(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def step(self, action: Any) -> tuple:  # noqa: ANN401 (that is the question)
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.age += 1
        return self._look(), type(self).reward, False, self.age >= 12, {}

    def close(self) -> None:
        type(self).opened -= 1


@pytest.fixture
def register() -> Iterator[Callable[..., tuple[str, type[Strict]]]]:
    names: list[str] = []

    def new(**attributes: object) -> tuple[str, type[Strict]]:
        kind = type("Strict", (Strict,), {"built": 0, "opened": 0, "most": 0, **attributes})
        names.append(f"Strict{next(NUMBERS)}-v0")  # families are kept by their names
        gymnasium.register(names[-1], entry_point=kind)  # pyright: ignore[reportArgumentType]
        return names[-1], kind

    yield new
    for name in names:
        del gymnasium.registry[name]


def trained(name: str, run: Path, mode: str = "meta_rl", **settings: object) -> Path:
    config = sm.TrainConfig(mode=mode, env_name=name, **(TINY | settings))  # pyright: ignore
    list(sm.train(config, run))
    return run


@pytest.mark.filterwarnings("ignore:.*is a family of one task")
@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.Box(0, 10, (2,), np.int32),
        spaces.Box(0, np.inf, (2,)),
        spaces.Box(-0.4, 0.4, (2,), np.float64),  # pyright: ignore[reportArgumentType]
    ],
    ids=str,
)
def test_every_action_is_in_the_space(
    space: gymnasium.Space, register: Callable, tmp_path: Path
) -> None:
    name, _ = register(action_space=space)
    agent = sm.load(trained(name, tmp_path / "run"))
    assert len(list(sm.adapt(agent, gymnasium.make(name), episodes=2))) > 0
    session = sm.Session(agent, mode="zero_shot")
    env = gymnasium.make(name)
    observation, _ = env.reset(seed=0)
    for _ in range(11):
        observation, reward, *_ = env.step(session.act(observation))
        session.observe(float(reward), False, False, observation)


@pytest.mark.filterwarnings("ignore:.*is a family of one task")
@pytest.mark.parametrize("mode", ["meta_rl", "rl2"])
def test_no_more_is_built_than_is_played_at_once(
    mode: str, register: Callable, tmp_path: Path
) -> None:
    name, kind = register()
    trained(name, tmp_path / "run", mode, num_epochs=3)
    assert kind.opened == 0
    assert kind.most <= 10  # of the measurement of units; 2 tasks x 3 lanes, and validation
    assert kind.built <= kind.most + 1  # and one to look at the spaces


@pytest.mark.filterwarnings("ignore:.*is a family of one task")
def test_a_family_of_one_task_is_evaluated_as_one(
    register: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, kind = register()
    run = trained(name, tmp_path / "run")
    kind.built = kind.most = 0
    flags = ["--episodes=2", "--steps=1", "--no-video", "--modes=zero_shot,standard"]
    assert main(["evaluate", str(run), *flags]) == 0
    assert "has 1 task in" in capsys.readouterr().out
    found = json.loads((run / "evaluation.json").read_text())
    assert [len(row["per_task"]) for row in found["results"]] == [1, 1]
    assert kind.opened == 0
    assert kind.built <= 101


@pytest.mark.filterwarnings("ignore:.*is a family of one task", "ignore:.*reward")
@pytest.mark.parametrize("reward", [None, np.ones(1), np.nan], ids=repr)
def test_a_wrong_reward_is_named_before_a_folder_is_made(
    reward: object, register: Callable, tmp_path: Path
) -> None:
    name, _ = register(reward=reward)
    with pytest.raises(EnvironmentFailure, match="reward") as raised:
        trained(name, tmp_path / "run")
    assert "may help" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:.*is a family of one task")
@pytest.mark.parametrize("name", ["FrozenLake-v1", "Taxi-v4"])
def test_toy_text(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    agent = sm.load(trained(name, tmp_path / "run"))
    env = gymnasium.make(name)
    env.reset(seed=0)
    seen = np.zeros(agent.seen(np.eye(int(env.observation_space.n))[0]).shape[-1])  # pyright: ignore
    action, _ = agent.predict(seen)
    env.step(action)  # pyright: ignore[reportArgumentType]
    assert list(sm.adapt(agent, env, "zero_shot", episodes=1))
