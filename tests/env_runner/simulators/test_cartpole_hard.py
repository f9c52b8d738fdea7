"""The hard CartPole: its tasks can be solved, flips are only seen, and its noise is seeded."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.env_runner.family import Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.simulators.cartpole import TIME_STEP

FAMILY = get_family("CartPoleHard-v1")
SEED = SeedSequence(3)


def feedback(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the gains `[K, 4]` of the linear-quadratic regulator near upright.

    The force -gains @ state holds a CartPole that can push as it likes.
    """
    total = values["cart_mass"] + values["pole_mass"]
    share = values["pole_mass"] / total
    arm = values["length"] * (4 / 3 - share)
    lever = share * values["length"]
    lean, turn = values["gravity"] / arm, -1 / (total * arm)
    motion = np.broadcast_to(np.eye(4), (len(total), 4, 4)).copy()
    motion[:, 0, 1] = motion[:, 2, 3] = TIME_STEP
    motion[:, 1, 2], motion[:, 3, 2] = -TIME_STEP * lever * lean, TIME_STEP * lean
    none = np.zeros_like(total)
    push = TIME_STEP * np.stack((none, 1 / total - lever * turn, none, turn), -1)[..., None]
    cost, effort = np.diag([1.0, 0.1, 10.0, 0.1]), 0.01
    value, back, pull = cost, motion.swapaxes(1, 2), push.swapaxes(1, 2)
    for _ in range(500):  # Riccati's equation, by iteration
        gains = pull @ value @ motion / (effort + pull @ value @ push)
        value = cost + back @ value @ (motion - push @ gains)
    return gains[:, 0]


def balanced(tasks: Tasks) -> np.ndarray:
    """Return which lanes `[K, 2]` live 500 steps under a pilot who knows the parameters."""
    values = tasks.values
    env = FAMILY.make_vec(tasks, 2, autoreset=False)
    cart, pole = values["flip_position"], values["flip_angle"]
    gains = (feedback(values) * np.stack((cart, cart, pole, pole), -1))[:, None]
    wind, swap = values["wind"][:, None], values["swap"][:, None] == 1
    observation, alive = env.reset(SEED), np.ones((len(tasks), 2), dtype=bool)
    for _ in range(FAMILY.max_episode_steps):
        right = -(gains * observation.numpy()).sum(-1) > wind
        step = env.step(torch.from_numpy((right ^ swap).astype(np.int64)))
        observation = step.observation
        alive &= ~step.terminated.numpy()
    return alive


@pytest.mark.parametrize("tasks", [FAMILY.sample(200, SEED), FAMILY.shifted()])
def test_tasks_can_be_balanced_by_who_knows_their_parameters(tasks: Tasks) -> None:
    assert balanced(tasks).mean() >= 0.99


def test_the_weakest_push_in_the_strongest_wind_can_balance() -> None:
    wind, noise = FAMILY.parameters[6:8]
    assert (wind.name, noise.name) == ("wind", "force_noise")
    for blow in (wind.low, wind.high):
        for mass in (0.5, 2.0):
            task = FAMILY.task(force=5, wind=blow, force_noise=noise.high, cart_mass=mass)
            assert balanced(task).all()


@pytest.mark.parametrize(("cart", "pole"), [(-1, 1), (1, -1), (-1, -1)])
def test_flips_change_what_is_seen_and_nothing_else(cart: int, pole: int) -> None:
    physics = {"gravity": 12.0, "wind": 1.0, "force_noise": 1.0}
    plain = FAMILY.make_vec(FAMILY.task(**physics), 5, autoreset=True)
    flipped = FAMILY.make_vec(
        FAMILY.task(**physics, flip_position=cart, flip_angle=pole), 5, autoreset=True
    )
    signs = torch.tensor([cart, cart, pole, pole])
    assert torch.equal(flipped.reset(SEED), plain.reset(SEED) * signs)
    for t in range(60):
        action = torch.full((1, 5), t % 2)
        mine, theirs = flipped.step(action), plain.step(action)
        assert torch.equal(mine.observation, theirs.observation * signs)
        assert torch.equal(mine.terminated, theirs.terminated)


def gymnasium_walk(seed: int, **values: float) -> np.ndarray:
    env = FAMILY.gymnasium(FAMILY.task(**values))
    seen = [env.reset(seed=seed)[0]]
    seen += [env.step(t % 2)[0] for t in range(9)]
    env.close()
    return np.stack(seen)


def test_gymnasiums_gusts_come_from_its_own_seed() -> None:
    still, gusty = gymnasium_walk(1), gymnasium_walk(1, force_noise=2)
    np.testing.assert_array_equal(gusty, gymnasium_walk(1, force_noise=2))
    np.testing.assert_array_equal(gusty[0], still[0])
    assert (gusty[2:] != still[2:]).all()
