"""Adding to a store: from the lanes of a trajectory to records, tasks and their rows."""

import sqlite3
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import StoreError
from ssm_metarl.experience.identity import Identity
from ssm_metarl.experience.index import Index
from ssm_metarl.experience.records import describe, insert_records, insert_tasks


@dataclass(frozen=True)
class Addition:
    """What is to be added, checked and packed before the file is touched.

    Attributes:
        identity: Of the store.
        tasks: K tasks.
        records: `[n]` of `RECORD`, one for each lane; ids count from 0.
        rows: Their content.
    """

    identity: Identity
    tasks: Tasks
    records: np.ndarray
    rows: Int32[np.ndarray, "n T1 W"]

    @classmethod
    def of(
        cls, trajectory: Trajectory, tasks: Tasks, identity: Identity, *, behaviour_known: bool
    ) -> "Addition":
        """Pack a trajectory for a store; arguments are those of `ExperienceStore.add`.

        Raises:
            StoreError: It does not fit the store, or a lane is larger than its capacity.
        """
        words, steps = identity.layout.pack(trajectory, behaviour_known=behaviour_known)
        records = describe(trajectory, steps, behaviour_known=behaviour_known)
        if len(tasks) != len(steps):
            raise StoreError(f"{len(tasks)} tasks do not fit a trajectory of {len(steps)}")
        if (largest := records["transitions"].max()) > identity.capacity:
            raise StoreError(
                f"a trajectory of {largest} transitions is more than the capacity of "
                f"{identity.capacity}"
            )
        rows = words.reshape(len(records), -1, identity.layout.row_words)
        return cls(identity, tasks, records, rows)

    def write(self, database: sqlite3.Connection, index: Index, label: int | None) -> list[int]:
        """Write what the store has room for, within a transaction; return the ids of the tasks.

        Raises:
            ValueError: The label is too low.
        """
        new, tasks = self.records, self.tasks
        now = index.states["now"]
        new["label"] = label = index.next_label(label)
        new["id"] += now.next_record
        new["task"] += now.next_task
        stays = index.admit(new, len(tasks), self.identity.capacity)
        ids = np.arange(now.next_task, now.next_task + len(tasks))
        used = np.isin(ids, new["task"][stays])
        insert_tasks(database, ids[used].tolist(), tasks[used], label)
        insert_records(database, new[stays], self.rows[stays])
        return ids.tolist()
