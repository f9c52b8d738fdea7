"""Adaptation by gradient steps: on the current task's data (standard), or with retrieval too.

The loop is the same for both: play episodes, take a step per task, play with what came out. Only
where the gradient comes from differs, see :class:`ssm_metarl.adaptation.hybrid.Memory`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.guard import Guard, choose
from ssm_metarl.adaptation.hybrid import Memory, Recalled
from ssm_metarl.core.parameters import Params, combine, device_of
from ssm_metarl.core.policy import LOG_STD
from ssm_metarl.core.torch_state import in_usual_torch
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import (
    Trajectory,
    collect_episodes,
    episode_returns,
    side_by_side,
)
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import DivergenceError, UserError
from ssm_metarl.meta_rl.inner_rule import descend, per_task_params
from ssm_metarl.meta_rl.natural import natural_step

EPISODE_STREAM, GUARD_STREAM = 0, 1


@dataclass(frozen=True)
class Adapted:
    """The state of an adaptation to K tasks after some gradient steps.

    Attributes:
        params: Per task (``[K, ...]``); before the first step as they were given.
        steps: Gradient steps taken.
        episodes: Episodes of each task used so far.
        environment_steps: Steps of each task used so far, ``[K]``.
        played: The episodes of this step, played with the parameters before it; None at the start.
        rolled_back: Tasks on which these episodes showed that earlier parameters were better, so
            that those were restored instead of a step.
        recalled: Which earlier tasks the step used (hybrid).
    """

    params: Params
    steps: int
    episodes: int
    environment_steps: np.ndarray
    played: Trajectory | None = None
    rolled_back: Bool[np.ndarray, "K"] | None = None
    recalled: Recalled | None = None


class Adaptation:
    """Adapts the parameters of K tasks as their episodes come in; ``now`` is where it is.

    Args:
        agent: Where all tasks start from; it stays as it is.
        tasks: K.
        seed: Of the guard's bootstrap.
        episodes: Episodes per task that a step waits for.
        memory: Earlier tasks to recall; None adapts from the current task's data alone.
        guarded: Whether to roll back where the episodes played show that a step did harm.

    Raises:
        UserError: The memory is of another agent.
    """

    def __init__(
        self,
        agent: Agent,
        tasks: int,
        *,
        seed: SeedSequence,
        episodes: int = 1,
        memory: Memory | None = None,
        guarded: bool = True,
    ) -> None:
        if memory is not None:
            if not isinstance(memory, Memory):
                raise UserError(f"{memory!r:.60} is not a memory; valid: Memory.of(agent), or None")
            memory.check(agent)
        self.agent, self._memory = agent, memory
        self._guard = Guard(substream(seed, GUARD_STREAM)) if guarded else None
        self._episodes, self._waiting = episodes, list[Trajectory]()
        self.now = Adapted(agent.params, 0, 0, np.zeros(tasks, dtype=np.int64))

    def add(self, rollout: Trajectory) -> bool:
        """Take in episodes ``[T, K, E]`` of the current parameters; return whether it took a step.

        Raises:
            DivergenceError: The adapted parameters are not finite; the current ones stay, and the
                episodes are dropped.
        """
        self._waiting.append(rollout)
        if sum(each.valid.shape[2] for each in self._waiting) < self._episodes:
            return False
        played, self._waiting = side_by_side(self._waiting), []
        self._step(played)
        return True

    def _step(self, played: Trajectory) -> None:
        """Take a step per task, or roll back."""
        theta, step = self.now.params, self.now.steps
        memory = self._memory if step == 0 else None
        stepped, recalled = take_step(self.agent, theta, played, step, memory)
        rolled_back = None
        if self._guard is not None:
            best, rolled_back = self._guard.check(theta, episode_returns(played).cpu().numpy())
            stepped = choose(rolled_back, best, stepped)
        self.now = Adapted(
            params=stepped,
            steps=step + 1,
            episodes=self.now.episodes + int(played.done[:, 0].sum()),
            environment_steps=self.now.environment_steps + played.valid.sum((0, 2)).cpu().numpy(),
            played=played,
            rolled_back=rolled_back,
            recalled=recalled,
        )


@in_usual_torch
def adapt_tasks(
    agent: Agent,
    family: TaskFamily,
    tasks: Tasks,
    *,
    episodes: int,
    steps: int,
    seed: SeedSequence,
    memory: Memory | None = None,
    guarded: bool = True,
) -> Iterator[Adapted]:
    """Adapt to K tasks at once, each by itself; yield the start and then every step.

    Every step plays fresh episodes, so many of each task, with the parameters it improves. Memory
    and guard are as for :class:`Adaptation`.

    Raises:
        DivergenceError: The adapted parameters are not finite.
    """
    adaptation = Adaptation(agent, len(tasks), seed=seed, memory=memory, guarded=guarded)
    yield adaptation.now
    for step in range(steps):
        own = substream(seed, EPISODE_STREAM, step)
        adaptation.add(play_tasks(agent, adaptation.now.params, family, tasks, episodes, own))
        yield adaptation.now


def play_tasks(
    agent: Agent,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    episodes: int,
    seed: SeedSequence,
) -> Trajectory:
    """Play some episodes of K tasks, each from an empty memory and cut at the agent's horizon."""
    device = device_of(params)
    environment = family.make_vec(
        tasks, episodes, autoreset=False, horizon=agent.config.horizon, device=device
    )
    rollout = collect_episodes(agent.policy.bind(params), environment, seed)
    environment.close()
    return rollout


def take_step(
    agent: Agent, theta: Params, played: Trajectory, step: int, memory: Memory | None = None
) -> tuple[Params, Recalled | None]:
    """Take one gradient step per task.

    The first ``config.inner_steps`` are those of meta-training. Later ones were never trained, and
    at full length would undo the first: they are natural steps within a trust region. The spread of
    continuous actions is limited to ``config.adapted_std`` after each.

    ``theta`` played the episodes ``[T, K, E]``; ``step`` counts from 0. The gradients of earlier
    tasks in a memory are those at the agent's own parameters.
    """
    config, policy, recalled = agent.config, agent.policy, None
    batch = agent.batch(played)
    gradients = agent.rule().gradients(theta, batch)
    if memory is not None:
        recalled = memory.recall(played)
        gradients = memory.join(gradients, recalled)
    stepped = combine(theta, descend(theta, gradients, agent.rates))
    if step >= config.inner_steps:
        stepped = natural_step(policy, theta, gradients, stepped, batch, config.trust)
    if config.adapted_std is not None and LOG_STD in stepped:
        narrow = {LOG_STD: stepped[LOG_STD].clamp_max(math.log(config.adapted_std))}
        stepped = combine(stepped, per_task_params(policy, narrow, batch.valid.shape[1]))
    for name, value in stepped.items():
        if not torch.isfinite(value).all():
            raise DivergenceError(
                f"adaptation step {step + 1}: {name} is no longer finite; train with an --inner_lr "
                f"lower than {config.inner_lr:g}"
            )
    return stepped, recalled
