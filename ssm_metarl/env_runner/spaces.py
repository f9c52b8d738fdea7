"""From a family to the plain numbers a policy is built from, measured where none are declared."""

from dataclasses import replace

import gymnasium
import numpy as np
import torch
from numpy.random import SeedSequence

from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.streams import substream

LANES, STEPS = 10, 250
"""How much is played to measure a family's units."""
RESET_STREAM, ACTION_STREAM = 0, 1
LEAST_OF_RANGE = 0.01
"""A bounded observation is taken to vary by no less than this part of half its range."""
MOST_WIDENED = 10.0  # times the deviation: bounds may be far from anything that is ever seen
NO_VARIATION = 1e-6  # relative to the size of the observation: that of float32, or less


def policy_spaces(family: TaskFamily) -> Spaces:
    """Return what a policy for this family sees and does, as far as the family declares it."""
    scale = family.observation_scale
    if scale is None:
        scale = np.ones(family.observation_space.shape)
    return Spaces.of(scale, family.action_space)


def measured_spaces(family: TaskFamily, seed: SeedSequence) -> Spaces:
    """Return the same, with units from data for families that declare none.

    Random actions are played on the nominal task. Observations get their mean as offset and their
    standard deviation as scale, but those that are always 0 or 1 (as one-hot ones are) stay as
    they are. The scale of the rewards is the root mean square of those that are not 0.

    Args:
        family: One that declares the scale of its observations is not played.
        seed: Of the measurement.

    Raises:
        EnvironmentFailure: The environment failed, or gave what is not finite.
    """
    spaces = policy_spaces(family)
    if family.observation_scale is not None:
        return spaces
    observation, reward = _play(family, seed)
    offset, scale = observation_units(observation, family.observation_space)
    paid = reward[reward != 0.0]
    return replace(
        spaces,
        observation_offset=tuple(offset.tolist()) if offset.any() else (),
        observation_scale=tuple(scale.tolist()),
        reward_scale=float(np.sqrt(np.square(paid).mean())) if len(paid) else 1.0,
    )


def observation_units(
    observation: np.ndarray, space: gymnasium.spaces.Box
) -> tuple[np.ndarray, np.ndarray]:
    """Return the offset and the scale ``[O]`` of observations ``[N, O]``, float64."""
    offset, scale = observation.mean(0), observation.std(0)
    half = np.where(space.bounded_below & space.bounded_above, 0.5, np.nan) * (
        space.high.astype(np.float64) - space.low.astype(np.float64)
    )
    still = scale <= NO_VARIATION * abs(offset)
    scale = np.fmax(scale, np.minimum(LEAST_OF_RANGE * half, MOST_WIDENED * scale))
    binary = np.isin(observation, (0.0, 1.0)).all(0)
    return np.where(binary, 0.0, offset), np.where(binary | still, 1.0, scale)


def _play(family: TaskFamily, seed: SeedSequence) -> tuple[np.ndarray, np.ndarray]:
    """Take random actions; return observations ``[N, O]`` and rewards, float64."""
    environment = family.make_vec(family.nominal(), LANES, autoreset=True)
    rng = np.random.default_rng(substream(seed, ACTION_STREAM))
    observations, rewards = [environment.reset(substream(seed, RESET_STREAM))], []
    for _ in range(STEPS):
        step = environment.step(random_actions(environment.action_space, rng, (1, LANES)))
        observations.append(step.observation)
        rewards.append(step.reward)
    environment.close()
    seen = torch.stack(observations).flatten(0, 2)
    return seen.double().numpy(), torch.stack(rewards).double().numpy()


def random_actions(
    space: gymnasium.Space, rng: np.random.Generator, shape: tuple[int, int]
) -> torch.Tensor:
    """Draw an action of each of `shape` lanes, as a policy would give it."""
    spaces = Spaces((), 1, discrete=True).acting_in(space)
    if spaces.discrete:
        sizes = spaces.choices or spaces.actions
        return torch.from_numpy(rng.integers(sizes, size=(*shape, *spaces.usual_shape)))
    unit = torch.from_numpy(rng.uniform(-1.0, 1.0, (*shape, spaces.actions)))
    return spaces.to_environment(unit.float())
