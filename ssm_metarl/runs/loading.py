"""From a run's folder to an agent that acts."""

import dataclasses
from pathlib import Path

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.runs.checkpoint import load_checkpoint
from ssm_metarl.runs.learners import make_agent
from ssm_metarl.runs.training import CHECKPOINT, EXPERIENCE, read_config, run_family


def load(run_dir: str | Path, *, trust_env_code: bool = False) -> Agent:
    """Load the best agent of a run.

    Args:
        run_dir: The folder that ``train`` wrote.
        trust_env_code: Allow it to name an environment as module:Env-v0, which runs code.

    Raises:
        UserError: The folder is not a run.
        CheckpointError: Its checkpoint is missing, damaged or not of this run.
    """
    folder = Path(run_dir)
    config = read_config(folder, trust_env_code=trust_env_code)
    checkpoint = load_checkpoint(folder / CHECKPOINT)
    agent = make_agent(checkpoint.tensors, config, run_family(config))
    return dataclasses.replace(agent, experience=folder / EXPERIENCE)
