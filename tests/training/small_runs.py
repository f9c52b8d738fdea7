"""Small runs, and what is compared of them."""

import dataclasses
from pathlib import Path

import torch

from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.experience.records import StoredTask
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import EXPERIENCE
from ssm_metarl.training.metrics import read_metrics

META = TrainConfig(
    num_epochs=4,
    tasks_per_epoch=2,
    episodes_per_task=2,
    support_steps=20,
    query_steps=20,
    validate_every=2,
    validation_tasks=2,
    width=8,
    state_size=4,
)
ONE = dataclasses.replace(META, num_epochs=1)
CONFIGS = {
    "meta_rl": META,
    "learned rates": dataclasses.replace(META, learn_inner_lr=True),
    "memory of a trial": dataclasses.replace(
        META, memory="trial", episodes_per_trial=2, surrogate="emaml"
    ),
    "little experience": dataclasses.replace(META, experience=70),
    "cavia": dataclasses.replace(META, adapts="context", context_size=3),
    "promp": dataclasses.replace(META, mode="promp", inner_steps=2),
    "reptile": dataclasses.replace(META, mode="reptile"),
    "maml_trpo": dataclasses.replace(META, mode="maml_trpo", learn_inner_lr=True),
    "rl2": dataclasses.replace(META, mode="rl2", episodes_per_trial=2),
    "policy_gradient": dataclasses.replace(META, mode="policy_gradient", num_episodes=32),
}


def outcome(run_dir: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    records = read_metrics(run_dir / "metrics.jsonl")
    for record in records:
        del record["seconds"]
    return records, load_checkpoint(run_dir / "checkpoint").tensors


def stored(run_dir: Path) -> list[tuple[StoredTask, dict[str, torch.Tensor]]]:
    """What a run has kept of the tasks it met."""
    if not (run_dir / EXPERIENCE).exists():
        return []
    with ExperienceStore.open(run_dir / EXPERIENCE) as store:
        return [(task, store.trajectory(task.id).tensors()) for task in store.tasks()]


def assert_same(first: Path, second: Path) -> None:
    (records, tensors), (others, other_tensors) = outcome(first), outcome(second)
    assert records == others
    assert tensors.keys() == other_tensors.keys()
    assert all(torch.equal(tensors[name], other_tensors[name]) for name in tensors)
    for (task, trajectory), (other, other_trajectory) in zip(
        stored(first), stored(second), strict=True
    ):
        assert task == other
        assert all(torch.equal(trajectory[name], other_trajectory[name]) for name in trajectory)
