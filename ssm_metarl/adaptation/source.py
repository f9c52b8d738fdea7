"""Where the episodes that an agent adapts from are played."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from numpy.random import SeedSequence

from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes


@runtime_checkable
class Source(Protocol):
    """Episodes of K tasks, as many as asked for."""

    def __len__(self) -> int:
        """Return K."""
        ...

    def play(self, bound: BoundPolicy, episodes: int, seed: SeedSequence) -> Trajectory:
        """Play some episodes of each task, one per lane: ``[T, K, E]``."""
        ...


@dataclass(frozen=True)
class TaskSource:
    """Tasks of a family.

    Attributes:
        family: Of the tasks.
        tasks: K tasks.
        horizon: Step limit of an episode.
        device: Where trajectories are.
    """

    family: TaskFamily
    tasks: Tasks
    horizon: int
    device: torch.device

    def __len__(self) -> int:
        """Return K."""
        return len(self.tasks)

    def play(self, bound: BoundPolicy, episodes: int, seed: SeedSequence) -> Trajectory:
        """Play some episodes of each task, all tasks and episodes at once."""
        environment = self.family.make(
            self.tasks, episodes, autoreset=False, horizon=self.horizon, device=self.device
        )
        rollout = collect_episodes(bound, environment, seed)
        environment.close()
        return rollout
