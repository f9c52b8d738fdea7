"""The experience store: whole trajectories of many tasks on disk, for whoever learns from them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import StoreError, check_whole
from ssm_metarl.experience.addition import Addition
from ssm_metarl.experience.database import (
    close_database,
    create_database,
    naming,
    open_database,
    set_durable,
    transaction,
)
from ssm_metarl.experience.identity import Identity
from ssm_metarl.experience.index import Index
from ssm_metarl.experience.reader import Reader
from ssm_metarl.experience.records import StoredTask, load_tasks


class ExperienceStore:
    """Trajectories of the tasks of one family, in one file; see `create` and `open`.

    One process writes, any number of others read meanwhile; each change is there whole or not at
    all, whatever kills the writer. Every record has checksums: one that is damaged is left out with
    a warning and counted, the others stay. In memory are 72 bytes per trajectory. One thread at a
    time may use an object.

    Attributes:
        path: The file. While a store is open for writing, ``<file>-wal`` belongs to it.
        writable: Whether it is open for writing.
        identity: Its family, the sizes of observations and actions, its capacity, its run.
    """

    def __init__(self, path: Path, family: TaskFamily | None = None, *, writable: bool) -> None:
        self.path, self.writable = path, writable
        self._database = open_database(path, writable=writable)
        try:
            with naming(path), transaction(self._database, "DEFERRED"):
                self.identity = Identity.read(self._database)
                if family is not None:
                    self.identity.check(family)
                self._index = Index(path, self._database)
        except BaseException:
            self._database.close()
            raise
        self._closed = False
        self._reader = Reader(self._database, self.identity.layout, self._index)

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
            capacity: Most transitions (valid steps) held; beyond that, the oldest trajectories go.
            run: Fingerprint of the run whose agent will play, as :attr:`Agent.run` has it.

        Raises:
            UserError: An argument that makes no sense.
            StoreError: The file exists or cannot be written.
        """
        identity = Identity.of(family, capacity, run)
        path = Path(path)
        create_database(path, identity.to_meta())
        return cls(path, writable=True)

    @classmethod
    def open(
        cls, path: str | Path, family: TaskFamily | None = None, *, writable: bool = False
    ) -> "ExperienceStore":
        """Open a store that exists, also while another process writes to it.

        Args:
            path: The file.
            family: What it must hold experience of; None for any.
            writable: Whether to add to it.

        Raises:
            StoreError: It is missing, damaged, not a store, or of another family.
        """
        return cls(Path(path), family, writable=writable)

    def check_run(self, run: str | None) -> None:
        """Refuse an agent whose experience this is not.

        Args:
            run: Fingerprint of the agent's run.

        Raises:
            StoreError: It is another; the message names both. Stores that name no run are taken.
        """
        with naming(self.path):
            self.identity.check_run(run)

    def close(self) -> None:
        """Close; what was written is then in the one file, which can be copied. Twice is once.

        Raises:
            StoreError: The disk is full. Nothing is lost, but ``<file>-wal`` belongs to the store.
        """
        if not self._closed:
            self._closed = True
            close_database(self._database, self.path, writable=self.writable)

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
        """Add every lane of a trajectory, all or nothing, and drop what no longer fits.

        Args:
            trajectory: ``[T, K, E]``, float32; its lanes start with an episode. Each is stored up
                to its last valid step.
            tasks: Its K tasks, which become K new stored tasks.
            label: Says which policy collected it, such as the iteration; labels only grow. None for
                the newest one, or one more if that is tagged.
            behaviour_known: Whether the log-probabilities are those of the policy that acted;
                otherwise they are stored as NaN, and given only to a caller that asks for them.

        Returns:
            Ids of the K stored tasks, even of those that there is no room for.

        Raises:
            StoreError: The data does not fit the store, a lane is larger than its capacity, or the
                disk is full. The store is as it was.
        """
        addition = Addition.of(trajectory, tasks, self.identity, behaviour_known=behaviour_known)
        with self._writing("cannot be added to: "):
            return addition.write(self._database, self._index, label)

    def tag(self, label: int) -> None:
        """Remember what the store holds now, to go back to it with `truncate_after`.

        Call this right before a checkpoint is saved. The last two tags are remembered, so that
        a run may be killed before, while or after that checkpoint is saved. What they remember is
        in the file too, which may then take three times its capacity. When this returns, the store
        and the tag survive a power cut.

        Args:
            label: Of the checkpoint; not lower than any so far.

        Raises:
            StoreError: The label is too low, or the disk is full. The store is as it was.
        """
        with self._writing("cannot be tagged: ", durable=True):
            self._index.tag(label)

    def truncate_after(self, label: int) -> None:
        """Forget what was added with later labels, so that a resumed run continues from there.

        If the label is one of the last two tags, everything is exactly as it was then, ids
        included. Otherwise what the later additions have displaced
        may be lost, and their ids are not given again.

        Raises:
            StoreError: The disk is full. The store is as it was.
        """
        with self._writing("cannot be truncated: "):
            self._index.go_back(label)

    @property
    def transitions(self) -> int:
        """Valid steps held."""
        with self._reading():
            return int(self._index.held()["transitions"].sum())

    @property
    def trajectories(self) -> int:
        """Records held: one for each lane of what was added."""
        with self._reading():
            return len(self._index.held())

    @property
    def damaged(self) -> int:
        """Records that were found damaged when they, or their task, were read; left out since."""
        return len(self._index.damaged)

    def tasks(self) -> list[StoredTask]:
        """Return a summary of each stored task, oldest first; a damaged one is left out.

        Raises:
            StoreError: The store is damaged.
        """
        with self._reading():
            held = self._index.held()
            tasks = load_tasks(self._database, held)
            for task in sorted(set(held["task"].tolist()) - {task.id for task in tasks}):
                self._index.leave_out_task(task)
            return tasks

    def trajectory(self, task: int, *, allow_unknown_behaviour: bool = False) -> Trajectory:
        """Return all that is stored of a task, as one ``[T, 1, E]``, padded with dead steps.

        Equal to what was added, but for the actions and log-probabilities after a lane's last valid
        step, which are 0.

        Args:
            task: Id of the stored task.
            allow_unknown_behaviour: Whether log-probabilities may be NaN, because they are not
                known: such data is no sample of any policy that can be corrected for.

        Raises:
            StoreError: There is no such task, its behaviour is not known, or it is too large.
        """
        with self._reading():
            found = self._reader.trajectory(task, allow_unknown_behaviour=allow_unknown_behaviour)
            if found is None:
                raise ValueError(f"holds no task {task}")
            return found

    def newest(self, most: int) -> dict[int, Trajectory]:
        """Return the newest tasks of which something is intact, oldest first, by their ids.

        Args:
            most: How many at most.

        Raises:
            UserError: That is no number of tasks.
            StoreError: The behaviour of one is not known, or it is too large.
        """
        most = check_whole("most", most, 1)
        found: dict[int, Trajectory] = {}
        for task in reversed(self.tasks()):
            if len(found) == most:
                break
            with self._reading():
                trajectory = self._reader.trajectory(task.id)
            if trajectory is not None:
                found[task.id] = trajectory
        return dict(reversed(found.items()))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """See one moment of the store, whatever is being written meanwhile."""
        with naming(self.path), transaction(self._database, "DEFERRED"):
            self._index.refresh()
            yield

    @contextlib.contextmanager
    def _writing(self, what: str, *, durable: bool = False) -> Iterator[None]:
        """Change the store, all or nothing; only if `durable`, a power cut cannot undo it."""
        if not self.writable:
            raise StoreError(f"{self.path}: is open for reading only")
        try:
            with naming(self.path, what):
                set_durable(self._database, durable)
                with transaction(self._database):
                    self._index.refresh()
                    yield
        except BaseException:
            self._index.forget()  # it may know of changes that have been undone
            raise
