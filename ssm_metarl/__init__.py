"""Agents that adapt: state-space-model policies, meta-trained with MAML.

The names below are loaded when they are first used (PEP 562), so that ``import ssm_metarl`` and
``ssm-metarl --help`` do not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssm_metarl.adaptation.agent import Agent as Agent
    from ssm_metarl.adaptation.online import adapt as adapt
    from ssm_metarl.adaptation.session import Session as Session
    from ssm_metarl.env_runner.family import TaskFamily as TaskFamily
    from ssm_metarl.env_runner.registry import get_family as get_family
    from ssm_metarl.env_runner.registry import list_families as list_families
    from ssm_metarl.env_runner.registry import make as make
    from ssm_metarl.env_runner.registry import register as register
    from ssm_metarl.env_runner.tasks import Parameter as Parameter
    from ssm_metarl.env_runner.tasks import Tasks as Tasks
    from ssm_metarl.errors import CheckpointError as CheckpointError
    from ssm_metarl.errors import DivergenceError as DivergenceError
    from ssm_metarl.errors import EnvironmentFailure as EnvironmentFailure
    from ssm_metarl.errors import SsmMetaRLError as SsmMetaRLError
    from ssm_metarl.errors import StoreError as StoreError
    from ssm_metarl.errors import UserError as UserError
    from ssm_metarl.experience.buffer import ExperienceStore as ExperienceStore
    from ssm_metarl.training.config import TrainConfig as TrainConfig
    from ssm_metarl.training.loading import load as load
    from ssm_metarl.training.loading import save as save
    from ssm_metarl.training.loop import resume as resume
    from ssm_metarl.training.loop import train as train

__version__ = "0.1.0"

_HOME = {
    "Agent": "adaptation.agent",
    "adapt": "adaptation.online",
    "CheckpointError": "errors",
    "DivergenceError": "errors",
    "EnvironmentFailure": "errors",
    "ExperienceStore": "experience.buffer",
    "Parameter": "env_runner.tasks",
    "Session": "adaptation.session",
    "SsmMetaRLError": "errors",
    "StoreError": "errors",
    "TaskFamily": "env_runner.family",
    "Tasks": "env_runner.tasks",
    "TrainConfig": "training.config",
    "UserError": "errors",
    "get_family": "env_runner.registry",
    "list_families": "env_runner.registry",
    "load": "training.loading",
    "make": "env_runner.registry",
    "register": "env_runner.registry",
    "resume": "training.loop",
    "save": "training.loading",
    "train": "training.loop",
}


if not TYPE_CHECKING:  # a type checker that saw this would take any name for an export

    def __getattr__(name: str) -> object:
        """Load an exported name from the module it lives in."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List the exported names beside what is already loaded."""
    return sorted({*globals(), *_HOME})
