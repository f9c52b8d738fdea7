"""Exchange with Minari (https://minari.farama.org), the common format of offline data sets.

Minari holds episodes, with actions in the environment's units. For stores that read them back, each
step has the infos ``log_prob``, ``policy_action`` (before scaling and clipping) and, where that is
known, ``success``, aligned as in Minari: entry t + 1 belongs to step t. Each episode's options name
its task.

A data set from elsewhere has no log-probabilities. What is imported from it is marked in the store:
it can be read only by a caller that allows NaN.
"""

import dataclasses
import importlib
import itertools
import json
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, flatten
from gymnasium.vector.utils import batch_space, iterate
from torch import Tensor

from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.env_runner.success import SUCCESS_KEYS
from ssm_metarl.env_runner.trajectory import side_by_side
from ssm_metarl.errors import UserError
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.experience.database import naming

# Minari wants two characters or more in a namespace.
_ID = re.compile(r"(?![\w-]/[^/]*$)(?:[\w-]+/)*[\w-]+-v[0-9]+")


def export_minari(store: ExperienceStore, dataset_id: str, family: TaskFamily) -> int:
    """Write all episodes of a store to a new local Minari data set.

    Minari knows neither dead steps nor trials, so each episode stands alone. One that did not end
    within its trajectory is truncated there, and its options say ``cut``. An id is such as
    ``cartpole/experience-v0``; the data set goes to ``MINARI_DATASETS_PATH``.

    Returns:
        The number of episodes.

    Raises:
        UserError: Minari is not installed, or the id is malformed or taken.
        StoreError: The store is damaged, or of another family. No data set is left behind.
    """
    with naming(store.path):
        store.identity.check(family)
    minari, spaces = _import_minari(dataset_id), policy_spaces(family)
    EpisodeBuffer = minari.data_collector.episode_buffer.EpisodeBuffer
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="minari")
        try:
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                buffer=[],
                observation_space=family.observation_space,
                action_space=family.action_space,
                description=f"Experience of {family.name}, written by ssm-metarl.",
            )
        except ValueError as error:
            raise UserError(f"{dataset_id}: {error}") from error
    try:
        for task in store.tasks():
            trajectory = store.trajectory(task.id, allow_unknown_behaviour=True)
            options = {"task": task.id, "parameters": json.dumps(task.parameters)}
            buffers = [EpisodeBuffer(**e) for e in _episodes(trajectory, spaces, options)]
            dataset.update_dataset_from_buffer(buffers)
    except BaseException:
        shutil.rmtree(Path(dataset.spec.data_path).parent)
        raise
    return len(dataset)


def import_minari(
    store: ExperienceStore,
    dataset_id: str,
    family: TaskFamily,
    task: Tasks | None = None,
    label: int | None = None,
) -> list[int]:
    """Add all episodes of a local Minari data set to a store; each becomes a trajectory.

    ``task`` is that of episodes whose options do not name one, by default the nominal one. The
    label is as in `ExperienceStore.add`.

    Returns:
        Ids of the stored tasks: one for each task that the data set names, or one for all.

    Raises:
        UserError: Minari is not installed, or there is no such data set, or it does not fit.
        StoreError: The store cannot take it; what was added before stays.
    """
    minari = _import_minari(dataset_id)
    try:
        dataset = minari.load_dataset(dataset_id)
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise UserError(f"{dataset_id}: no such Minari data set, or damaged: {error}") from error
    default, spaces, ids = family.nominal() if task is None else task, policy_spaces(family), []
    observed = _observed_space(dataset.observation_space, family)
    metadata = dataset.storage.get_episode_metadata(dataset.episode_indices)
    described = zip((m.get("options", {}) for m in metadata), dataset, strict=True)
    for _, group in itertools.groupby(described, lambda pair: pair[0].get("task")):
        lanes, tasks = [], default
        for options, episode in group:
            tasks = _task_of(options, family) or default
            try:
                if len(episode):
                    lane = _lane(vars(episode), options, spaces, observed)
                    success = _success(episode.infos or {}, len(episode), family)
                    lanes.append(dataclasses.replace(lane, success=success))
            except (ValueError, TypeError, LookupError) as error:
                raise UserError(f"episode {episode.id} cannot be imported: {error}") from error
        if lanes:
            joined = side_by_side(lanes)
            known = not joined.log_prob.isnan().any()
            ids += store.add(joined, tasks, label, behaviour_known=bool(known))
    return ids


