"""Agents with other kinds of cells."""

import dataclasses

import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.policy import Policy, PolicyConfig


def with_cell(agent: Agent, cell: str, **settings: object) -> Agent:
    """Return an untrained agent with another kind of cell, without experience."""
    config = dataclasses.replace(PolicyConfig(cell=cell, width=4, state_size=3), **settings)
    policy = Policy(config, agent.policy.spaces)
    params = policy.init(torch.Generator().manual_seed(0))
    return dataclasses.replace(agent, policy=policy, params=params, experience=None)
