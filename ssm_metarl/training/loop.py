"""A run: a folder, and a stream of progress records, with everything on disk to resume it."""

import dataclasses
import time
from collections.abc import Callable, Generator
from pathlib import Path

import torch
from numpy.random import SeedSequence

from ssm_metarl.checkpoint.files import write_text_atomically
from ssm_metarl.checkpoint.format import Checkpoint, load_checkpoint, save_checkpoint
from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.core.memory import keep_large_blocks
from ssm_metarl.core.processes import join, rank, size
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.software import current_software, warn_of_changes
from ssm_metarl.env_runner.spaces import measure, policy_spaces
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import DivergenceError, UserError
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.training.checks import check_tasks_to_share
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import (
    Progress,
    Trainer,
    make_trainer,
    take_part,
    trained_spaces,
)
from ssm_metarl.training.metrics import METRICS, MetricsFile
from ssm_metarl.training.run_family import keep_family, run_family
from ssm_metarl.training.saved import CONFIG, read_config, saved_spaces, saved_statistics
from ssm_metarl.training.tracking import make_tracker, tagged

UNITS_STREAM = 3
SAVE_EVERY = 20.0  # seconds between checkpoints, beside the one at the end
CHECKPOINT = "checkpoint"
EXPERIENCE = "experience/store.sqlite"


def train(
    config: TrainConfig,
    run_dir: str | Path,
    *,
    tracker: str = "none",
    on_phase: Callable[[str], object] | None = None,
) -> Generator[Progress, None, None]:
    """Start a run in a new folder and return its stream of progress.

    Closing the stream stops the training; the last completed iteration is then on disk.

    In processes that torchrun has started, each does its part of the tasks; the first one writes.
    All must close their streams after the same iteration.

    Torch's threads are the program's to choose and are left as they are, one per core by default.
    The tensors are small and threads wait for each other at every operation: on two cores busy
    with other work, training after ``torch.set_num_threads(1)`` was five times as fast as without.
    The command line does that.

    Args:
        config: What to train.
        run_dir: Where; must not exist yet.
        tracker: One of :data:`ssm_metarl.training.tracking.TRACKERS`, beside ``metrics.jsonl``.
        on_phase: Called while an iteration goes on, with what it does now: "support", "query" (or
            "play", where nothing is adapted), "update" or "validation".

    Raises:
        UserError: Bad configuration, or the folder exists; nothing was written.
        DivergenceError: While training: names the iteration and the last good checkpoint.
    """
    if not isinstance(config, TrainConfig):
        kind = type(config).__name__
        raise UserError(f"config is of type {kind}; valid: a TrainConfig, as TrainConfig(seed=1)")
    run_dir = Path(run_dir).absolute()  # another working folder later changes nothing
    join(config.device)
    if not rank() and run_dir.exists():
        raise UserError(f"{run_dir} exists; add --resume to continue it, or choose another")
    config, trainer = _prepare(config, run_family(config), on_phase)
    if rank():
        return take_part(trainer)
    session = _Session(config, trainer, run_dir, tracker, resumed=False)
    run_dir.mkdir(parents=True, exist_ok=True)  # not before: a missing tracker leaves no folder
    lock = RunLock(run_dir)
    keep_family(trainer.learner.family, run_dir)
    write_text_atomically(run_dir / CONFIG, config.to_json())
    return session.stream(lock)


def resume(
    run_dir: str | Path,
    *,
    num_epochs: int | None = None,
    num_episodes: int | None = None,
    device: str | None = None,
    tracker: str = "none",
    trust_env_code: bool = False,
    on_phase: Callable[[str], object] | None = None,
) -> Generator[Progress, None, None]:
    """Continue a run where its last checkpoint left it, as if it had never stopped.

    Other arguments are as for :func:`train`.

    Args:
        run_dir: The folder of the run.
        num_epochs: Another length of the training; None for the run's own. The learning rate falls
            to zero over the new length.
        num_episodes: The same for policy_gradient.
        device: Where to go on; None for where the run was.
        trust_env_code: Allow an environment that is module:Env-v0, which runs code.

    Raises:
        UserError: The folder is not a run, is being trained already, or is to be shortened to less
            than it has trained.
        CheckpointError: Its checkpoint is damaged.
    """
    run_dir = Path(run_dir).absolute()
    stored = read_config(run_dir, trust_env_code=trust_env_code)
    asked = {"num_epochs": num_epochs, "num_episodes": num_episodes, "device": device}
    changes = {name: value for name, value in asked.items() if value is not None}
    join(device or stored.device)
    lock = None if rank() else RunLock(run_dir)  # before the tracker, which continues a file
    place = run_dir / CHECKPOINT
    checkpoint = load_checkpoint(place) if place.exists() else None
    config, trainer = _prepare(
        dataclasses.replace(stored, **changes), run_family(stored, run_dir), on_phase, checkpoint
    )
    if lock is None:
        return take_part(trainer, checkpoint)
    session = _Session(config, trainer, run_dir, tracker, resumed=True, checkpoint=checkpoint)
    if checkpoint:
        warn_of_changes(checkpoint.meta.get("software", {}), trainer.learner.family.simulators)
    if session.done > trainer.learner.iterations:
        name = "num_episodes" if config.mode == "policy_gradient" else "num_epochs"
        raise UserError(
            f"--{name} is {getattr(config, name)}; {run_dir} has trained {session.done} "
            f"iterations, and cannot end after {trainer.learner.iterations}"
        )
    if changes:
        write_text_atomically(run_dir / CONFIG, config.to_json())
    return session.stream(lock)


