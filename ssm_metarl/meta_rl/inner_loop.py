"""The inner loop: collect episodes of each task, take a step, collect with what came out."""

from collections.abc import Callable

from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.rollout import Trajectory, side_by_side

TaskStep = Callable[[Params, Trajectory, int], Params]
"""From the parameters that played a trajectory, the trajectory, and the number of steps taken
before, to the parameters after one more."""


class InnerLoop:
    """The parameters of K tasks while they adapt.

    Meta-training, evaluation, ``ssm_metarl.adapt`` and sessions differ in who plays the episodes;
    each of them hands over what was played and goes on with ``params``.

    Attributes:
        params: Shared before the first step, per task after it.
        steps: Steps taken; each waits for so many lanes of data per task.
    """

    def __init__(self, params: Params, step: TaskStep, lanes: int = 1) -> None:
        self.params, self.steps = params, 0
        self._step, self._lanes = step, lanes
        self._waiting: list[Trajectory] = []

    def add(self, rollout: Trajectory) -> bool:
        """Take in lanes ``[T, K, E]`` of the current parameters; return whether a step was taken.

        Where the step raises an error the parameters stay, and its data are dropped.
        """
        self._waiting.append(rollout)
        if sum(each.valid.shape[2] for each in self._waiting) < self._lanes:
            return False
        data, self._waiting = side_by_side(self._waiting), []
        self.params = self._step(self.params, data, self.steps)
        self.steps += 1
        return True
