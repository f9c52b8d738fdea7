"""The experience store: whole trajectories of many tasks on disk."""

import itertools
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.software import versions
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import StoreError, check_whole
from ssm_metarl.experience import tables
from ssm_metarl.experience.database import create_database, naming, open_database, transaction
from ssm_metarl.experience.identity import MAX_CAPACITY, Identity
from ssm_metarl.experience.layout import Layout
from ssm_metarl.experience.records import Record, StoredTask, describe, next_label


class ExperienceStore:
    """Trajectories of the tasks of one family, in one file; see `create` and `open`.

    One process writes while any number of others read. Each change happens completely or not at
    all, even if the writer is killed. Every record has checksums: a damaged one is left out with a
    warning and counted, and the others stay. An object may be used by one thread at a time.

    Attributes:
        path: The file. While a store is open for writing, ``<file>-wal`` belongs to it.
        writable: Whether it is open for writing.
        identity: Its family, the sizes of observations and actions, its capacity, its run.
    """

    def __init__(self, path: Path, family: TaskFamily | None = None, *, writable: bool) -> None:
        self.path, self.writable = path, writable
        self._damaged: set[int] = set()
        self._closed = False
        self._database = open_database(path, writable=writable)
        try:
            with self._reading():
                self.identity = Identity.read(self._database)
                if family is not None:
                    self.identity.check(family)
                self._leave_out(tables.check_tables(self._database))
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def create(
        cls,
        path: str | Path,
        family: TaskFamily,
        *,
        capacity: int = 1_000_000,
        run: str | None = None,
    ) -> "ExperienceStore":
        """Create a store and open it for writing.

        Args:
            path: The file, which must not exist.
            family: What it will hold experience of.
            capacity: Most transitions (valid steps); beyond it the oldest trajectories are dropped.
            run: Fingerprint of the run whose agent will play, as ``Agent.run`` has it.

        Raises:
            UserError: The capacity is out of range.
            StoreError: The file exists or cannot be written.
        """
        capacity = check_whole("capacity", capacity, 1, MAX_CAPACITY)
        simulators = versions(family.simulators)
        identity = Identity(family.name, Layout.of(family), capacity, run, simulators)
        create_database(Path(path), identity.to_meta())
        return cls(Path(path), writable=True)

    @classmethod
    def open(
        cls, path: str | Path, family: TaskFamily | None = None, *, writable: bool = False
    ) -> "ExperienceStore":
        """Open an existing store, also while another process writes to it.

        Raises:
            StoreError: It is missing, damaged, not a store, or of another family than the given.
        """
        return cls(Path(path), family, writable=writable)

    def check_run(self, run: str | None) -> None:
        """Refuse an agent of another run with a StoreError; a store may name no run."""
        with naming(self.path):
            self.identity.check_run(run)

    def close(self) -> None:
        """Close; what was written is then in the one file, which can be copied.

        Raises:
            StoreError: The disk is full. Nothing is lost, but ``<file>-wal`` belongs to the store.
        """
        if not self._closed:
            self._closed = True
            with naming(self.path, "cannot be merged into one file: "), closing(self._database):
                if self.writable:
                    self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def __enter__(self) -> "ExperienceStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(
        self,
        trajectory: Trajectory,
        tasks: Tasks,
        label: int | None = None,
        *,
        behaviour_known: bool = True,
    ) -> list[int]:
        """Add every lane of a trajectory, all or nothing, and drop the oldest beyond the capacity.

        Lanes with an episode in which the environment broke down are left out.

        Args:
            trajectory: ``[T, K, E]``, float32; each lane starts with an episode and is stored up to
                its last valid step.
            tasks: Its K tasks, which become K new stored tasks.
            label: Of the policy that collected it, such as the iteration; labels never decrease.
                None for the newest one, or one more if that is tagged.
            behaviour_known: Whether the log-probabilities are known; otherwise NaN is stored.

        Returns:
            Ids of the K stored tasks, including those dropped at once for lack of room.

        Raises:
            StoreError: The data does not fit, or the disk is full. The store is unchanged.
        """
        layout, capacity = self.identity.layout, self.identity.capacity
        rows, steps = layout.pack(trajectory, behaviour_known=behaviour_known)
        if len(tasks) != len(steps):
            raise StoreError(f"{len(tasks)} tasks do not fit a trajectory of {len(steps)}")
        if (largest := int(trajectory.valid.sum(0).max())) > capacity:
            raise StoreError(
                f"a trajectory of {largest} transitions is more than the capacity of {capacity}"
            )
        with self._writing("cannot be added to: "):
            now, *tags = tables.load_states(self._database)
            label = next_label(label, now, tags)
            new = describe(trajectory, steps, now, label, behaviour_known=behaviour_known)
            sound = (~trajectory.failed.any(0)).cpu().numpy().ravel()
            kept = [record for record, good in zip(new, sound, strict=True) if good]
            padded = rows.reshape(len(new), -1, rows.shape[-1])[sound]
            tables.insert(self._database, kept, padded, tasks, now.next_task)
            tables.drop_oldest(self._database, capacity, label)
            after = now._replace(
                label=label,
                next_task=now.next_task + len(tasks),
                next_record=now.next_record + len(new),
            )
            tables.save_states(self._database, after, *tags)
        return list(range(now.next_task, after.next_task))

    def tag(self, label: int) -> None:
        """Remember what the store holds now, to go back to it with `truncate_after`.

        Call this right before a checkpoint is saved. The last two tags are remembered, because a
        run may be killed before or after that checkpoint is saved. What they remember stays in the
        file, which may then take three times its capacity. The tag survives a power cut.

        Raises:
            StoreError: The label is lower than one before, or the disk is full.
        """
        with self._writing("cannot be tagged: ", durable=True):
            now, *tags = tables.load_states(self._database)
            if label < now.label:
                raise ValueError(f"label {label} is lower than {now.label}, and labels only grow")
            now = now._replace(label=label)
            earlier = [tag for tag in tags if tag.label < label]
            tables.save_states(self._database, now, now, *earlier[:1])

    def truncate_after(self, label: int) -> None:
        """Delete what was added with later labels, so that a resumed run continues from there.

        If the label is one of the last two tags, everything is exactly as it was then, including
        the next ids. Otherwise what the later additions displaced may be lost, and their ids are
        not used again.
        """
        with self._writing("cannot be truncated: "):
            now, *tags = tables.load_states(self._database)
            tags = [tag for tag in tags if tag.label <= label]
            then = tags[0] if tags and tags[0].label == label else now
            then = then._replace(label=min(label, now.label), changes=now.changes)
            tables.restore(self._database, label)
            tables.save_states(self._database, then, *tags)
        self._damaged = {record for record in self._damaged if record < then.next_record}

    @property
    def transitions(self) -> int:
        """Valid steps held."""
        with self._reading():
            return sum(record.transitions for record in self._held())

    @property
    def trajectories(self) -> int:
        """How many records it holds, one for each lane of what was added."""
        with self._reading():
            return len(self._held())

    @property
    def damaged(self) -> int:
        """Records that were found damaged when they, or their task, were read; left out since."""
        return len(self._damaged)

    def tasks(self) -> list[StoredTask]:
        """Return a summary of each stored task, oldest first; a damaged one is left out."""
        with self._reading():
            return [stored for stored, _ in self._tasks()]

    def trajectory(self, task: int, *, allow_unknown_behaviour: bool = False) -> Trajectory:
        """Return all that is stored of a task, as one ``[T, 1, E]``, padded with dead steps.

        Equal to what was added, except that actions and log-probabilities after a lane's last valid
        step are 0.

        Args:
            task: Id of the stored task.
            allow_unknown_behaviour: Whether log-probabilities may be NaN because the policy that
                acted is not known: no importance weight can correct for it.

        Raises:
            StoreError: There is no such task, its behaviour is not known, or it is too large.
        """
        with self._reading():
            found = self._read(self._held(f"task = {task:d}"), allow_unknown_behaviour)
            if found is None:
                raise ValueError(f"holds no task {task}")
        return found

    def newest(self, most: int) -> dict[int, Trajectory]:
        """Return at most so many of the newest tasks that are not damaged, oldest first, by id.

        Raises:
            UserError: ``most`` is not a whole number from 1 up.
            StoreError: The behaviour of one is not known, or it is too large.
        """
        most = check_whole("most", most, 1)
        found: dict[int, Trajectory] = {}
        with self._reading():
            for stored, records in reversed(self._tasks()):
                if len(found) < most and (trajectory := self._read(records)) is not None:
                    found[stored.id] = trajectory
        return dict(reversed(found.items()))

    def _held(self, only: str = "TRUE") -> list[Record]:
        return tables.held_records(self._database, self._damaged, only)

    def _tasks(self) -> list[tuple[StoredTask, list[Record]]]:
        """Return the tasks that are not damaged, oldest first, with their records."""
        found = []
        for task, group in itertools.groupby(self._held(), lambda record: record.task):
            records = list(group)
            stored = tables.read_task(self._database, task, records)
            if stored is not None:
                found.append((stored, records))
                continue
            self._damaged |= {record.id for record in records}
            what = f"task {task} is damaged and is left out with its {len(records)} trajectories"
            warnings.warn(f"{self.path}: {what}", stacklevel=4)
        return found

    def _read(self, records: list[Record], allow_unknown: bool = False) -> Trajectory | None:
        """Return what is intact of some records as ``[T, 1, E]``; None if nothing is."""
        layout = self.identity.layout
        lanes = tables.read_records(self._database, records, layout, allow_unknown)
        self._leave_out([number for number, rows in lanes.items() if rows is None])
        intact = [rows for rows in lanes.values() if rows is not None]
        return layout.unpack(intact) if intact else None

    def _leave_out(self, ids: list[int]) -> None:
        """Count records as damaged and say so."""
        self._damaged.update(ids)
        for number in ids:
            warnings.warn(
                f"{self.path}: trajectory {number} is damaged and is left out", stacklevel=4
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """See one moment of the store, whatever is being written meanwhile."""
        with naming(self.path), transaction(self._database, "DEFERRED"):
            yield

    @contextmanager
    def _writing(self, what: str, *, durable: bool = False) -> Iterator[None]:
        """Change the store, all or nothing; only if `durable`, a power cut cannot undo it."""
        if not self.writable:
            raise StoreError(f"{self.path}: is open for reading only")
        with naming(self.path, what), transaction(self._database, durable=durable):
            yield
            self._database.execute("UPDATE states SET changes = changes + 1 WHERE name = 'now'")