def _prepare(
    config: TrainConfig,
    family: TaskFamily,
    on_phase: Callable[[str], object] | None,
    checkpoint: Checkpoint | None = None,
) -> tuple[TrainConfig, Trainer]:
    """Return the resolved settings, and the trainer of the learner that they describe."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device is available; valid here: cpu")
    family = family.reusing()
    config = config.resolve(family)
    if size() > 1:
        check_tasks_to_share(config, size())
    if checkpoint:
        spaces, statistics = saved_spaces(checkpoint.meta, family), saved_statistics(checkpoint)
    else:
        seed, needed = SeedSequence(config.seed), config.norm_obs or config.norm_reward
        spaces = policy_spaces(family)
        statistics = measure(family, substream(seed, UNITS_STREAM)) if needed else None
    if statistics:
        spaces = trained_spaces(config, family, statistics)
    trainer = make_trainer(config, family, spaces, statistics=statistics)
    if 0 < config.experience < trainer.learner.longest_rollout:
        raise UserError(
            f"--experience is {config.experience}; it must be 0, for none, or at least "
            f"{trainer.learner.longest_rollout}, the steps of one trajectory"
        )
    if on_phase:
        trainer.learner.on_phase = on_phase
    return config, trainer


class _Session:
    """A stretch of training, from a start or a checkpoint to its end or an interruption."""

    def __init__(
        self,
        config: TrainConfig,
        trainer: Trainer,
        run_dir: Path,
        tracker: str,
        *,
        resumed: bool,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.config, self.trainer, self.run_dir = config, trainer, run_dir
        self.tracker = make_tracker(tracker, run_dir, dataclasses.asdict(config), resume=resumed)
        self.metrics = MetricsFile(run_dir / METRICS)
        self.store: ExperienceStore | None = None
        self.unstored: tuple[Tasks, Trajectory] | None = None
        self.run: str | None = trainer.fingerprint()
        if checkpoint:
            trainer.restore(checkpoint)
            self.run = checkpoint.meta.get("run")  # version 0.1 kept none
            self.metrics.truncate_after(checkpoint.meta["iteration"])
        self.snapshot = trainer.snapshot()
        self.software = current_software(trainer.learner.family.simulators)
        self.saved_at = time.monotonic()

    @property
    def done(self) -> int:
        """Iterations that count: those of the snapshot, which is what is saved."""
        return self.snapshot.meta["iteration"]

    def stream(self, lock: RunLock) -> Generator[Progress, None, None]:
        """Yield progress under a lock; whatever ends it, the last completed iteration is saved.

        A run that is finished already is left untouched.
        """
        with lock:
            if self.done < self.trainer.learner.iterations:
                yield from self._iterations()
            else:
                self.tracker.close()

    def _iterations(self) -> Generator[Progress, None, None]:
        keep_large_blocks()
        self.store = self._open_store()
        if not self.done:
            self._save()
        try:
            while self.done < self.trainer.learner.iterations:
                yield self._iterate()
                if time.monotonic() - self.saved_at > SAVE_EVERY:
                    self._save()
        finally:
            self._save()
            self.tracker.close()
            self.trainer.learner.family.close()
            if self.store:
                self.store.close()

    def _open_store(self) -> ExperienceStore | None:
        """Open the store of what meta-training plays, as of the last checkpoint."""
        if not (self.trainer.learner.longest_rollout and self.config.experience):
            return None
        path, family = self.run_dir / EXPERIENCE, self.trainer.learner.family
        if not path.exists():
            size = self.config.experience
            return ExperienceStore.create(path, family, capacity=size, run=self.run)
        store = ExperienceStore.open(path, family, writable=True)
        store.check_run(self.run)
        store.truncate_after(self.done)
        return store

    def _iterate(self) -> Progress:
        try:
            progress = self.trainer.iterate()
        except DivergenceError as error:
            where = self.run_dir / CHECKPOINT
            raise DivergenceError(
                f"iteration {self.done + 1}: {error}; a lower {self.trainer.rates} may help; the "
                f"last good checkpoint is that of iteration {self.done}, in {where}"
            ) from error
        record = progress.to_record()
        self.metrics.append(record)
        shown = {name: float(value) for name, value in record.items() if value is not None}
        self.tracker.log(progress.iteration, tagged(shown))
        # Last, and all at once: an interruption before this repeats the iteration when resumed.
        self.snapshot, self.unstored = self.trainer.snapshot(), self.trainer.experience
        self._store()
        return progress

    def _store(self) -> None:
        """Keep what the last iteration played, unless that has been done.

        Only once the iteration counts: the store may not be ahead of the checkpoint.
        """
        if self.store and self.unstored:
            tasks, trajectory = self.unstored
            self.store.add(trajectory, tasks, self.done)
        self.unstored = None

    def _save(self) -> None:
        self._store()  # if an interruption came before it
        meta = {**self.snapshot.meta, "software": self.software}
        if self.run is not None:
            meta["run"] = self.run
        if self.store:
            self.store.tag(self.done)
        save_checkpoint(self.run_dir / CHECKPOINT, self.snapshot.tensors, meta)
        self.saved_at = time.monotonic()
