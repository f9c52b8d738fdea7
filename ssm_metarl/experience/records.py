"""A store's records and tasks, without their content."""

import json
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from ssm_metarl.env_runner.rollout import Trajectory

HELD = 2**63 - 1  # `until` of what has not been dropped
_CHECKED = struct.Struct("<6q")


class Record(NamedTuple):
    """A row of the table of records: one lane of a trajectory.

    Attributes:
        id: Grows with time.
        task: Id of its stored task.
        label: Of the policy that collected it.
        until: Label at which it was dropped, or `HELD`.
        steps: From its first to its last valid step.
        transitions: Valid steps.
        episodes: Complete ones.
        return_sum: Of the complete episodes.
        priority: Not used; stores of version 0.1 have it.
        behaviour_known: 1 if its log-probabilities are those of the policy that acted, or 0.
    """

    id: int
    task: int
    label: int
    until: int
    steps: int
    transitions: int
    episodes: int
    return_sum: float
    priority: int
    behaviour_known: int

    @property
    def checksum(self) -> int:
        """What the checksums of its chunks start from, to tie them to this record."""
        numbers = self.id, self.task, self.label, self.steps, self.transitions
        return zlib.crc32(_CHECKED.pack(*numbers, self.behaviour_known))


class State(NamedTuple):
    """Where a store stands, or stood when a tag was set: the newest label and the next ids.

    ``threshold`` is not used; ``changes`` counts transactions.
    """

    label: int
    next_task: int
    next_record: int
    threshold: int
    changes: int


def next_label(asked: int | None, now: State, tags: Sequence[State]) -> int:
    """Return the label of what is added: as asked, or the lowest one that is possible.

    Raises:
        ValueError: It is lower than one before, or than one that is tagged.
    """
    lowest = max([now.label, *(tag.label + 1 for tag in tags)])
    label = lowest if asked is None else asked
    if label < lowest:
        raise ValueError(f"label {label} is lower than {lowest}, and labels only grow")
    return label


@dataclass(frozen=True)
class StoredTask:
    """What a store holds of one task.

    Attributes:
        id: In this store; grows with time.
        label: Of the policy that collected it: the iteration of training.
        identity: The task's identity (`Tasks.index`) when it was collected.
        parameters: Its values by name.
        trajectories: How many are stored.
        episodes: Complete ones in them.
        transitions: Valid steps in them.
        mean_return: Of the complete episodes, some of which may have ended at the time limit of
            training; None if there are none.
        behaviour_known: Whether the log-probabilities of all its actions are known.
    """

    id: int
    label: int
    identity: int
    parameters: dict[str, float]
    trajectories: int
    episodes: int
    transitions: int
    mean_return: float | None
    behaviour_known: bool


def describe(
    trajectory: Trajectory,
    steps: Int[np.ndarray, "K E"],
    state: State,
    label: int,
    *,
    behaviour_known: bool,
) -> list[Record]:
    """Return the records of a trajectory's lanes, with the ids that come next in a state."""
    done, valid = trajectory.done.cpu(), trajectory.valid.cpu()
    clock = torch.arange(1, len(done) + 1).view(-1, 1, 1)
    last = (clock * done).amax(0)  # steps up to the end of the last complete episode
    returns = torch.where(clock <= last, trajectory.reward.cpu() * valid, 0.0).double().sum(0)
    columns = (torch.from_numpy(steps), valid.sum(0), done.sum(0), returns)
    lanes = zip(*(column.flatten().tolist() for column in columns), strict=True)
    return [
        Record(
            state.next_record + i,
            state.next_task + i // steps.shape[1],
            label,
            HELD,
            *numbers,
            priority=0,
            behaviour_known=int(behaviour_known),
        )
        for i, numbers in enumerate(lanes)
    ]


def parse_parameters(text: object) -> dict[str, float] | None:
    """Read a task's parameters; None if they are damaged."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
        if type(values) is dict and all(type(value) in (int, float) for value in values.values()):
            numbers = {name: float(value) for name, value in values.items()}
            if all(map(math.isfinite, numbers.values())):
                return numbers
    except (ValueError, OverflowError, RecursionError):
        pass
    return None
