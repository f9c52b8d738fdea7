"""The ways to meta-train gradient steps, and small learners of each."""

import dataclasses
from typing import Any

import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.meta_learner import MetaLearner
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.recipes import make_agent, make_policy

METHODS: dict[str, dict[str, Any]] = {
    "maml": {},
    "anil": {"adapts": "heads"},
    "cavia": {"adapts": "context", "inner_lr": 1.0},
    "loaded dice": {"surrogate": "loaded_dice"},
    "promp": {"mode": "promp"},
    "maml_trpo": {"mode": "maml_trpo"},
    "reptile": {"mode": "reptile"},
}
SMALL = {
    **{"tasks_per_epoch": 3, "episodes_per_task": 4, "inner_lr": 0.1, "support_steps": 20},
    **{"query_steps": 30, "width": 6, "state_size": 3, "compile": "off", "num_epochs": 10},
}


def config(method: str, family: str = "CartPole-v1", **changes: Any) -> TrainConfig:  # noqa: ANN401
    """Return the resolved settings of a small training."""
    settings = {**SMALL, **METHODS[method], **changes}
    return TrainConfig(env_name=family, **settings).resolve(get_family(family))


def learner(method: str, family: str = "CartPole-v1", **changes: Any) -> MetaLearner:  # noqa: ANN401
    """Return a small learner with initial parameters."""
    own = config(method, family, **changes)
    policy = make_policy(own, policy_spaces(get_family(family)))
    params = policy.init(torch.Generator().manual_seed(0))
    return LEARNERS[own.mode].load()(policy, get_family(family), params, vars(own))


def on_one_sign(cartpoles: TaskFamily) -> TaskFamily:
    """Return the CartPoles that are not swapped: all of them can be learned without adapting."""
    parameters = [
        dataclasses.replace(each, choices=(0.0,)) if each.name == "swap" else each
        for each in cartpoles.parameters
    ]
    return dataclasses.replace(cartpoles, parameters=tuple(parameters))


def agent(learning: MetaLearner, own: TrainConfig) -> Agent:
    """Return the agent that a learner defines."""
    return make_agent(learning.tensors, learning.policy, own, learning.family)


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of the tensors that differ."""
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def doubled(batch: Batch) -> Batch:
    """Return a batch in double precision."""
    behaviour = batch.behaviour
    if behaviour is not None:
        behaviour = dataclasses.replace(behaviour, **_doubles(behaviour))
    return dataclasses.replace(batch, **_doubles(batch), behaviour=behaviour)


def _doubles(of: object) -> dict[str, Any]:
    return {
        name: value.double()
        for name, value in vars(of).items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
