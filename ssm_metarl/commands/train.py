"""``ssm-metarl train``: start, follow, stop and resume a run."""

import dataclasses
import os
import shlex
import time
from collections.abc import Collection, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_metarl.checkpoint.files import write_text_atomically
from ssm_metarl.checkpoint.names import as_name
from ssm_metarl.commands.common import (
    FAMILY_FLAG,
    TRACK_FLAG,
    attempt,
    check_is_of,
    made,
    naming_flag,
    refuse_unused,
    register_file,
    use_one_thread,
)
from ssm_metarl.console import INTERRUPTED, Bar, Interruption
from ssm_metarl.core.config import from_settings
from ssm_metarl.errors import CheckpointError, SsmMetaRLError, UserError
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.metrics import METRICS, read_metrics
from ssm_metarl.training.settings import setting, settings_of
from ssm_metarl.training.tracking import how_to_look, make_tracker

if TYPE_CHECKING:  # it imports torch
    from ssm_metarl.env_runner.family import TaskFamily
    from ssm_metarl.training.loop import Progress

JOB = ".torchrun-job"
"""File in a run that names the torchrun job that began it, whose restarts continue it."""
CURVE, VIDEO = Path("figures", "learning-curve.png"), Path("videos", "trained.mp4")
CHANGEABLE = ("num_epochs", "num_episodes", "device", "compile")  # when a run is resumed
SCORED = {
    "adaptation": "after one adaptation step ",
    "trials": "over the episodes of a trial ",
    "training": "",
}
BOTH = "over the episodes of a trial, the mean of before and after one adaptation step, "


@dataclass(frozen=True)
class Train(TrainConfig):
    """Train an agent: meta-train it on a family of tasks, or plainly on one task.

    In N processes: torchrun --nproc-per-node N -m ssm_metarl train ...
    """

    family: Path | None = setting(None, **FAMILY_FLAG)
    run_dir: Path | None = setting(
        None,
        help="The run's folder, which must not exist yet.",
        unset="runs/ENV-MODE-TIME",
        metavar="FOLDER",
    )
    resume: bool = setting(
        False,
        help="Continue the run in --run_dir, with the settings it was started with. Only "
        f"--{', --'.join(CHANGEABLE)} may differ: to train for longer, or elsewhere.",
        negatable=False,
    )
    track: str = setting(**TRACK_FLAG)

    @property
    def config(self) -> TrainConfig:
        """The settings of the run."""
        return from_settings(TrainConfig, vars(self))


def run(asked: Train, given: Collection[str]) -> int:
    """Train a new run, or continue one; return the exit code.

    `given` has the names of the settings that were typed.
    """
    from ssm_metarl.core.processes import rank
    from ssm_metarl.training import loop
    from ssm_metarl.training.run_family import run_family

    use_one_thread()
    family = register_file(asked.family, trust_env_code=asked.trust_env_code)
    asked = _among_processes(asked)
    if asked.resume:
        return _resume(asked, given, family)
    if family and "env_name" in given:
        check_is_of(family, asked.env_name, "--env_name")
    if family:
        asked = dataclasses.replace(asked, env_name=family.name)
    config = asked.config
    refuse_unused(config.unused(), config.mode)
    with naming_flag("env_name"):
        run_family(config)
    name = as_name(f"{config.env_name}-{config.mode}", time.strftime("-%Y%m%d-%H%M%S"))
    run_dir = asked.run_dir or Path("runs") / name
    try:
        stream = loop.train(config, run_dir, tracker=asked.track)
    except OSError as error:
        raise UserError(f"--run_dir {run_dir}: {error.strerror}") from error
    if _job() and not rank():  # the one that has made the folder
        write_text_atomically(run_dir / JOB, _job())
    return _follow(stream, config, run_dir, asked.track)


def _among_processes(asked: Train) -> Train:
    """Return what is asked for in processes that torchrun has started, or started anew."""
    from ssm_metarl.core.processes import world_size

    if world_size() == 1:
        return asked
    if asked.run_dir is None:
        raise UserError("--run_dir is needed with several processes, which must agree on it")
    job, again = _job(), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    begun = asked.run_dir / JOB
    own = again and begun.is_file() and begun.read_text(encoding="utf-8") == job
    return dataclasses.replace(asked, resume=asked.resume or own)


