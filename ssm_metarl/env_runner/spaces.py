"""From a family to the plain numbers a policy is built from, measured where none are declared."""

from dataclasses import replace

import gymnasium
import numpy as np
import torch
from numpy.random import SeedSequence

from ssm_metarl.core.spaces import Spaces
from ssm_metarl.core.statistics import RunningStatistics
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.trajectory import Trajectory

LANES, STEPS = 10, 250
"""How much is played to measure a family's units."""
RESET_STREAM, ACTION_STREAM = 0, 1
LEAST_OF_RANGE = 0.01
"""A bounded observation is taken to vary by no less than this part of half its range."""
MOST_WIDENED = 10.0  # times the deviation: bounds may be far from anything that is ever seen
NO_VARIATION = 1e-6  # relative to the size of the observation: that of float32, or less


def policy_spaces(
    family: TaskFamily,
    statistics: RunningStatistics | None = None,
    *,
    norm_obs: bool = True,
    norm_reward: bool = True,
) -> Spaces:
    """Return what a policy for this family sees and does.

    Observations get their mean as offset and their standard deviation as scale, but those that are
    always 0 or 1 (as one-hot ones are) stay as they are; all pixels of an image have the units of
    their channel. The scale of the rewards is the root mean square of those that are not 0.

    Args:
        family: It may declare the scale of its observations.
        statistics: Of what was seen, to tell the units from; None to have those that the family
            declares, or 1.
        norm_obs: Whether the units of observations are those of the statistics.
        norm_reward: Whether the unit of rewards is.
    """
    scale = family.observation_scale
    if scale is None:
        scale = np.ones(family.observation_space.shape)
    spaces = replace(Spaces.of(scale, family.action_space), image=family.image)
    if statistics is None:
        return spaces
    if norm_reward:
        spaces = replace(spaces, reward_scale=statistics.reward_scale)
    if not norm_obs:
        return spaces
    if spaces.image:
        statistics = statistics.pooled(spaces.image)
    offset, scale = observation_units(statistics, family.observation_space)
    return replace(
        spaces,
        observation_offset=tuple(offset.tolist()) if offset.any() else (),
        observation_scale=tuple(scale.tolist()),
    )


def observed(played: Trajectory) -> RunningStatistics:
    """Return the statistics of the valid steps of a trajectory: what was acted on, and rewards."""
    return RunningStatistics.of(played.observation[:-1][played.valid], played.reward[played.valid])


def observation_units(
    statistics: RunningStatistics, space: gymnasium.spaces.Box
) -> tuple[np.ndarray, np.ndarray]:
    """Return the offset and the scale ``[O]`` of observations, float64."""
    offset, scale = statistics.mean.numpy(), statistics.std.numpy()
    half = np.where(space.bounded_below & space.bounded_above, 0.5, np.nan) * (
        space.high.astype(np.float64) - space.low.astype(np.float64)
    )
    still = scale <= NO_VARIATION * abs(offset)
    scale = np.fmax(scale, np.minimum(LEAST_OF_RANGE * half, MOST_WIDENED * scale))
    binary = statistics.binary.numpy()
    return np.where(binary, 0.0, offset), np.where(binary | still, 1.0, scale)


def measure(family: TaskFamily, seed: SeedSequence) -> RunningStatistics:
    """Return the statistics of random play on the nominal task, with which those of a run begin.

    Raises:
        EnvironmentFailure: The environment failed, or gave what is not finite.
    """
    environment = family.make_vec(family.nominal(), LANES, autoreset=True)
    rng = np.random.default_rng(substream(seed, ACTION_STREAM))
    observations, rewards = [environment.reset(substream(seed, RESET_STREAM))], []
    for _ in range(STEPS):
        step = environment.step(random_actions(environment.action_space, rng, (1, LANES)))
        observations.append(step.observation)
        rewards.append(step.reward)
    environment.close()
    seen = torch.stack(observations).flatten(0, 2)
    return RunningStatistics.of(seen, torch.stack(rewards).flatten())


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
