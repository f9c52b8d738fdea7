"""Where the episodes that an agent adapts from are played."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from numpy.random import SeedSequence

from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.meta_rl.batch import collect_data


@runtime_checkable
class Source(Protocol):
    """Episodes of K tasks, as many as asked for."""

    def __len__(self) -> int:
        """Return K."""
        ...

    def play(self, bound: BoundPolicy, episodes: int, seed: SeedSequence) -> Trajectory:
        """Play some episodes of each task, one (or one trial) per lane: ``[T, K, E]``."""
        ...


@dataclass(frozen=True)
class TaskSource:
    """Tasks of a family.

    Attributes:
        family: Of the tasks.
        tasks: K tasks.
        horizon: Step limit of an episode.
        device: Where trajectories are.
        episodes_per_trial: Episodes in each lane, if the memory of who plays them lasts a trial.
    """

    family: TaskFamily
    tasks: Tasks
    horizon: int
    device: torch.device
    episodes_per_trial: int = 1

    def __len__(self) -> int:
        """Return K."""
        return len(self.tasks)

    def play(self, bound: BoundPolicy, episodes: int, seed: SeedSequence) -> Trajectory:
        """Play some episodes of each task, all tasks and episodes at once."""
        return collect_data(
            bound,
            self.family,
            self.tasks,
            seed,
            episodes=episodes,
            per_trial=self.episodes_per_trial,
            horizon=self.horizon,
            device=self.device,
        )
