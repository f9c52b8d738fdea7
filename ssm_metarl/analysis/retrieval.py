"""What hybrid adaptation retrieves for one task, computed again exactly as it was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.evaluate import ADAPTATION_STREAM
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.experience.records import StoredTask


@dataclass(frozen=True)
class Match:
    """An earlier task, compared with the new one; its episodes are ``[T, 1, E]``."""

    task: StoredTask
    prediction_error: float
    """As in :class:`ssm_metarl.adaptation.hybrid.Recalled`."""
    weight: float
    """Its share in the gradient step."""
    played: Trajectory


@dataclass(frozen=True)
class Retrieval:
    """What hybrid adaptation retrieves for one task.

    Attributes:
        episodes: Of the new task, that the earlier tasks are compared with.
        played: These episodes, ``[T, 1, E]``.
        own: Share of the new task's own data in the gradient step.
        matches: The earlier tasks with the lowest prediction error, the best one first.
        unlike: The earlier task with the highest.
        limit: Prediction error of the best match beyond which nothing is retrieved.
        telling: Index of the observation whose changes separate the best match from ``unlike``
            best; the number of observations stands for the reward.
    """

    episodes: int
    played: Trajectory
    own: float
    matches: tuple[Match, ...]
    unlike: Match
    limit: float
    telling: int

    @property
    def used(self) -> int:
        """Number of matches that have a share in the step."""
        return sum(match.weight > 0 for match in self.matches)


def stored_tasks(agent: Agent) -> list[StoredTask]:
    """Return the tasks that came with an agent, oldest first; empty if it has no experience."""
    if agent.experience is None or not agent.experience.exists():
        return []
    with ExperienceStore.open(agent.experience) as store:
        return store.tasks()


def retrieve(
    agent: Agent, family: TaskFamily, task: Tasks, *, episodes: int, seed: int
) -> Retrieval | None:
    """Take the first step of hybrid adaptation and return what it retrieved for a task.

    The seed is that of an :class:`ssm_metarl.evaluation.evaluate.EvaluationPlan`.

    Returns:
        None if the experience holds fewer than two tasks.
    """
    stored = {one.id: one for one in stored_tasks(agent)}
    memory = Memory.of(agent) if len(stored) > 1 else None
    if memory is None:
        return None
    *_, adapted = adapt_tasks(
        agent,
        family,
        task,
        episodes=episodes,
        steps=1,
        seed=substream(SeedSequence(seed), ADAPTATION_STREAM),
        memory=memory,
    )
    recalled, played = adapted.recalled, adapted.played
    assert recalled is not None
    assert played is not None
    errors = memory.errors(played)[0]  # [S, Y]
    error_of = dict(zip(memory.ids.tolist(), errors, strict=True))
    mean_of = dict(zip(error_of, errors.mean(-1).tolist(), strict=True))

    def match(number: int, weight: float) -> Match:
        return Match(stored[number], mean_of[number], weight, memory.tasks[number])

    weights = zip(recalled.tasks[0].tolist(), recalled.weight[0].tolist(), strict=True)
    matches = tuple(match(*pair) for pair in weights)
    unlike = match(max(mean_of, key=mean_of.__getitem__), 0.0)
    separation = error_of[unlike.task.id] - error_of[matches[0].task.id]
    return Retrieval(
        episodes=adapted.episodes,
        played=played,
        own=float(recalled.own[0]),
        matches=matches,
        unlike=unlike,
        limit=memory.limit,
        telling=int(separation.argmax()),
    )


def first_episode(played: Trajectory) -> tuple[Float[Tensor, "T1 Y"], Float[Tensor, "T A"]]:
    """Return observations with the reward as the last column, and actions, of a first episode.

    The reward is that of the step that led to an observation, 0 at the start.
    """
    ends = played.done[:, 0, 0].nonzero()
    steps = int(ends[0]) + 1 if len(ends) else int(played.valid[:, 0, 0].sum())
    reward = torch.cat([torch.zeros(1), played.reward[:steps, 0, 0]])
    observed = torch.cat([played.observation[: steps + 1, 0, 0], reward[:, None]], -1)
    actions = played.action[:steps, 0, 0]
    return observed, (actions[:, None] if actions.ndim == 1 else actions).float()


def action_response(played: Trajectory, index: int) -> list[float]:
    """Return how an observation responds to the action, summed up over the first episode.

    Each step adds (its change minus the mean change) times (its first action minus the mean
    action), the latter in units of its mean magnitude. The sum rises in a task where a higher
    action raises the observation and falls where it lowers it, whatever the actions were. The
    index is that of the observation, or their number for the reward.
    """
    observed, actions = first_episode(played)
    change = observed[1:, index] - observed[:-1, index]
    push = actions[:, 0] - actions[:, 0].mean()
    push = push / push.abs().mean().clamp_min(1e-6)
    return [0.0, *((change - change.mean()) * push).cumsum(0).tolist()]


def as_numbers(found: Retrieval | None, stored: Sequence[StoredTask]) -> Mapping[str, Any]:
    """Return what is stored and what was retrieved as plain numbers."""
    holds = {"tasks": len(stored), "transitions": sum(task.transitions for task in stored)}
    if found is None:
        return {"holds": holds, "own": 1.0, "recalled": []}
    return {
        "holds": holds,
        "episodes": found.episodes,
        "own": found.own,
        "recalled": [
            {
                "task": match.task.id,
                "weight": match.weight,
                "prediction_error": match.prediction_error,
                "parameters": match.task.parameters,
                "mean_return": match.task.mean_return,
            }
            for match in found.matches
        ],
        "prediction_error_limit": found.limit,
    }
