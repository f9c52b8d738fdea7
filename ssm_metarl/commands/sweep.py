"""``ssm-metarl sweep``: search the settings of a training, over runs."""

import multiprocessing
import os
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ssm_metarl.checkpoint.names import as_name
from ssm_metarl.commands.common import (
    FAMILY_FLAG,
    TRACK_FLAG,
    check_is_of,
    naming_flag,
    refuse_no_folder,
    refuse_unused,
    register_file,
    use_one_thread,
)
from ssm_metarl.commands.train import say_what_is_next
from ssm_metarl.console import (
    INTERRUPTED,
    Bar,
    Interruption,
    ctrl_c_ignored,
    say,
    warnings_as_lines,
)
from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.training.command import train_command
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.search_space import FORMS, Searched, check_corners, search_space
from ssm_metarl.training.settings import check_settings, setting, settings_of

if TYPE_CHECKING:  # an extra
    import optuna

LOG = "workers.log"
POLL_SECONDS = 0.5
LONG = 24 * 3600.0  # seconds of the past from which the speed of trials is estimated


@dataclass(frozen=True)
class Sweep(TrainConfig):
    """Search the settings of a training with Optuna: every trial is a run.

    Each --param is a setting to search: a range, a range on a logarithmic scale, or choices.
    Every other flag is one of `ssm-metarl train`, and the same for all trials:

      ssm-metarl sweep --env_name CartPole-v1 --num_epochs 60
        --param outer_lr=1e-4..1e-2:log --param inner_steps=1..3 --param cell=ssm,gru
        --trials 40 --jobs 2 --out sweeps/cartpole

    The same command again goes on where it was stopped or killed, with more --trials if you
    like; in a second terminal, or on another machine with the same --storage, it joins in.
    """

    SAMPLERS: ClassVar = {"tpe": "TPESampler", "gp": "GPSampler", "random": "RandomSampler"}
    PRUNERS: ClassVar = {
        "median": "MedianPruner",
        "halving": "SuccessiveHalvingPruner",
        "none": "NopPruner",
    }

    param: tuple[str, ...] = setting(
        (),
        f"A setting to search, by its name below: {FORMS}. Give it once for each.",
        unset="required",
        metavar="NAME=VALUES",
    )
    trials: int = setting(20, "Trials to finish, those of before included.", within=(1, 10**6))
    jobs: int = setting(1, "Processes, which train a trial each at a time.", within=(1, 1024))
    out: Path | None = setting(
        None,
        "Folder of the sweep: trial-0000 and so on, which are runs, and sweep.png.",
        unset="sweeps/ENV-MODE",
        metavar="FOLDER",
    )
    storage: str | None = setting(
        None,
        "URL of the SQL database of the trials, such as postgresql://me@host/optuna. Sweeps in "
        "the same one differ by the last part of --out.",
        unset="SQLite, a file in --out",
        metavar="URL",
    )
    sampler: str = setting("tpe", "Optuna's sampler of the settings.", choices=tuple(SAMPLERS))
    pruner: str = setting(
        "median",
        "Optuna's pruner, which stops trials early whose validation returns are below the median "
        "of others', or by successive halving.",
        choices=tuple(PRUNERS),
    )
    grace: int = setting(
        60, "Seconds without a sign of life after which a trial is begun again.", within=(2, 10**6)
    )
    family: Path | None = setting(None, **FAMILY_FLAG)
    track: str = setting(**TRACK_FLAG)

    def __post_init__(self) -> None:
        check_settings(self)  # what goes together depends on what is searched

    @property
    def space(self) -> list[Searched]:
        """The settings that are searched."""
        return search_space(self.param, self.mode)

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings of a training that all trials share."""
        searched = [one.name for one in self.space]
        names = [name for name in settings_of(TrainConfig) if name not in searched]
        return {name: getattr(self, name) for name in names}

    @property
    def folder(self) -> Path:
        """Where the sweep is."""
        return self.out or Path("sweeps") / as_name(f"{self.env_name}-{self.mode}")


def run(asked: Sweep, given: Collection[str]) -> int:
    """Begin a sweep, go on with it or join it; return the exit code.

    `given` has the names of the settings that were typed.
    """
    _check_installed()
    from ssm_metarl.commands.sweep_report import ranked, tell
    from ssm_metarl.commands.sweep_study import naming_database, open_study, outcomes, run_of

    asked, family = _checked(asked, given)
    try:
        study = open_study(asked, family)
    except OSError as error:
        raise UserError(f"--out {asked.folder}: {error.strerror}") from error
    with naming_database(asked):
        _follow(asked, study)
        done = outcomes(study)
    tell(asked, done)
    if len(done) < asked.trials:
        print(f"Stopped after {len(done)} of {asked.trials} trials; the same command goes on.")
        return INTERRUPTED
    if not ranked(done):
        raise SsmMetaRLError(f"no trial of {asked.folder} was completed")
    best = ranked(done)[0]
    named = {name: value for name, value in asked.fixed.items() if name in given}
    always = {"env_name": asked.env_name, "mode": asked.mode}
    print("To train the best one again, bit for bit:")
    print(f"  {train_command({**always, **named, **best.params}, asked.family)}")
    if (asked.folder / run_of(best)).exists():  # it may be on another machine
        say_what_is_next(asked.mode, asked.folder / run_of(best))
    return 0


def _check_installed() -> None:
    try:
        import optuna  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"a sweep needs an extra ({error.name} is missing): pip install 'ssm-metarl[sweep]'"
        ) from error


def _checked(asked: Sweep, given: Collection[str]) -> tuple[Sweep, str]:
    """Check what is asked for before anything is written; name the family, and return its file."""
    from ssm_metarl.core.processes import world_size
    from ssm_metarl.training.run_family import run_family

    if world_size() > 1:
        raise UserError("a sweep starts its own processes, by --jobs; leave torchrun out")
    for one in asked.space:
        if one.name in given:
            raise UserError(f"--param {one.name}={one}: --{one.name} is there, too; leave one out")
    use_one_thread()
    family = register_file(asked.family, trust_env_code=asked.trust_env_code)
    if family and "env_name" in given:
        check_is_of(family, asked.env_name, "--env_name")
    if family:
        asked = replace(asked, env_name=family.name)
    corner = check_corners(asked.fixed, asked.space)
    refuse_unused(corner.unused(), corner.mode)
    with naming_flag("env_name"):
        corner.resolve(run_family(corner))
    refuse_no_folder("out", asked.folder)
    return asked, family.source if family else ""


def _follow(asked: Sweep, study: "optuna.Study") -> None:
    """Keep workers at work and show how it goes, until all is done or the user interrupts."""
    from ssm_metarl.commands.sweep_report import state
    from ssm_metarl.commands.sweep_study import in_training, outcomes

    bar, told = Bar(f"sweep {asked.env_name}", len(outcomes(study)), LONG), ""
    with Interruption() as interruption, _Crew(asked) as crew, bar:
        while not interruption.asked:
            trained, done = in_training(study, asked.grace), outcomes(study)
            if told != state(trained, done):
                told = state(trained, done)
                bar.update(min(len(done), asked.trials), asked.trials, told)
            if len(done) >= asked.trials:
                return
            crew.fill(asked.trials - len(trained) - len(done))
            time.sleep(POLL_SECONDS)


class _Crew:
    """The worker processes of this one.

    Each has an end of a pipe. When the other one is closed, or this process has died, it stops
    after its iteration.
    """

    def __init__(self, asked: Sweep) -> None:
        self.asked = asked
        self._workers: list[tuple[SpawnProcess, Connection]] = []

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for _, line in self._workers:
            line.close()
        at_once = kind is KeyboardInterrupt  # a second Ctrl-C, which may also come while we wait
        try:
            for worker, _ in [] if at_once else self._workers:
                worker.join()
        except KeyboardInterrupt:
            at_once = True
        for worker, _ in self._workers if at_once else []:
            worker.kill()

    def fill(self, needed: int) -> None:
        """Start workers where trials need them, also in place of those that were killed.

        Raises:
            SsmMetaRLError: One has failed.
        """
        for worker, _ in self._workers:
            code = worker.exitcode or 0
            if code > 0:
                raise SsmMetaRLError(
                    f"a worker has failed, as {self.asked.folder / LOG} says; once that is mended, "
                    "the same command goes on"
                )
            if code < 0:
                name = signal.Signals(-code).name
                say("warning", f"a worker was killed ({name}); its trial is begun again")
        self._workers = [each for each in self._workers if each[0].is_alive()]
        for _ in range(min(needed, self.asked.jobs - len(self._workers))):
            theirs, own = multiprocessing.Pipe(duplex=False)
            context = multiprocessing.get_context("spawn")
            worker = context.Process(target=_work, args=(self.asked, theirs))
            with ctrl_c_ignored():  # which the worker inherits: it stops as its line is closed
                worker.start()
            theirs.close()
            self._workers.append((worker, own))


def _work(asked: Sweep, line: Connection) -> None:
    """Work, in a process of its own, which leaves the terminal to that of the bar."""
    log = os.open(asked.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)
    from ssm_metarl.commands.sweep_study import Worker

    with warnings_as_lines():
        use_one_thread()
        register_file(asked.family, trust_env_code=asked.trust_env_code)
        Worker(asked, line.poll).work()
