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
    from ssm_metarl.deployment.export import export as export
    from ssm_metarl.env_runner.family import TaskFamily as TaskFamily
    from ssm_metarl.env_runner.family_file import read_family as read_family
    from ssm_metarl.env_runner.registry import get_family as get_family
    from ssm_metarl.env_runner.registry import list_families as list_families
    from ssm_metarl.env_runner.registry import make as make
    from ssm_metarl.env_runner.registry import register as register
    from ssm_metarl.env_runner.task_set import Tasks as Tasks
    from ssm_metarl.env_runner.tasks import Parameter as Parameter
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
    from ssm_metarl.training.publish import push_to_hub as push_to_hub

__version__ = "0.2.0"

_EXPORTS = {
    "adaptation.agent": "Agent",
    "adaptation.online": "adapt",
    "adaptation.session": "Session",
    "deployment.export": "export",
    "env_runner.family": "TaskFamily",
    "env_runner.family_file": "read_family",
    "env_runner.registry": "get_family list_families make register",
    "env_runner.task_set": "Tasks",
    "env_runner.tasks": "Parameter",
    "errors": "CheckpointError DivergenceError EnvironmentFailure SsmMetaRLError StoreError "
    "UserError",
    "experience.buffer": "ExperienceStore",
    "training.config": "TrainConfig",
    "training.loading": "load save",
    "training.loop": "resume train",
    "training.publish": "push_to_hub",
}
_HOME = {name: home for home, names in _EXPORTS.items() for name in names.split()}

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
