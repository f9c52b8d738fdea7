"""What every learner is: parameters, an optimiser, and one iteration at a time.

A learner is a file of this package and its line in :mod:`ssm_metarl.meta_rl.registry`, which names
the function that builds it. Validation, keeping the best parameters, checkpoints and the metrics
file are the same for all of them, see :mod:`ssm_metarl.training.learners`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import torch
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import Params, device_of
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.env_runner.compiled import wanted
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.meta_rl.optimizer import OuterOptimizer

Optimizer = TypeVar("Optimizer", bound=OuterOptimizer)
TASK_STREAM, ROLLOUT_STREAM, SHUFFLE_STREAM = 0, 1, 2
Settings = Mapping[str, Any]
"""The settings of a run by name, each with a value."""


@dataclass(frozen=True)
class Report:
    """One iteration.

    Attributes:
        environment_steps: Of this iteration.
        metrics: The learner's numbers for ``metrics.jsonl``; docs/metrics.md explains each.
        mean_return: Undiscounted return of the complete episodes that were played with the
            parameters before the update; None where episodes are cut, or of other parameters.
        experience: The tasks, and what the shared parameters played on them, if that is to be kept
            for hybrid adaptation.
        played: All that was played, on which tasks: its statistics give observations and rewards
            their units.
    """

    environment_steps: int
    metrics: Mapping[str, float | int | None]
    mean_return: float | None = None
    experience: tuple[Tasks, Trajectory] | None = None
    played: Sequence[tuple[Tasks, Trajectory]] = field(default=(), compare=False)


class Learner(ABC, Generic[Optimizer]):
    """Shared parameters and their optimiser; a subclass says what an iteration is.

    Attributes:
        settings: Of the run, with a value for all that the learner uses.
        iterations: Length of the training.
        params: Shared parameters, leaves of the graph.
        tensors: All that defines the learned agent, by the names that checkpoints have.
        optimizer: Of those of them that are learned; the subclass sets it.
        on_phase: Called while an iteration goes on, with each of the learner's phases.
        longest_rollout: Most steps of one lane of the experience it reports; 0 for none.
    """

    optimizer: Optimizer
    longest_rollout = 0

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        self.policy, self.family, self.settings = policy, family, SimpleNamespace(**settings)
        self.iterations: int = self.settings.num_epochs
        self.params = {name: v.detach().clone().requires_grad_() for name, v in params.items()}
        self.tensors = {f"params/{name}": value for name, value in self.params.items()}
        self.on_phase: Callable[[str], object] = lambda phase: None

    @abstractmethod
    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Collect data and improve the parameters on them, in an iteration counted from 1.

        Its randomness depends on the seed of the run and the number alone.

        Raises:
            DivergenceError: A loss or its gradient is not finite.
        """

    @property
    def device(self) -> torch.device:
        """Return where the parameters are."""
        return device_of(self.params)

    def detached(self) -> dict[str, Tensor]:
        """Return the parameters as constants."""
        return {name: value.detach() for name, value in self.params.items()}

    def acting(self) -> BoundPolicy:
        """Return the policy as it is now, to collect data with."""
        return self.policy.bind(self.detached())

    @cached_property
    def compiled(self) -> bool:
        """Return whether rollouts are compiled, which pays in long trainings."""
        own, steps = self.settings, self.iterations * self.family.max_episode_steps
        units_change = own.norm_obs or own.norm_reward
        native = self.family.simulator is not None
        return wanted(own.compile, steps, native=native, units_change=units_change)

    def progress(self, iteration: int) -> float:
        """Return the fraction of the training that is done before an iteration."""
        return (iteration - 1) / self.iterations
