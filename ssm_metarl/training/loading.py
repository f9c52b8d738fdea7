"""From a folder on disk to an agent that acts, and back."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig, saved_adaptation
from ssm_metarl.checkpoint.fields import read_fields
from ssm_metarl.checkpoint.files import write_text_atomically
from ssm_metarl.checkpoint.format import Checkpoint, load_checkpoint, save_checkpoint
from ssm_metarl.core.config import from_settings
from ssm_metarl.core.parameters import partition
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.shipped import shipped
from ssm_metarl.core.torch_state import in_usual_torch
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.software import warn_of_simulators
from ssm_metarl.errors import CheckpointError, UserError
from ssm_metarl.hub.client import is_address, read_address
from ssm_metarl.hub.download import fetch
from ssm_metarl.meta_rl.inner_rule import adapted_leaves
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import load_agent
from ssm_metarl.training.loop import CHECKPOINT, EXPERIENCE
from ssm_metarl.training.run_family import FAMILY, find_family, kept_family, run_family
from ssm_metarl.training.saved import CONFIG, check_same_shapes, part, read_config, read_spaces

AGENT = "agent"  # the folder, and the key of the settings in its manifest
ADAPTATION_SETTINGS = {
    "inner_lr": "inner_lr",
    "inner_steps": "inner_steps",
    "support_steps": "horizon",
    "discount": "discount",
    "gae_lambda": "gae_lambda",
    "surrogate": "surrogate",
    "adapts": "adapts",
    "episodes_per_task": "episodes",
    "episodes_per_trial": "episodes_per_trial",
    "trust": "trust",
    "adapted_std": "adapted_std",
}
"""The settings of training that a saved agent adapts by, and its name for each."""


@in_usual_torch
def load(folder: str | Path, *, revision: str | None = None, trust_env_code: bool = False) -> Agent:
    """Load the best agent of a run, or one that was saved by itself.

    Args:
        folder: What ``train`` or :func:`save` wrote; or ``pretrained/cartpole`` or
            ``pretrained/cartpole-in-context``, which come with the package; or ``hf://owner/name``,
            a repository on the Hugging Face Hub, also as ``hf://owner/name@revision``.
        revision: Of a repository on the Hub: a branch, tag or commit; None for the newest.
        trust_env_code: Allow a run to name its environment as module:Env-v0, which runs code.

    Raises:
        UserError: The folder is neither.
        SsmMetaRLError: The Hub cannot be reached.
        CheckpointError: What it holds is missing, damaged or does not fit together.
    """
    folder = locate(folder, revision)
    if not (folder / CONFIG).exists() and (folder / AGENT).is_dir():
        agent = _read_agent(load_checkpoint(folder / AGENT), str(folder / AGENT))
        warn_of_simulators(str(folder), agent.simulators)
        return dataclasses.replace(agent, family_source=kept_family(folder))
    config = read_config(folder, trust_env_code=trust_env_code)
    checkpoint = load_checkpoint(folder / CHECKPOINT)
    family = run_family(config, folder)
    agent = load_agent(checkpoint, config.resolve(family), family)
    run = checkpoint.meta.get("run")
    if run is not None and not isinstance(run, str):
        raise CheckpointError(f"{folder / CHECKPOINT}: run cannot be {run!r}")
    software = checkpoint.meta.get("software", {})
    simulators = {name: str(software[name]) for name in family.simulators if name in software}
    warn_of_simulators(str(folder), simulators)
    experience = (folder / EXPERIENCE).absolute()
    return dataclasses.replace(agent, experience=experience, run=run, simulators=simulators)


def locate(folder: str | Path, revision: str | None = None) -> Path:
    """Return where a run is: the folder itself, or where one of the Hub has been downloaded to.

    Raises:
        UserError: It is ``hf://...``, and there is none; or no such thing, and has a revision.
        SsmMetaRLError: The Hub cannot be reached.
    """
    if not is_address(folder):
        if revision is not None:
            raise UserError(
                f"{folder} is a folder, which has no revision {revision!r}; leave it out"
            )
        return shipped(Path(folder))
    name, own = read_address(str(folder))
    if own and revision:
        raise UserError(f"{folder} names a revision already; leave out revision={revision!r}")
    return fetch(name, own or revision)


def save(agent: Agent, folder: str | Path) -> Path:
    """Save an agent by itself, such as an adapted one; :func:`load` reads it back exactly.

    Raises:
        UserError: The folder holds something.
        CheckpointError: It cannot be written; nothing is left half-written.
    """
    if not isinstance(agent, Agent):
        raise UserError(f"{type(agent).__name__} is not an agent; pass one, such as progress.agent")
    folder = Path(folder)
    check_free(folder)
    tensors, meta = _agent_state(agent)
    try:
        save_checkpoint(folder / AGENT, tensors, meta)
        if agent.family_source:
            write_text_atomically(folder / FAMILY, agent.family_source)
    except CheckpointError:
        with contextlib.suppress(OSError):  # an empty folder would stand in the way of a retry
            (folder / AGENT).rmdir()
        raise
    return folder


def check_free(folder: Path) -> None:
    """Refuse to save where something is.

    Raises:
        UserError: The folder is not empty, or no folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists; name a new folder")


