"""Small agents that have learned nothing: what is tested is what becomes of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces

MakeAgent = Callable[..., Agent]


@pytest.fixture(scope="session")
def make_agent() -> MakeAgent:
    """Build an agent for a family; keywords are those of the network."""

    def make(name: str = "CartPole-v1", *, horizon: int = 20, **network: object) -> Agent:
        family = get_family(name)
        config = replace(PolicyConfig(width=8, state_size=4), **network)  # pyright: ignore[reportArgumentType]
        policy = Policy(config, policy_spaces(family))
        params = policy.init(torch.Generator().manual_seed(0))
        # Livelier than at birth, so that what is seen and remembered shows in what is done.
        params["action.weight"] = 100.0 * params["action.weight"]
        return Agent(policy, params, 0.1, AdaptationConfig(horizon=horizon), name)

    return make


@pytest.fixture(scope="session")
def agent(make_agent: MakeAgent) -> Agent:
    """An agent for CartPole-v1."""
    return make_agent()
