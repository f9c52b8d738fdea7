"""The trials of a sweep, in the database that its processes share, and who trains them.

Each trial is an ordinary run. A trial whose worker dies or is interrupted is marked as failed and
queued again by Optuna, and whoever takes it up resumes its run from the last checkpoint.
"""

import contextlib
import dataclasses
import functools
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from numpy.random import SeedSequence
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.training import loop
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.metrics import METRICS, read_metrics
from ssm_metarl.training.saved import CONFIG
from ssm_metarl.training.settings import settings_of

if TYPE_CHECKING:  # it imports this module
    from ssm_metarl.commands.sweep import Sweep

DATABASE = "sweep.sqlite"
SETTINGS = "settings"  # attribute of a study
BEGUN, RUN, REASON = "begun", "run", "reason"  # of a trial
SAMPLING_STREAM = 4
_history = RetryHeartbeatStaleTrialCallback.retry_history  # numbers of those that it repeats
MOST_DEATHS = 3  # of workers, after which a trial is not queued again: it may be what kills them
LOCKED_SECONDS = 60  # that a process waits for SQLite while others write


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside this block, Optuna neither logs nor says that heartbeats are experimental."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def open_study(asked: "Sweep", family: str) -> optuna.Study:
    """Return the study of a sweep, begun before or now.

    Args:
        asked: The sweep.
        family: Text of the file that declares its family, if one does.

    Raises:
        UserError: The database cannot be used, or what is there is not this sweep.
    """
    place = asked.folder
    if asked.storage is None and not (place / DATABASE).exists():
        _begin(place)
    with naming_database(asked), quiet():
        storage, name = _storage(asked), place.resolve().name
        if asked.storage is not None and name not in optuna.get_all_study_names(storage):
            _begin(place)
        place.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )
        _check_same(study, asked, family)
    return study