def agent_family(agent: Agent, *, trust_env_code: bool = False) -> TaskFamily:
    """Return the family an agent was trained on.

    Raises:
        UserError: It is not known here.
    """
    return find_family(
        agent.family, agent.family_source, "the agent", trust_env_code=trust_env_code
    )


def _agent_state(agent: Agent) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of an agent, and its settings, for a checkpoint."""
    rates = agent.rates if isinstance(agent.rates, Mapping) else {}
    tensors = {f"params/{name}": value for name, value in agent.params.items()}
    tensors |= {f"rates/{name}": value for name, value in rates.items()}
    settings = {
        "policy": dataclasses.asdict(agent.policy.config),
        "spaces": dataclasses.asdict(agent.policy.spaces),
        "config": dataclasses.asdict(agent.config),
        "family": agent.family,
        "simulators": dict(agent.simulators),
    }
    return tensors, {AGENT: settings}


def _as_trained(family: Any, network: PolicyConfig, config: AdaptationConfig) -> TrainConfig:  # noqa: ANN401 (it is checked)
    """Return settings of a training that an agent may come from, if its own are valid."""
    own = {setting: getattr(config, name) for setting, name in ADAPTATION_SETTINGS.items()}
    if config.inner_steps == 0:  # training took none, which no setting says
        own["inner_steps"] = 1
    return from_settings(TrainConfig, {**vars(network), **own}, mode="rl2", env_name=family)


def _read_agent(checkpoint: Checkpoint, source: str) -> Agent:
    """Build an agent that was saved by itself; `source`, where it lies, is for messages.

    Raises:
        CheckpointError: Its settings are missing, malformed, or do not fit its tensors.
    """
    try:
        settings: dict[str, Any] = checkpoint.meta[AGENT]
        network = read_fields(PolicyConfig, settings["policy"], "policy")
        spaces = read_spaces(settings["spaces"], "spaces")
        config = read_fields(AdaptationConfig, saved_adaptation(settings["config"]), "config")
        simulators = settings.get("simulators", {})
        if not isinstance(simulators, dict):
            raise UserError(f"simulators cannot be {simulators!r:.80}")
        family = _as_trained(settings["family"], network, config).env_name
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{source}: is not a saved agent: {error} is missing") from error
    except UserError as error:
        raise CheckpointError(f"{source}: {error}") from error
    policy = Policy(network, spaces)
    with torch.device("meta"):  # shapes alone: a network that was never saved takes no memory
        shapes = policy.init(torch.Generator())
    expected = {f"params/{name}": value for name, value in shapes.items()}
    if any(name.startswith("rates/") for name in checkpoint.tensors):
        rated, _ = partition(shapes, policy.leaves, adapted_leaves(config.adapts))
        expected |= {f"rates/{name}": value for name, value in rated.items()}
    check_same_shapes(checkpoint.tensors, expected)
    params = {name: checkpoint.tensors[f"params/{name}"] for name in policy.leaves}
    rates = part(checkpoint.tensors, "rates/")
    return Agent(policy, params, rates or config.inner_lr, config, family, simulators=simulators)
