"""What hybrid adaptation recalls for one task, worked out again as it was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.evaluate import ADAPTATION_STREAM, task_source
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.experience.records import StoredTask
from ssm_metarl.ui.query import Query, Subject


@dataclass(frozen=True)
class Match:
    """An earlier task, compared with the new one.

    Attributes:
        task: What is stored of it.
        prediction_error: As in :class:`ssm_metarl.adaptation.hybrid.Recalled`.
        weight: Its share in the step.
        played: Its episodes, ``[T, 1, E]``.
    """

    task: StoredTask
    prediction_error: float
    weight: float
    played: Trajectory


@dataclass(frozen=True)
class Retrieval:
    """What hybrid adaptation recalls for one task.

    Attributes:
        episodes: Of the new task, that it is recognised by.
        played: They, ``[T, 1, E]``.
        own: Share of the new task's own data in the step.
        matches: The earlier tasks that resemble it most, the best one first.
        unlike: The one that resembles it least.
        limit: Misfit of the best match from which on nothing is recalled.
        telling: Which change of an observation tells the best match from the one unlike it; the
            number of observations for the reward.
    """

    episodes: int
    played: Trajectory
    own: float
    matches: tuple[Match, ...]
    unlike: Match
    limit: float
    telling: int

    @property
    def recalls(self) -> bool:
        """Whether anything is recalled."""
        return any(match.weight > 0 for match in self.matches)


def stored_tasks(subject: Subject) -> list[StoredTask]:
    """Return what an agent remembers, oldest first; nothing if it came without experience.

    Raises:
        StoreError: The store is damaged.
    """
    path = subject.agent.experience
    if path is None or not path.exists():
        return []
    with ExperienceStore.open(path) as store:
        return store.tasks()


def retrieve(subject: Subject, query: Query, episodes: int) -> Retrieval | None:
    """Take the first step of hybrid adaptation, and see what it recalls; None without a memory.

    Args:
        subject: The agent and the task.
        query: For its seed.
        episodes: Of the task, to learn from.

    Raises:
        StoreError: The store is damaged, or of another family.
    """
    tasks = {task.id: task for task in stored_tasks(subject)}
    memory = Memory.of(subject.agent) if len(tasks) > 1 else None
    if memory is None:
        return None
    *_, adapted = adapt_tasks(
        subject.agent,
        task_source(subject.agent, subject.family, subject.task),
        episodes=episodes,
        steps=1,
        seed=substream(SeedSequence(query.seed), ADAPTATION_STREAM),
        memory=memory,
    )
    recalled, played = adapted.recalled, adapted.played
    assert recalled is not None
    assert played is not None
    errors = memory.errors(played)[0]
    prediction_error, ids = errors.mean(-1), memory.ids.tolist()
    shares = zip(recalled.tasks[0].tolist(), recalled.weight[0].tolist(), strict=True)

    def match(task: int, weight: float) -> Match:
        return Match(
            tasks[task], float(prediction_error[ids.index(task)]), weight, memory.tasks[task]
        )

    matches = tuple(match(task, weight) for task, weight in shares)
    unlike = match(ids[int(prediction_error.argmax())], 0.0)
    apart = errors[ids.index(unlike.task.id)] - errors[ids.index(matches[0].task.id)]
    own, limit = float(recalled.own[0]), memory.limit
    return Retrieval(adapted.episodes, played, own, matches, unlike, limit, int(apart.argmax()))


def first_episode(played: Trajectory) -> tuple[Float[Tensor, "T1 Y"], Float[Tensor, "T A"]]:
    """Return what the first episode showed, the reward last, and what was done.

    The reward is that of the step that led to an observation, 0 at the start.
    """
    ends = played.done[:, 0, 0].nonzero()
    steps = int(ends[0]) + 1 if len(ends) else int(played.valid[:, 0, 0].sum())
    reward = torch.cat([torch.zeros(1), played.reward[:steps, 0, 0]])
    seen = torch.cat([played.observation[: steps + 1, 0, 0], reward[:, None]], -1)
    done = played.action[:steps, 0, 0]
    return seen, (done[:, None] if done.ndim == 1 else done).float()


def response(played: Trajectory, telling: int) -> list[float]:
    """Return how far an observation has gone where the actions pushed it, summed up over steps.

    Each step adds its change of the observation, times how far the (first) action was above its
    mean. It climbs in a task where a higher action raises the observation, and falls where a higher
    action lowers it, whatever the actions were.
    """
    seen, done = first_episode(played)
    change = seen[1:, telling] - seen[:-1, telling]
    push = done[:, 0] - done[:, 0].mean()
    push = push / push.abs().mean().clamp_min(1e-6)
    return [0.0, *((change - change.mean()) * push).cumsum(0).tolist()]


def as_numbers(found: Retrieval | None, tasks: list[StoredTask]) -> Mapping[str, Any]:
    """Return everything as plain numbers, for the API."""
    held = {"tasks": len(tasks), "transitions": sum(task.transitions for task in tasks)}
    if found is None:
        return {"holds": held, "own": 1.0, "recalled": []}
    recalled = [
        {
            "task": match.task.id,
            "weight": match.weight,
            "prediction_error": match.prediction_error,
            "parameters": match.task.parameters,
            "mean_return": match.task.mean_return,
        }
        for match in found.matches
    ]
    return {
        "holds": held,
        "episodes": found.episodes,
        "own": found.own,
        "recalled": recalled,
        "misfit_limit": found.limit,
    }