def _import_minari(dataset_id: str) -> ModuleType:
    if not _ID.fullmatch(dataset_id):
        raise UserError(f"{dataset_id!r} is no Minari id; valid: such as cartpole/experience-v0")
    try:
        importlib.import_module("h5py")  # Minari would miss it much later
        return importlib.import_module("minari")
    except ImportError as error:
        raise UserError(
            "Minari is not installed: pip install 'ssm-metarl[minari]' (Python 3.11 or newer)"
        ) from error


def _episodes(
    trajectory: Trajectory, spaces: Spaces, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the fields of an episode, as Minari has them, for each one of a ``[T, 1, E]``."""
    actions = np.asarray(spaces.contained(trajectory.action))
    for lane in range(trajectory.valid.shape[2]):
        fields = {name: value[:, 0, lane].numpy() for name, value in trajectory.tensors().items()}
        dead = (~fields["valid"]).nonzero()[0]
        for first in fields["episode_start"].nonzero()[0]:
            stop = min([*dead[dead > first], len(actions)])
            steps = slice(first, stop)
            cut = not (fields["terminated"] | fields["truncated"])[stop - 1]
            truncations = fields["truncated"][steps].copy()
            truncations[-1] |= cut
            infos = [("log_prob", "log_prob"), ("policy_action", "action"), ("success", "success")]
            yield {
                "observations": fields["observation"][first : stop + 1],
                "actions": actions[steps, 0, lane],
                "rewards": fields["reward"][steps],
                "terminations": fields["terminated"][steps],
                "truncations": truncations,
                "infos": {  # aligned with observations, so with one more before the first step
                    info: np.insert(fields[name][steps], 0, 0, axis=0)
                    for info, name in infos
                    if name in fields
                },
                "options": {**options, "cut": cut},
            }


def _observed_space(data: gymnasium.Space, family: TaskFamily) -> gymnasium.Space:
    """Return the space of a data set's observations: as agents see them, or before flattening.

    For the latter the data set's own space will not do: Minari sorts the keys of a Dict.
    """
    if isinstance(data, Box) and data.shape == family.observation_space.shape:
        return family.observation_space
    env = family.gymnasium(family.nominal())
    env.close()
    inner = env.env if isinstance(env, gymnasium.wrappers.FlattenObservation) else env
    return inner.observation_space


def _lane(
    episode: dict[str, Any], options: dict[str, Any], spaces: Spaces, observed: gymnasium.Space
) -> Trajectory:
    """Return an episode of Minari, given by its attributes, as a `Trajectory` ``[T, 1, 1]``.

    Raises:
        LookupError: A part of an observation is missing, or not one of its space.
        ValueError: It goes on after its end, or has an odd shape.
    """
    size, infos = len(episode["rewards"]), episode["infos"] or {}
    terminated = np.asarray(episode["terminations"], dtype=bool)
    truncated = np.asarray(episode["truncations"], dtype=bool) & ~terminated
    if (terminated | truncated)[:-1].any():
        raise ValueError("it goes on after its end")
    truncated[-1] &= not options.get("cut", False)
    steps = iterate(batch_space(observed, size + 1), episode["observations"])
    observation = np.array([flatten(observed, step) for step in steps], np.float32)
    if len(observation) != size + 1:
        raise ValueError(f"it has {len(observation)} observations for {size} steps")
    log_prob = np.asarray(infos.get("log_prob", np.full(size + 1, np.nan)))[1:]
    if "policy_action" in infos:
        action = np.asarray(infos["policy_action"])[1:]
    else:
        action = spaces.from_environment(np.asarray(episode["actions"]))
    fields = {
        "action": action,
        "observation": observation,
        "reward": np.asarray(episode["rewards"], dtype=np.float32),
        "log_prob": log_prob.astype(np.float32),
        "terminated": terminated,
        "truncated": truncated,
        "valid": np.ones(size, dtype=bool),
        "episode_start": np.arange(size + 1) == 0,
    }
    return Trajectory(**{n: torch.from_numpy(value)[:, None, None] for n, value in fields.items()})


def _success(infos: Mapping[str, Any], steps: int, family: TaskFamily) -> Tensor | None:
    """Return what an episode's infos say of success, ``[T, 1, 1]``; None if that is nothing.

    Raises:
        ValueError: It is not said of every step.
    """
    for key in (family.success_key, *SUCCESS_KEYS):
        if key in infos:
            said = np.asarray(infos[key])[-steps:].reshape(steps, -1)  # first comes that of reset
            return torch.from_numpy(said.astype(bool).any(1))[:, None, None]
    return None


def _task_of(options: dict[str, Any], family: TaskFamily) -> Tasks | None:
    """Return the task that an episode's options name, if they do."""
    if "parameters" not in options:
        return None
    try:
        return family.task(**json.loads(options["parameters"]))
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"an episode of the data set says a task that is none: {error}") from error
