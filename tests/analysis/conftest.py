"""Agents that the tests of the analyses look into."""

from pathlib import Path

import pytest

import ssm_metarl
from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.training.loading import load

PRETRAINED = Path(ssm_metarl.__file__).parent / "pretrained"


@pytest.fixture(scope="session")
def cartpole() -> TaskFamily:
    return get_family("CartPole-v1")


@pytest.fixture(scope="session")
def agent() -> Agent:
    """It came with experience, and adapts by gradient steps."""
    return load(PRETRAINED / "cartpole")


@pytest.fixture(scope="session")
def in_context_agent() -> Agent:
    """It adapts in its hidden state."""
    return load(PRETRAINED / "cartpole-in-context")
