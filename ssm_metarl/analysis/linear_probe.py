"""Linear probe: how well the hidden state tells which kind of task the agent is in.

The probe is a logistic regression from the hidden state of a single step to whether a categorical
task parameter (such as CartPole's ``swap``) has another value than usual, after Alain and Bengio
2016 (arXiv:1610.01644). It is fitted on training tasks and tested on others.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.policy import BoundPolicy, State
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory, collect_trials
from ssm_metarl.env_runner.streams import substream

SEED = SeedSequence(0x72656164)
TASKS, FITTED_TASKS = 72, 48  # the probe is fitted on the first ones and tested on the rest
LANES, HORIZON = 2, 100
L2 = 1e-2  # weight of the squared norm of the weights in the loss
MOST_CHOICES = 16  # more kinds of tasks are too many to tell apart
CONFIDENT = 0.9
CONFIDENT_STEPS = 10


@dataclass(frozen=True)
class LinearProbe:
    """Logistic regression from a hidden state ``[N]`` to a property of the task.

    The property is that a categorical parameter has another value than the default one. The mean
    and standard deviation are of the states it was fitted on, the weights of standardised states.
    """

    parameter: Parameter
    mean: Float[Tensor, "N"]
    std: Float[Tensor, "N"]
    weight: Float[Tensor, "N"]
    bias: float
    accuracy: float = 0.0
    """Share of the steps of other tasks at which it is right."""

    def probability(self, states: Float[np.ndarray, "T N"]) -> Float[np.ndarray, "T"]:
        """Return the probability of the property at each step, from that step's state alone."""
        scaled = (torch.from_numpy(states).double() - self.mean) / self.std
        return (scaled @ self.weight + self.bias).sigmoid().numpy()


def probed_parameter(family: TaskFamily) -> Parameter | None:
    """Return the first parameter of a family with few choices."""
    few = (p for p in family.parameters if p.varies and 0 < len(p.choices) <= MOST_CHOICES)
    return next(few, None)


def train_probe(agent: Agent, family: TaskFamily) -> LinearProbe | None:
    """Fit and test a probe on whole trials of training tasks.

    Returns None if the family has no categorical parameter, or the agent no memory.
    """
    parameter = probed_parameter(family)
    if parameter is None or agent.policy.config.cell == "mlp":
        return None
    tasks = family.sample(TASKS, substream(SEED, 0))
    environment = family.make_vec(tasks, LANES, autoreset=True, horizon=HORIZON)
    bound = agent.policy.bind(agent.params)
    episodes = agent.config.episodes_per_trial
    played = collect_trials(bound, environment, substream(SEED, 1), episodes)
    environment.close()
    states = hidden_states(bound, played)
    unusual = torch.from_numpy(tasks.values[parameter.name] != parameter.default)
    labels = unusual.view(1, -1, 1).expand(played.valid.shape)
    fitted = torch.arange(TASKS).view(1, -1, 1) < FITTED_TASKS
    train, test = played.valid & fitted, played.valid & ~fitted
    probe = fit_probe(parameter, states[train], labels[train])
    predicted = torch.from_numpy(probe.probability(states[test].numpy())) > 0.5
    accuracy = float((predicted == labels[test]).double().mean())
    return dataclasses.replace(probe, accuracy=accuracy)


def flat_state(state: State) -> Float[Tensor, "K E N"]:
    """Return the state of all blocks side by side."""
    return torch.cat(state, -1)


@torch.inference_mode()
def hidden_states(bound: BoundPolicy, played: Trajectory) -> Float[Tensor, "T K E N"]:
    """Return the state of all blocks after each observation that was acted on."""
    policy = bound.policy
    steps, tasks, lanes = played.valid.shape
    state = policy.initial_state(tasks, lanes, played.observation)
    inputs, keep = played.inputs(policy), played.keep(policy)
    states = []
    for step in range(steps):
        _, state = bound.step(inputs[step], state, None if keep is None else keep[step])
        states.append(flat_state(state))
    return torch.stack(states)


def fit_probe(
    parameter: Parameter, states: Float[Tensor, "n N"], labels: Bool[Tensor, "n"]
) -> LinearProbe:
    """Minimise the mean cross-entropy plus ``L2`` times the squared norm of the weights."""
    states, target = states.double(), labels.double()
    mean, std = states.mean(0), states.std(0).clamp_min(1e-6)
    x = (states - mean) / std
    weight = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros((), dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = x @ weight + bias
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        loss = loss + L2 * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return LinearProbe(parameter, mean, std, weight.detach(), float(bias.detach()))


def first_confident_step(probability: Float[np.ndarray, "T"], *, label: bool) -> int | None:
    """Return the first of ``CONFIDENT_STEPS`` steps in a row at which a probe is right and sure.

    ``label`` says whether the task has the property of which the probability is.
    """
    right = probability >= CONFIDENT if label else probability <= 1.0 - CONFIDENT
    starts = (s for s in range(len(right)) if right[s : s + CONFIDENT_STEPS].all())
    return next(starts, None)
