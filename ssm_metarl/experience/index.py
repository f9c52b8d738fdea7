"""Which records a store holds: kept in memory, and in step with the file."""

import sqlite3
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from ssm_metarl.experience.records import (
    HELD,
    State,
    delete_records,
    impossible,
    load_records,
    load_states,
    save_states,
    update_records,
)


class Index:
    """The records and states of a database; the caller wraps each use in a transaction.

    A record that is dropped stays in the file, hidden, as long as one of the two last tags may ask
    for it back: each tag is followed by a checkpoint, and a kill may come before or after that.

    Attributes:
        records: `[N]` of `RECORD`, hidden ones included, oldest first.
        states: The state ``now``, and those at the tags ``newer`` and ``older``.
        damaged: Ids of records that were found to be damaged.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path, self._database = path, database
        self.damaged: set[int] = set()
        self._load()

    def _load(self) -> None:
        self.records, self.states = load_records(self._database), load_states(self._database)
        self._held: np.ndarray | None = None
        for record in impossible(self.records).tolist():
            self.leave_out(record)

    def refresh(self) -> None:
        """Take in what another process, or an undone transaction of this one, has changed."""
        query = "SELECT changes FROM states WHERE name = 'now'"
        if self._database.execute(query).fetchone() != (self.states["now"].changes,):
            self._load()

    def forget(self) -> None:
        """Make the next `refresh` read everything anew."""
        self.states["now"] = self.states["now"]._replace(changes=-1)

    def held(self) -> np.ndarray:
        """Return the records that are neither hidden nor damaged."""
        if self._held is None:
            intact = ~np.isin(self.records["id"], list(self.damaged))
            self._held = self.records[(self.records["until"] == HELD) & intact]
        return self._held

    def leave_out(self, record: int) -> None:
        """Count a record as damaged, say so the first time, and hold it no longer."""
        self._held = None
        if record not in self.damaged:
            self.damaged.add(record)
            warnings.warn(
                f"{self._path}: trajectory {record} is damaged and is left out", stacklevel=2
            )

    def leave_out_task(self, task: int) -> None:
        """Count all records of a task as damaged, say so once, and hold them no longer."""
        records = set(self.records["id"][self.records["task"] == task].tolist())
        self._held, self.damaged = None, self.damaged | records
        warnings.warn(
            f"{self._path}: task {task} is damaged and is left out with its "
            f"{len(records)} trajectories",
            stacklevel=2,
        )

    def next_label(self, label: int | None) -> int:
        """Return the label of an addition: the given one, or the lowest possible.

        Raises:
            ValueError: It is too low: later ones are there, or tagged.
        """
        tagged = self.states["newer"].label + 1 if "newer" in self.states else 0
        lowest = max(self.states["now"].label, tagged)
        if label is not None and label < lowest:
            raise ValueError(f"label {label} is lower than {lowest}, and labels only grow")
        return lowest if label is None else label

    def admit(self, new: np.ndarray, tasks: int, capacity: int) -> Bool[np.ndarray, "n"]:
        """Take in records, drop the oldest beyond the capacity; return which new ones stay.

        The new rows and the content of those that stay are left to the caller to write.

        Args:
            new: `[n]` of `RECORD`, complete.
            tasks: How many new tasks they belong to.
            capacity: In transitions.
        """
        now, count = self.states["now"], len(self.records)
        label = int(new["label"][0])
        both = np.concatenate([self.records, new])
        held = both["until"] == HELD
        kept, newest_first = held.copy(), both["transitions"][held][::-1]
        kept[held] = (newest_first.cumsum() <= capacity)[::-1]
        dropped = held & ~kept
        both["until"][dropped] = label
        needed = self._needed(both[:count])
        update_records(self._database, both[:count][dropped[:count] & needed])
        self._keep(both, np.concatenate([needed, kept[count:]]), count)
        now = State(
            label=label,
            next_task=now.next_task + tasks,
            next_record=now.next_record + len(new),
            changes=now.changes + 1,
        )
        self._save(now, self.states.get("newer"), self.states.get("older"))
        return kept[count:]

    def tag(self, label: int) -> None:
        """Remember the present state under a label, and the tag before it; forget others.

        Raises:
            ValueError: There are later labels.
        """
        now, newer = self.states["now"], self.states.get("newer")
        if label < now.label:
            raise ValueError(f"label {label} is lower than {now.label}, and labels only grow")
        now = now._replace(label=label, changes=now.changes + 1)
        again = newer is not None and newer.label == label
        self._save(now=now, newer=now, older=self.states.get("older") if again else newer)
        self._keep(self.records, self._needed(self.records), len(self.records))

    def go_back(self, label: int) -> None:
        """Delete what has a later label; if this one is tagged, all is as it was at the tag."""
        now, records = self.states["now"], self.records
        tags = [m for name in ("newer", "older") if (m := self.states.get(name))]
        tags = [tag for tag in tags if tag.label <= label]
        back = (records["label"] <= label) & (records["until"] > label) & (records["until"] < HELD)
        records["until"][back] = HELD
        update_records(self._database, records[back])
        self._keep(records, records["label"] <= label, len(records))
        then = tags[0] if tags and tags[0].label == label else now
        then = then._replace(label=min(label, now.label), changes=now.changes + 1)
        self._save(then, *tags)
        self.damaged = {record for record in self.damaged if record < then.next_record}

    def _needed(self, records: np.ndarray) -> Bool[np.ndarray, "N"]:
        """Return which records are held, or were at a tag."""
        needed = records["until"] == HELD
        for name in ("newer", "older"):
            if tag := self.states.get(name):
                needed |= (records["label"] <= tag.label) & (records["until"] > tag.label)
        return needed

    def _keep(self, records: np.ndarray, kept: Bool[np.ndarray, "N"], written: int) -> None:
        """Hold on to some of the records; the others go, from the file too if they are there."""
        self._held = None
        if kept.all():
            self.records = records
            return
        self.records = records[kept]
        delete_records(self._database, records[:written][~kept[:written]], self.records)

    def _save(self, now: State, newer: State | None = None, older: State | None = None) -> None:
        states = {"now": now, "newer": newer, "older": older}
        self.states = {name: state for name, state in states.items() if state}
        save_states(self._database, self.states)