def _job() -> str:
    """Return the name of torchrun's job; empty if it has none of its own."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return "" if name == "none" else name


def _resume(asked: Train, given: Collection[str], family: "TaskFamily | None") -> int:
    """Continue a run; flags that contradict it are refused."""
    from ssm_metarl.training import loop
    from ssm_metarl.training.run_family import run_family
    from ssm_metarl.training.saved import read_config

    if asked.run_dir is None:
        raise UserError("--resume needs --run_dir, the folder of the run to continue")
    stored = read_config(asked.run_dir, trust_env_code=asked.trust_env_code)
    check_is_of(family, stored.env_name, asked.run_dir)
    stored = stored.resolve(run_family(stored, asked.run_dir))
    for name in given:
        was, now = getattr(stored, name, None), getattr(asked, name)
        if name in settings_of(TrainConfig) and name not in CHANGEABLE and now != was:
            raise UserError(
                f"--{name} is {now}, but {asked.run_dir} was started with {was}; "
                "leave the flag out to continue it, or start a new run"
            )
    changes = {name: getattr(asked, name) for name in CHANGEABLE if name in given}
    stream = loop.resume(
        asked.run_dir, tracker=asked.track, trust_env_code=asked.trust_env_code, **changes
    )
    return _follow(stream, stored, asked.run_dir, asked.track)


def _follow(
    stream: Generator["Progress", None, None], config: TrainConfig, run_dir: Path, track: str
) -> int:
    """Show a training as it goes; say how it ended and what to do next."""
    from ssm_metarl.core.processes import gathered, leave, rank

    if rank():
        return _take_part(stream)
    records = read_metrics(run_dir / METRICS)
    bar = Bar(f"{config.mode} {config.env_name}", records[-1]["iteration"] if records else 0)
    last, interrupted = None, False
    try:
        with Interruption() as interruption, bar:
            returns = ""
            for last in stream:
                returns = _returns(last, config) or returns
                speed = f"{last.environment_steps / last.seconds:,.0f} env steps/s"
                bar.update(last.iteration, last.iterations, f"{returns}{speed}")
                if any(gathered(interruption.asked)):
                    break
            stream.close()
            leave()
    except KeyboardInterrupt:  # the second one; the stream has saved the last whole iteration
        interrupted = True
    except CheckpointError as error:  # could not be saved: nothing the user wrote is wrong
        raise SsmMetaRLError(str(error)) from error
    stopped = interrupted or (last is not None and last.iteration < last.iterations)
    if stopped:
        print("Stopped; everything so far is saved.")
    elif last:
        _summarise(last, config, run_dir)
        if track != "none":
            _show_files(track, last.iteration, config, run_dir)
    else:
        print(f"{run_dir} is finished already; --num_epochs or --num_episodes trains for longer.")
    look = how_to_look(track, run_dir)
    if look and (last or stopped):
        made(track, look)
    say_what_is_next(config.mode, run_dir, track, stopped)
    return INTERRUPTED if stopped else 0


def _take_part(stream: Generator["Progress", None, None]) -> int:
    """Do the part of a process that shows and writes nothing."""
    from ssm_metarl.core.processes import gathered, leave

    with Interruption() as interruption:
        for _ in stream:
            if any(gathered(interruption.asked)):
                break
        stream.close()
    leave()
    return INTERRUPTED if interruption.asked else 0


def say_what_is_next(mode: str, run_dir: Path, track: str = "none", stopped: bool = False) -> None:
    """Say what to do with a run."""
    folder = shlex.quote(str(run_dir))
    if stopped:
        tracked = "" if track == "none" else f" --track {track}"
        print("To continue to the same end:")
        print(f"  ssm-metarl train --run_dir {folder} --resume{tracked}")
    elif mode == "policy_gradient":
        print("Next, see how it plays the task it was trained on:")
        print(f"  ssm-metarl adapt {folder} --mode zero_shot")
    else:
        print("Next, see how it adapts to tasks it has never met:")
        print(f"  ssm-metarl evaluate {folder}")


def _returns(progress: "Progress", config: TrainConfig) -> str:
    """Say how good the agent is, where this iteration looked."""
    before, after, best = progress.return_before, progress.return_after, progress.best_return
    if before is None or best is None:
        return ""
    if config.mode == "rl2" and after is not None:
        adapted = f" in the first episode, {after:.1f} in the last"
    else:
        adapted = "" if after is None else f" before, {after:.1f} after adapting"
    return f"return {before:.1f}{adapted}; best {best:.1f}; "


def _summarise(last: "Progress", config: TrainConfig, run_dir: Path) -> None:
    """Say how good the agent became, and draw how."""
    from ssm_metarl.evaluation.figures import learning_curve, write_png
    from ssm_metarl.evaluation.report import counted
    from ssm_metarl.training.run_family import run_family

    adapted = BOTH if config.adapts_both_ways else SCORED[LEARNERS[config.mode].validation]
    spent = f"{counted(last.environment_steps, 'env step')}, {last.seconds:.0f} s"
    best = "unknown" if last.best_return is None else f"{last.best_return:.1f}"
    print(f"Trained {run_dir} ({spent}); best return {adapted}{best}.")
    family, records = run_family(config, run_dir), read_metrics(run_dir / METRICS)
    failed = sum(record.get("failed_episodes") or 0 for record in records)
    if failed:
        print(f"{counted(failed, 'episode')} failed, and nothing was learned from them.")

    def draw() -> object:
        named = {"family": family.name, "learner": config.mode, "best": family.best_return}
        return write_png(learning_curve(records, **named), run_dir / CURVE)

    attempt("learning curve", draw)


def _show_files(track: str, iteration: int, config: TrainConfig, run_dir: Path) -> None:
    """Record what was learned, and show the video and the learning curve in a tracker."""
    from ssm_metarl.training.loading import load
    from ssm_metarl.training.run_family import run_family
    from ssm_metarl.video.before_after import record_trained

    def record() -> Path:
        agent = load(run_dir, trust_env_code=config.trust_env_code)
        record_trained(
            agent, run_family(config, run_dir), config.mode, run_dir / VIDEO, config.seed
        )
        return run_dir / VIDEO

    (run_dir / VIDEO).unlink(missing_ok=True)  # of an earlier stretch of the training
    attempt("video", record)
    tracker = make_tracker(track, run_dir, dataclasses.asdict(config), resume=True)
    for name, path in (("figures/learning_curve", CURVE), ("videos/trained", VIDEO)):
        if (run_dir / path).exists():
            tracker.log_file(iteration, name, run_dir / path)
    tracker.close()
