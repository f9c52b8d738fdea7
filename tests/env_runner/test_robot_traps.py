"""What Gymnasium's robots do that one would not guess, and what a family makes of it."""

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.env_runner.family_file import parse_family
from ssm_metarl.env_runner.probe import probe

pytest.importorskip("mujoco")
pytest.importorskip("imageio")

RANGE = "default = 0.0\nlow = -0.1\nhigh = 0.1\n"
DELAY = '[[wrappers]]\nname = "ActionDelay"\nsteps = 0\n'  # does nothing, but not in lanes


def goal_of(env_id: str, place: str, before: str = "") -> sm.TaskFamily:
    """Return a family whose parameter is a part of the goal's place."""
    head = f'name = "Goal"\nenv_id = "{env_id}"\n{before}'
    return parse_family(f"{head}[parameters.goal]\n{place}\n{RANGE}", "my.toml")


def goal_at(env: gymnasium.Env, body: str) -> np.ndarray:
    own: Any = env.unwrapped
    return own.data.xpos[own.model.body(body).id]


def pushed(task: dict[str, float]) -> gymnasium.Env:
    env: Any = gymnasium.make("Reacher-v5")
    env.reset(seed=0)
    env.unwrapped.data.qpos[-2] = task["goal"]
    return env


@pytest.mark.parametrize(("env_id", "body"), [("Reacher-v5", "target"), ("Pusher-v5", "goal")])
def test_a_goal_is_the_place_of_its_body(env_id: str, body: str) -> None:
    """The last two of qpos are relative to it, and are drawn by every reset."""
    probe(family := goal_of(env_id, f'model = "body_pos[{body}].0"'))
    left, right = (sm.make(family, {"goal": value}) for value in (-0.1, 0.1))
    for seed in (None, 3):
        for env in (left, right):
            env.reset(seed=5 if seed is None else seed)
        distance = goal_at(right, body) - goal_at(left, body)
        np.testing.assert_allclose(distance, [0.2, 0.0, 0.0], atol=1e-12)

    ordinary = goal_of(env_id, f'model = "body_pos[{body}].0"', DELAY)
    assert ordinary.world is None
    mine, theirs = (
        one.make_vec(one.held_out(2), 2, autoreset=True, horizon=4, dtype=torch.float64)
        for one in (family, ordinary)
    )
    assert torch.equal(mine.reset(SeedSequence(1)), theirs.reset(SeedSequence(1)))
    still = torch.zeros(2, 2, *(mine.action_space.shape or ()))
    for _ in range(6):
        one, other = mine.step(still), theirs.step(still)
        assert torch.equal(one.observation, other.observation)
        assert torch.equal(one.reward, other.reward)


def test_a_goal_that_reset_draws_is_seen_to_change_nothing() -> None:
    parameter = sm.Parameter("goal", 0.0, low=-0.1, high=0.1)
    with pytest.warns(UserWarning, match="goal: .* seems to change nothing"):
        probe(sm.TaskFamily("Pushed", make=pushed, parameters=[parameter]))
    with pytest.warns(UserWarning, match="goal: .* seems to change nothing"):
        probe(goal_of("Reacher-v5", 'attribute = "init_qpos.2"'))
    with pytest.raises(sm.UserError, match=r"'data\.qpos\.2' is the simulation's state.*body_pos"):
        probe(goal_of("Reacher-v5", 'attribute = "data.qpos.2"'))


def test_a_copy_begins_anew_with_the_physics_of_its_task() -> None:
    """Gymnasium's own has lost them, while its TimeLimit goes on counting."""
    plain: Any = gymnasium.make("Hopper-v5")
    plain.reset(seed=0)
    plain.unwrapped.model.body_mass[1] = 9.0
    plain.step(plain.action_space.sample())
    twin: Any = copy.deepcopy(plain)
    assert twin.unwrapped.model.body_mass[1] != 9.0
    assert twin.get_wrapper_attr("_elapsed_steps") == 1

    for before in ("", DELAY):
        text = f'name = "H"\nenv_id = "Hopper-v5"\n{before}[parameters.mass]\n'
        text += 'model = "body_mass[torso]"\nscaled = true\nlow = 0.5\nhigh = 2.0\n'
        family = parse_family(text, "my.toml")
        env = sm.make(family, {"mass": 2.0})
        env.reset(seed=0)
        env.step(np.ones(3, np.float32))
        twin = copy.deepcopy(env)
        np.testing.assert_array_equal(twin.reset(seed=7)[0], env.reset(seed=7)[0])
        for _ in range(3):
            one, other = (each.step(np.ones(3, np.float32)) for each in (twin, env))
            np.testing.assert_array_equal(one[0], other[0])
            assert one[1] == other[1]


def test_actions_out_of_bounds_cost_what_they_do() -> None:
    """Gymnasium's cheetah moves as with an action of 1 and pays for one of 3."""
    plain = gymnasium.make("HalfCheetah-v5")
    costs = []
    for size in (1.0, 3.0):
        plain.reset(seed=0)
        costs.append(plain.step(np.full(6, size, np.float32))[4]["reward_ctrl"])
    assert costs[1] == pytest.approx(9 * costs[0])

    with pytest.warns(UserWarning, match="a family of one task"):
        family = sm.get_family("HalfCheetah-v5")
    env = family.make_vec(family.nominal(), 1, autoreset=True)
    rewards = []
    for size in (1.0, 3.0):
        env.reset(SeedSequence(0))
        rewards.append(env.step(torch.full((1, 1, 6), size)).reward.item())
    assert rewards[0] == rewards[1]
