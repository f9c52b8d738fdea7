"""Training from the command line: start, follow, stop and resume a run."""

import shlex
from collections.abc import Generator
from pathlib import Path

from ssm_metarl.commands.common import attempt, best_return, made, naming_flag, use_one_thread
from ssm_metarl.console import INTERRUPTED, Bar, Interruption
from ssm_metarl.errors import CheckpointError, SsmMetaRLError, UserError
from ssm_metarl.evaluation.figures import learning_curve
from ssm_metarl.evaluation.report import counted
from ssm_metarl.training import loop as training
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import Progress
from ssm_metarl.training.tracking import how_to_look, read_metrics

Stream = Generator[Progress, None, None]
ADAPTED = {"meta_rl": "after one adaptation step ", "rl2": "over the episodes of a trial "}
BOTH = "over the episodes of a trial, the mean of before and after one adaptation step, "


def train_run(config: TrainConfig, run_dir: Path, track: str) -> int:
    """Train a new run; return the exit code.

    Raises:
        UserError: Bad settings, or a folder that exists or cannot be written.
        DivergenceError: While training.
    """
    use_one_thread()
    with naming_flag("env_name"):
        training.run_family(config)
    try:
        stream = training.train(config, run_dir, tracker=track)
    except OSError as error:
        raise UserError(f"--run_dir {run_dir}: {error.strerror}") from error
    return _follow(stream, config, run_dir, track)


def resume_run(config: TrainConfig, run_dir: Path, track: str) -> int:
    """Continue a run; return the exit code.

    Raises:
        CheckpointError: Its checkpoint is damaged.
        DivergenceError: While training.
    """
    use_one_thread()
    stream = training.resume(run_dir, tracker=track, trust_env_code=config.trust_env_code)
    return _follow(stream, config, run_dir, track)


def _follow(stream: Stream, config: TrainConfig, run_dir: Path, track: str) -> int:
    """Show a training as it goes; say how it ended and what to do next."""
    last = None
    try:
        with Interruption() as interruption, _training_bar(config, run_dir) as bar:
            returns = ""
            for last in stream:
                returns = _returns(last, config) or returns
                speed = f"{last.environment_steps / last.seconds:,.0f} env steps/s"
                bar.update(last.iteration, last.iterations, f"{returns}{speed}")
                if interruption.asked:
                    break
            stream.close()
    except KeyboardInterrupt:  # the second one; the stream has saved the last whole iteration
        return _stopped(run_dir, track)
    except CheckpointError as error:  # could not be saved: nothing the user wrote is wrong
        raise SsmMetaRLError(str(error)) from error
    if last and last.iteration < last.iterations:
        return _stopped(run_dir, track)
    _finished(last, config, run_dir, track)
    return 0


def _training_bar(config: TrainConfig, run_dir: Path) -> Bar:
    records = read_metrics(run_dir / training.METRICS)
    return Bar(f"{config.mode} {config.env_name}", done=records[-1]["iteration"] if records else 0)


def _returns(progress: Progress, config: TrainConfig) -> str:
    """Say how good the agent is, where this iteration looked."""
    before, after, best = progress.return_before, progress.return_after, progress.best_return
    if before is None:
        return ""
    if config.mode == "rl2":
        adapted = f" in episode 1, {after:.1f} in episode {config.episodes_per_trial}"
    else:
        adapted = "" if after is None else f" before, {after:.1f} after adapting"
    return f"return {before:.1f}{adapted}; best {best:.1f}; "


def _stopped(run_dir: Path, track: str) -> int:
    tracked = "" if track == "none" else f" --track {track}"
    folder = shlex.quote(str(run_dir))
    print("Stopped; everything so far is saved.")
    _say_how_to_look(track, run_dir)
    print("To continue to the same end:")
    print(f"  ssm-metarl train --run_dir {folder} --resume{tracked}")
    return INTERRUPTED


def _finished(last: Progress | None, config: TrainConfig, run_dir: Path, track: str) -> None:
    if last is None:
        print(f"{run_dir} is finished already: nothing was left to train.")
    else:
        adapted = BOTH if config.adapts_both_ways else ADAPTED.get(config.mode, "")
        spent = f"{counted(last.environment_steps, 'env step')}, {last.seconds:.0f} s"
        print(f"Trained {run_dir} ({spent}); best return {adapted}{last.best_return:.1f}.")
        family = training.run_family(config)
        records = read_metrics(run_dir / training.METRICS)
        curve = run_dir / "figures" / "learning-curve.png"
        attempt(
            "learning curve",
            lambda: learning_curve(records, curve, family=family.name, best=best_return(family)),
        )
        _say_how_to_look(track, run_dir)
    folder = shlex.quote(str(run_dir))
    if config.mode == "policy_gradient":
        print("Next, see how it plays the task it was trained on:")
        print(f"  ssm-metarl adapt {folder} --mode zero_shot")
    else:
        print("Next, see how it adapts to tasks it has never met:")
        print(f"  ssm-metarl evaluate {folder}")


def _say_how_to_look(track: str, run_dir: Path) -> None:
    command = how_to_look(track, run_dir)
    if command:
        made(track, command)
