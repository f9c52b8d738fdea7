"""What a hidden state knows of its task: a linear reader of it, trained on other tasks."""

import dataclasses
import re
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory, collect_trials
from ssm_metarl.env_runner.streams import substream

SEED = SeedSequence(0x72656164)
TASKS, TRIALS, HORIZON = 72, 2, 100  # that are played; steps of an episode
LEARNED_FROM = 48  # of the tasks; the others say how good the reader is
PULL = 1e-2  # of the weights towards zero
SURE = 0.9
LASTS = 10  # steps for which it has to stay sure


@dataclass(frozen=True)
class Reader:
    """Logistic regression from a hidden state to whether a task has its surprise.

    Attributes:
        parameter: The one that is read, such as ``swap``.
        mean: Of the states.
        std: Of the states.
        weight: Per entry of the state, and last the bias.
        accuracy: Share of the steps of tasks it has not learned from at which it is right.
    """

    parameter: Parameter
    mean: Float[Tensor, "N"]
    std: Float[Tensor, "N"]
    weight: Float[Tensor, "N1"]
    accuracy: float = 0.0

    def belief(self, state: Float[np.ndarray, "T N"]) -> Float[np.ndarray, "T"]:
        """Return how likely the surprise is, judged by each state alone."""
        scaled = (torch.from_numpy(state).double() - self.mean) / self.std
        return (scaled @ self.weight[:-1] + self.weight[-1]).sigmoid().numpy()

    @property
    def surprise(self) -> str:
        """What it is, in words: ``swaps left and right``."""
        return re.sub(r"^-?\d+ ", "", self.parameter.description)


def learn_to_read(agent: Agent, family: TaskFamily) -> Reader | None:
    """Train a reader on training tasks of the family; None if nothing is reversed or remembered.

    The states are those of whole trials, with all that an agent comes to remember in them.
    """
    parameter = next((p for p in family.parameters if p.choices), None)
    if parameter is None or agent.policy.config.cell == "mlp":
        return None
    tasks = family.sample(TASKS, substream(SEED, 0))
    environment = family.make(tasks, TRIALS, autoreset=True, horizon=HORIZON)
    bound = agent.policy.bind(agent.params)
    episodes = agent.config.episodes_per_trial
    played = collect_trials(bound, environment, substream(SEED, 1), episodes)
    environment.close()
    states = hidden_states(bound, played)
    unusual = torch.from_numpy(tasks.values[parameter.name] != parameter.default)
    known = unusual.view(1, -1, 1).expand(played.valid.shape)
    learns = torch.arange(TASKS).view(1, -1, 1) < LEARNED_FROM
    mine, others = played.valid & learns, played.valid & ~learns
    reader = _fit(parameter, states[mine].double(), known[mine])
    says = torch.from_numpy(reader.belief(states[others].numpy())) > 0.5
    return dataclasses.replace(reader, accuracy=float((says == known[others]).double().mean()))


@torch.inference_mode()
def hidden_states(bound: BoundPolicy, played: Trajectory) -> Float[Tensor, "T K E N"]:
    """Return the state of all blocks after each observation that was acted on."""
    policy = bound.policy
    steps, tasks, lanes = played.valid.shape
    state = policy.initial_state(tasks, lanes, played.observation)
    inputs, keep = played.inputs(policy), played.keep(policy)
    found = []
    for step in range(steps):
        _, state = bound.step(inputs[step], state, None if keep is None else keep[step])
        blocks = [torch.view_as_real(one).flatten(-2) if one.is_complex() else one for one in state]
        found.append(torch.cat(blocks, -1))
    return torch.stack(found)


def _fit(parameter: Parameter, states: Float[Tensor, "n N"], known: Bool[Tensor, "n"]) -> Reader:
    states, truth = states.clone(), known.double()
    mean, std = states.mean(0), states.std(0).clamp_min(1e-6)
    x = torch.cat([(states - mean) / std, torch.ones(len(states), 1, dtype=states.dtype)], -1)
    weight = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
    search = torch.optim.LBFGS([weight], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        error = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight, truth)
        total = error + PULL * weight[:-1].square().sum()
        total.backward()
        return total

    search.step(loss)
    return Reader(parameter, mean, std, weight.detach())


def moment(belief: Float[np.ndarray, "T"], *, surprise: bool) -> int | None:
    """Return the step from which a belief is right and sure, and stays so for a while."""
    right = belief >= SURE if surprise else belief <= 1.0 - SURE
    for step in range(len(right)):
        if right[step : step + LASTS].all():
            return step
    return None
