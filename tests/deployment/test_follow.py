"""Exported files act as `predict` does, over a thousand steps with episodes that end in between."""

import dataclasses
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from following import (
    BOX,
    DISCRETE,
    IN_TRIAL,
    VARIANTS,
    agent_of,
    c_runner,
    follow,
    make_agent,
    onnx_runner,
    program_runner,
)

import ssm_metarl as sm
from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.policy import CONTEXT
from ssm_metarl.deployment.c_code import CELLS as CELLS_IN_C

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_for_a_thousand_steps(cell: str, exported: Callable[[str, str], Path]) -> None:
    agent, runners = agent_of(cell), [program_runner(exported(cell, ".pt2"))]
    if find_spec("onnxruntime"):
        runners.append(onnx_runner(exported(cell, ".onnx")))
    if shutil.which("cc"):
        runners.append(c_runner(exported(cell, ".c"), agent))
    follow(agent, *runners)


@needs_compiler
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_kind_of_memory_and_action(cell: str, variant: str, tmp_path: Path) -> None:
    space, network = VARIANTS[variant]
    agent = make_agent(space, cell=cell, **network)
    follow(agent, c_runner(sm.export(agent, tmp_path / "policy.c"), agent), steps=100)


def test_there_is_c_code_for_every_cell() -> None:
    assert CELLS_IN_C.keys() == CELLS.keys()


@needs_compiler
def test_a_context_is_part_of_what_acts(tmp_path: Path) -> None:
    agent = make_agent(DISCRETE, context_size=2)
    params = {**agent.params, CONTEXT: torch.tensor([0.7, -1.5])}
    adapted = dataclasses.replace(agent, params=params)
    program = program_runner(sm.export(adapted, tmp_path / "policy.pt2"))
    follow(adapted, program, c_runner(sm.export(adapted, tmp_path / "policy.c"), adapted), steps=60)


@pytest.mark.parametrize("space", [DISCRETE, BOX])
@needs_compiler
def test_sampled_actions_are_those_of_predict(space: gymnasium.Space, tmp_path: Path) -> None:
    agent = make_agent(space, **IN_TRIAL)
    act = c_runner(sm.export(agent, tmp_path / "policy.c", sample=True), agent)
    rng, noise = np.random.default_rng(0), torch.Generator().manual_seed(5)
    state, carried = None, np.zeros((1, 10 + agent.policy.spaces.actions), np.float32)
    differ = 0
    for step in range(50):
        inputs = {
            "observation": rng.normal(size=(1, 3)).astype(np.float32),
            "reward": np.ones(1, np.float32),
            "episode_start": np.array([step == 0]),
        }
        given = inputs["observation"], state, inputs["episode_start"]
        likely = agent.predict(*given, reward=1.0)[0]
        expected, state = agent.predict(*given, deterministic=False, reward=1.0, seed=5)
        drawn = agent._noise(1, noise)[0].numpy()
        found, carried = act({**inputs, "state": carried, "noise": drawn})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        differ += int((likely != expected).any())
    assert differ > 2


def test_images_and_noise(tmp_path: Path) -> None:
    agent = make_agent(DISCRETE, cell="mlp", encoder="cnn", image=(6, 5, 3))
    act = program_runner(sm.export(agent, tmp_path / "policy.pt2", sample=True))
    noise = np.zeros((3, 4), np.float32)
    follow(agent, lambda inputs: act({**inputs, "noise": noise}), steps=20)
    noise[:, 2] = 1e6  # of the third choice
    seen, none = np.ones((3, 93), np.float32), np.zeros(3, np.float32)
    inputs = {"observation": seen, "reward": none, "episode_start": none > 0.0}
    drawn, _ = act({**inputs, "state": np.zeros((3, 0), np.float32), "noise": noise})
    assert drawn.tolist() == [5, 5, 5]


@needs_compiler
def test_a_shipped_agent_earns_the_same(tmp_path: Path) -> None:
    agent = sm.load(Path(sm.__file__).parent / "pretrained" / "cartpole-in-context")
    act = c_runner(sm.export(agent, tmp_path / "policy.c"), agent)
    returns = {"predict": 0.0, "exported": 0.0}
    for name in returns:
        with sm.make("CartPole-v1", {"gravity": 12.0, "swap": 1}) as env:
            seen, state, reward = env.reset(seed=0)[0], None, 0.0
            carried, ended = np.zeros((1, 130), np.float32), False
            start = True
            while not ended:
                if name == "predict":
                    action, state = agent.predict(seen, state, np.array([start]), reward=reward)
                else:
                    batch = {"observation": seen[None], "reward": np.array([reward])}
                    batch |= {"episode_start": np.array([start]), "state": carried}
                    (action,), carried = act(batch)
                seen, reward, terminated, truncated, _ = env.step(action)
                returns[name] += float(reward)
                start, ended = False, terminated or truncated
    assert returns["exported"] == returns["predict"] == 500.0