def _begin(folder: Path) -> None:
    if folder.exists() and any(not each.name.startswith(DATABASE) for each in folder.iterdir()):
        raise UserError(f"--out {folder} holds something else than a sweep; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)


def _storage(asked: "Sweep") -> RDBStorage:
    url, engine = asked.storage, {}
    if url is None:  # not every path could stand in a URL
        file = {"timeout": LOCKED_SECONDS, "check_same_thread": False}
        connect = functools.partial(sqlite3.connect, asked.folder.resolve() / DATABASE, **file)
        url, engine = f"sqlite:///{DATABASE}", {"creator": connect}
    for again in (True, True, False):
        try:
            return RDBStorage(
                url,
                engine_kwargs=engine,
                heartbeat_interval=max(1, asked.grace // 4),
                grace_period=asked.grace,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(MOST_DEATHS),
            )
        except SQLAlchemyError:  # also where several processes create the tables at once
            if not again:
                raise
            time.sleep(1.0)
    raise AssertionError


@contextlib.contextmanager
def naming_database(asked: "Sweep") -> Iterator[None]:
    """Say in one line, without the password in its URL, what is wrong with the database."""
    try:
        yield
    except UserError:
        raise
    except (SQLAlchemyError, OptunaError, ImportError, RuntimeError, ValueError, KeyError) as error:
        cause = error.__cause__ or error
        reason = getattr(cause, "orig", None) or cause
        what = str(asked.folder / DATABASE) if asked.storage is None else "--storage"
        raise UserError(f"{what} cannot be used: {type(reason).__name__}: {reason}") from error


def _check_same(study: optuna.Study, asked: "Sweep", family: str) -> None:
    own = {**asked.fixed, **{one.name: str(one) for one in asked.space}, "family": family}
    del own["device"], own["compile"]  # they may differ: elsewhere, or faster
    known = study.user_attrs.get(SETTINGS)
    if known is None and not study.get_trials(deepcopy=False):
        return study.set_user_attr(SETTINGS, own)
    if known is None:
        raise UserError(f"{study.study_name} in --storage is no sweep's; choose another --out")
    defaults = {name: one.default for name, one in settings_of(TrainConfig).items()}
    for name in own:
        was, now = known.get(name, defaults.get(name)), own[name]
        if was != now:
            told = ["unset" if each in (None, "") else f"{each!s:.60}" for each in (was, now)]
            raise UserError(
                f"{asked.folder} is a sweep with the {name} {told[0]}, not {told[1]}; repeat its "
                "command, or choose another --out"
            )


def outcomes(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that are finished for good.

    One that has failed for no reason of its own is queued again, but not for ever.
    """
    with quiet():
        trials = study.get_trials(deepcopy=False)
        history = {trial.number: _history(trial) for trial in trials}
    again = {number for numbers in history.values() for number in numbers}

    def is_final(trial: FrozenTrial) -> bool:
        if trial.state != TrialState.FAIL or REASON in trial.user_attrs:
            return trial.state.is_finished()
        return len(history[trial.number]) >= MOST_DEATHS and trial.number not in again

    return list(filter(is_final, trials))


def in_training(study: optuna.Study, grace: int) -> list[FrozenTrial]:
    """Queue trials again that gave no sign of life for the grace period; return the other ones.

    Optuna knows no death before the first sign of life, just after a trial's start.
    """
    with quiet():
        optuna.storages.fail_stale_trials(study)
    now = datetime.now()
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [
        trial
        for trial in running
        if trial.user_attrs.get(BEGUN) == trial.number
        or now - (trial.datetime_start or now) < timedelta(seconds=grace)
    ]


def run_of(trial: FrozenTrial) -> str:
    """Return the name of the folder of a trial's run."""
    return trial.user_attrs.get(RUN, f"trial-{trial.number:04}")


class TrainingFailed(Exception):
    """The training of a trial went wrong, which says something about its settings."""


class Worker:
    """Trains one trial after the other, until no more are needed, or it is to stop.

    Args:
        asked: The sweep, whose study was opened before.
        stopped: Whether to stop; asked after each iteration.
    """

    def __init__(self, asked: "Sweep", stopped: Callable[[], bool]) -> None:
        self.asked, self.stopped, self._number = asked, stopped, -1
        with quiet():
            name, storage = asked.folder.resolve().name, _storage(asked)
            self.study = optuna.load_study(study_name=name, storage=storage)
        self.study.pruner = getattr(optuna.pruners, asked.PRUNERS[asked.pruner])()

    def work(self) -> None:
        """Train."""
        while not self.stopped() and self._is_needed():
            self._number = -1
            try:
                self.study.optimize(self._objective, n_trials=1, catch=(TrainingFailed,))
            except BaseException as error:
                if self._queue_again() and not isinstance(error, KeyboardInterrupt):
                    raise

    def _is_needed(self) -> bool:
        begun = len(in_training(self.study, self.asked.grace))
        return begun + len(outcomes(self.study)) < self.asked.trials

    def _queue_again(self) -> bool:
        """Queue the last trial again, which is marked as failed, and return whether it was not.

        It was if this process was suspended for so long that others took it for dead. Then Optuna
        raises what it comes across first.
        """
        with quiet():
            trials = self.study.trials
            if any(self._number in _history(trial) for trial in trials):
                return False
            if self._number >= 0:
                RetryHeartbeatStaleTrialCallback()(self.study, trials[self._number])
            return True

    def _objective(self, trial: Trial) -> float:
        self._number = trial.number
        trial.set_user_attr(BEGUN, trial.number)
        # What is drawn depends on the trial's number, not on who draws it.
        seed = substream(SeedSequence(self.asked.seed), SAMPLING_STREAM, trial.number)
        sampler = getattr(optuna.samplers, self.asked.SAMPLERS[self.asked.sampler])
        self.study.sampler = sampler(seed=int(seed.generate_state(1)[0]))
        values = {one.name: one.suggest(trial) for one in self.asked.space}
        try:
            return self._train(trial, values)
        except OptunaError:  # it is pruned, or the database is out of reach
            raise
        except Exception as error:  # of an environment, or of torch for lack of memory, as well
            known = isinstance(error, SsmMetaRLError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            trial.set_user_attr(REASON, " ".join(reason.split()))
            raise TrainingFailed(reason) from error

    def _train(self, trial: Trial, values: dict[str, Any]) -> float:
        """Train a trial's run, or go on with it, and return its best validation return."""
        folder, track = self._folder(trial), self.asked.track
        if folder.exists():
            trust = self.asked.trust_env_code
            stream = loop.resume(folder, tracker=track, trust_env_code=trust)
        else:
            stream = loop.train(TrainConfig(**self.asked.fixed, **values), folder, tracker=track)
        with contextlib.closing(stream):
            for record in read_metrics(folder / METRICS):  # of what was trained before
                _report(trial, record)
            for progress in stream:
                if _report(trial, dataclasses.asdict(progress)) and trial.should_prune():
                    raise optuna.TrialPruned
                if self.stopped():
                    raise KeyboardInterrupt
        best = read_metrics(folder / METRICS)[-1]["best_return"]
        if best is None:
            raise SsmMetaRLError("no validation gave a return, for a task failed in all episodes")
        trial.set_user_attr(RUN, folder.name)  # an error here if others have taken it over
        return best

    def _folder(self, trial: Trial) -> Path:
        """Return the folder of a trial's run: that of the trial that it repeats, if it is of use.

        It is not where nothing was saved yet, or whoever trained there is only suspended.
        """
        folder = own = self.asked.folder / f"trial-{trial.number:04}"
        former = self.asked.folder / trial.user_attrs.get(RUN, own.name)
        if (former / CONFIG).exists():
            with contextlib.suppress(UserError):
                RunLock(former).release()
                folder = former
        trial.set_user_attr(RUN, folder.name)
        return folder


def _report(trial: Trial, record: dict[str, Any]) -> bool:
    """Tell Optuna the best return so far, where an iteration has looked; return whether it has."""
    best = None if record["return_before"] is None else record["best_return"]
    if best is not None:
        trial.report(best, record["iteration"])
    return best is not None
