"""Hybrid adaptation: retrieve earlier tasks that resemble the current one, and use their gradients.

The memory holds earlier tasks with the trajectories that the trained policy played on them. A new
task's first transitions are compared with a dynamics model of each of them; the policy gradients of
the best matches, each computed from that task's own data, are averaged with the new task's own.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.dynamics import (
    Moments,
    fit,
    moments,
    noise,
    pooled_units,
    squared_errors,
    transitions,
)
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import StoreError, UserError
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.meta_rl.inner_rule import broadcast_tasks

MOST_TASKS = 500
MATCHES = 10  # tasks recalled for each new one
USUAL_QUANTILE = 0.99  # of the prediction errors of remembered tasks on their nearest neighbour
MARGIN = 2.0  # times that error, beyond which a new task resembles none of them


@dataclass(frozen=True)
class Recalled:
    """Which earlier tasks a step used, for each of K tasks.

    Attributes:
        tasks: Ids of the best matches, the best one first.
        prediction_error: Their mean squared error on the new task's data, in units of what a model
            leaves unexplained of its own task; near 1 for the same task.
        weight: Share of each in the gradient; with ``own`` they sum to 1. All 0 where the new task
            resembles none of the remembered ones.
        own: Share of the new task's own data.
    """

    tasks: Int[Tensor, "K M"]
    prediction_error: Float[Tensor, "K M"]
    weight: Float[Tensor, "K M"]
    own: Float[Tensor, "K"]


class Memory:
    """Earlier tasks of one agent, ready to be matched; building it fits a model to each.

    Args:
        agent: Whose meta-parameters the gradients are taken at.
        tasks: Id to trajectory ``[T, 1, E]``, at least two.

    Raises:
        UserError: There are fewer than two.
    """

    def __init__(self, agent: Agent, tasks: Mapping[int, Trajectory]) -> None:
        if len(tasks) < 2:
            raise UserError(f"a memory needs at least 2 tasks, got {len(tasks)}")
        self.agent, self.tasks = agent, tasks
        self.ids = torch.tensor(list(tasks))
        self.episodes = torch.cat([_episodes(one) for one in tasks.values()])
        each = [transitions(one, agent.policy)[0] for one in tasks.values()]
        self.units = pooled_units(each)
        data = moments(each, self.units)
        self.models = fit(data)
        self.noise = noise(data, self.models)
        self.limit = MARGIN * self._usual_prediction_error()
        self._gradients: dict[int, Params] = {}

    def check(self, agent: Agent) -> None:
        """Refuse an agent other than the one whose parameters the gradients are taken at.

        Raises:
            UserError: It is another one, or this one after it adapted.
        """
        mine, theirs = self.agent.params, agent.params
        same = mine.keys() == theirs.keys() and all(
            torch.equal(value, theirs[name]) for name, value in mine.items()
        )
        if not same:
            raise UserError(
                "the memory is of another agent, or of this one before it adapted: what it recalls "
                "holds at the parameters that it was made with"
            )

    @classmethod
    def of(cls, agent: Agent, most: int = MOST_TASKS) -> "Memory | None":
        """Read the newest tasks that came with an agent, at most so many.

        Without any, hybrid adaptation is standard adaptation, which a warning says.

        Raises:
            StoreError: The store is damaged, or of another family or run.
        """
        if agent.experience is None or not agent.experience.exists():
            return _nothing_to_recall("this agent came with no experience (adapted ones keep none)")
        with ExperienceStore.open(agent.experience) as store:
            if store.identity.family != agent.family:
                raise StoreError(
                    f"{agent.experience}: holds experience of {store.identity.family}, "
                    f"but the agent is for {agent.family}"
                )
            store.check_run(agent.run)
            newest = store.newest(most)
        if len(newest) < 2:
            return _nothing_to_recall("the experience that came with this agent is empty")
        return cls(agent, newest)

    def recall(self, support: Trajectory) -> Recalled:
        """Match K tasks by what happened in their episodes ``[T, K, E]``.

        Every episode counts once: the new task's own, and those of the recalled tasks by how well
        these match. So the own data gain weight as they accrue.
        """
        order = self.errors(support).mean(-1).topk(min(MATCHES, len(self.ids)), largest=False)
        tasks, prediction_error = self.ids[order.indices], order.values.float()
        best = prediction_error[:, :1].clamp_min(1e-6)
        played = _episodes(support).unsqueeze(-1)
        known = (prediction_error[:, :1] <= self.limit) & (played > 0)
        likeness = torch.exp(1.0 - prediction_error / best) * known
        counted = torch.cat([likeness * self.episodes[order.indices], played], 1)
        share = counted / counted.sum(1, keepdim=True).clamp_min(1.0)
        return Recalled(tasks, prediction_error, share[:, :-1], share[:, -1])

    def errors(self, support: Trajectory) -> Float[Tensor, "K S Y"]:
        """Compare K tasks ``[T, K, E]`` with each of the S remembered ones (``ids``), float64.

        Of each change of an observation, and last of the reward, as :class:`Recalled` has it of all
        together.
        """
        return self._errors(moments(transitions(support, self.agent.policy), self.units))

    def join(self, own: Params, recalled: Recalled) -> dict[str, Tensor]:
        """Mix each task's own gradients ``[K, ...]`` with those of its recalled tasks."""
        used = recalled.tasks[recalled.weight > 0].unique()
        if not len(used):
            return dict(own)
        mine = recalled.tasks.unsqueeze(-1) == used  # [K, M, used]
        share = (recalled.weight.unsqueeze(-1) * mine).sum(1)
        gradients = [self.gradient(task) for task in used.tolist()]
        joined = {}
        for name, gradient in own.items():
            earlier = torch.stack([each[name] for each in gradients])
            kept = broadcast_tasks(recalled.own, gradient) * gradient
            joined[name] = kept + torch.tensordot(share.to(earlier), earlier, 1)
        return joined

    def gradient(self, task: int) -> Params:
        """Return the inner gradient of an earlier task at the meta-parameters, computed once."""
        if task not in self._gradients:
            agent = self.agent
            gradients = agent.rule().gradients(agent.params, agent.batch(self.tasks[task]))
            self._gradients[task] = {name: value[0] for name, value in gradients.items()}
        return self._gradients[task]

    def _errors(self, data: Moments) -> Float[Tensor, "K S Y"]:
        return squared_errors(data, self.models) / self.noise

    def _usual_prediction_error(self) -> float:
        """Return the error that one episode of a remembered task has on the best of the others."""
        first = [_first_episode(one) for one in self.tasks.values()]
        data = moments([transitions(one, self.agent.policy)[0] for one in first], self.units)
        prediction_errors = self._errors(data).mean(-1)
        prediction_errors.fill_diagonal_(torch.inf)
        return float(prediction_errors.min(1).values.quantile(USUAL_QUANTILE))


def _nothing_to_recall(why: str) -> None:
    warnings.warn(f"{why}: hybrid adapts from the current task alone, as standard", stacklevel=3)


def _first_episode(trajectory: Trajectory) -> Trajectory:
    """Return the first lane, of which only the first episode counts."""
    lane = trajectory.lanes(torch.tensor([0]))
    later = lane.done.cumsum(0) - lane.done.long() > 0
    return replace(lane, valid=lane.valid & ~later)


def _episodes(trajectory: Trajectory) -> Int[Tensor, "K"]:
    """Return the number of episodes of each task that did not fail; a trial's lane has several."""
    return (trajectory.episode_start[:-1] & trajectory.valid).sum((0, 2))
