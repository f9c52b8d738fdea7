"""The inner loop: collect episodes of each task, take a step, collect with what came out."""

from collections.abc import Callable

from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.rollout import Trajectory, side_by_side

TaskStep = Callable[[Params, Trajectory, int], Params]
"""Parameters that played a trajectory, the trajectory, and the number of steps taken before, to the
parameters after one more."""


class InnerLoop:
    """The parameters of K tasks while they adapt.

    Meta-training, evaluation, ``ssm_metarl.adapt`` and sessions differ in who plays the episodes;
    each of them hands over what was played and goes on with ``params``.

    Attributes:
        params: Shared before the first step, per task after it.
        steps: Steps taken.
    """

    def __init__(self, params: Params, step: TaskStep, lanes: int = 1) -> None:
        """Begin with no data.

        Args:
            params: Where all tasks start from.
            step: Of all tasks.
            lanes: Of data per task that a step waits for.
        """
        self.params, self.steps = params, 0
        self._step, self._lanes = step, lanes
        self._waiting: list[Trajectory] = []

    def add(self, rollout: Trajectory) -> bool:
        """Take in lanes ``[T, K, E]`` played with the current parameters; step if they suffice.

        Returns:
            Whether a step was taken.

        Raises:
            DivergenceError: From the step: the parameters stay, and its data are dropped.
        """
        self._waiting.append(rollout)
        if sum(each.valid.shape[2] for each in self._waiting) < self._lanes:
            return False
        data, self._waiting = side_by_side(self._waiting), []
        self.params = self._step(self.params, data, self.steps)
        self.steps += 1
        return True
