"""What the commands do, once the command line is understood; this is where torch is loaded."""

import os
import shlex
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.table import Table

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.arguments import Evaluate
from ssm_metarl.console import INTERRUPTED, Bar, Interruption, show
from ssm_metarl.env_runner.family import Parameter, TaskFamily, Tasks
from ssm_metarl.env_runner.registry import list_families
from ssm_metarl.errors import CheckpointError, SsmMetaRLError, UserError, nearest
from ssm_metarl.evaluation.evaluate import MODES, EvaluationPlan, evaluate, modes_of, summarise
from ssm_metarl.evaluation.figures import (
    adaptation_curve,
    learning_curve,
    task_scatter,
    trial_curve,
)
from ssm_metarl.evaluation.report import Evaluation, counted, label, make_table
from ssm_metarl.runs import training
from ssm_metarl.runs.config import TrainConfig
from ssm_metarl.runs.files import write_text_atomically
from ssm_metarl.runs.loading import load
from ssm_metarl.runs.showcase import task_groups, write_before_after
from ssm_metarl.runs.tracking import how_to_look, read_metrics
from ssm_metarl.runs.training import Progress

Stream = Generator[Progress, None, None]
ADAPTED = {"meta_rl": "after one adaptation step ", "rl2": "over the episodes of a trial "}


def train_run(config: TrainConfig, run_dir: Path, track: str) -> int:
    """Train a new run; return the exit code.

    Raises:
        UserError: Bad settings, or a folder that exists or cannot be written.
        DivergenceError: While training.
    """
    _use_one_thread()
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
    _use_one_thread()
    stream = training.resume(run_dir, tracker=track, trust_env_code=config.trust_env_code)
    return _follow(stream, config, run_dir, track)


def evaluate_run(asked: Evaluate) -> int:
    """Meet unseen tasks in every way; show, write and draw what came out; return the exit code.

    Raises:
        UserError: An unknown mode, or a folder that is not a run.
        CheckpointError: Its checkpoint is missing or damaged.
    """
    _use_one_thread()
    modes = _modes(asked)
    agent = load(asked.run, trust_env_code=asked.trust_env_code)
    config = training.read_config(asked.run, trust_env_code=asked.trust_env_code)
    plan = EvaluationPlan(
        modes,
        asked.episodes,
        asked.steps,
        trial_episodes=config.episodes_per_trial,
        seed=asked.seed,
    )
    family = training.run_family(config)
    draw: Callable[..., Tasks] = getattr(family, asked.split)
    tasks = draw(asked.tasks)
    evaluation = _evaluate(agent, family, tasks, asked.split, plan)
    show(make_table(evaluation), whole=True)
    for path in filter(None, (asked.run / "evaluation.json", asked.json)):
        write_text_atomically(path, evaluation.to_json())
        _made("numbers", path)
    _draw_evaluation(evaluation, family, tasks, asked.run / "figures")
    if asked.video:
        path = asked.run / "videos" / "before-after.mp4"
        _attempt("video", lambda: _film(agent, family, draw(), plan, path))
    return 0


def show_families() -> int:
    """List the families with their parameters and ranges."""
    for family in list_families():
        table = Table(
            title=f"[bold]{family.name}[/]: {family.description}",
            caption=f"  Episodes of {counted(family.max_episode_steps, 'step')}.\n",
            box=box.SIMPLE_HEAD,
            title_style="",
            title_justify="left",
            caption_justify="left",
        )
        for name in ("parameter", "training", "shifted test", "nominal", "unit", "what it is"):
            table.add_column(name, no_wrap=name == "parameter")
        for parameter in family.parameters:
            table.add_row(
                parameter.name,
                parameter.range_text,
                _shifted_text(parameter),
                f"{parameter.default:g}",
                parameter.unit,
                parameter.description,
            )
        show(table)
    print("Any other Gymnasium id works too, as a family of one task.")
    return 0


def _use_one_thread() -> None:
    """Leave the other cores alone, unless the user has said how many threads there should be.

    The tensors are small: threads that wait for each other at every operation gain little on an
    idle machine, and on a busy one were seen to take a hundred times as long.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


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
        adapted = ADAPTED.get(config.mode, "")
        spent = f"{counted(last.environment_steps, 'env step')}, {last.seconds:.0f} s"
        print(f"Trained {run_dir} ({spent}); best return {adapted}{last.best_return:.1f}.")
        family = training.run_family(config)
        records = read_metrics(run_dir / training.METRICS)
        curve = run_dir / "figures" / "learning-curve.png"
        _attempt("learning curve", lambda: learning_curve(records, curve, best=_best(family)))
        _say_how_to_look(track, run_dir)
    print("Next, see how it adapts to tasks it has never met:")
    print(f"  ssm-metarl evaluate {shlex.quote(str(run_dir))}")


def _say_how_to_look(track: str, run_dir: Path) -> None:
    command = how_to_look(track, run_dir)
    if command:
        _made(track, command)


def _modes(asked: Evaluate) -> tuple[str, ...] | None:
    if asked.modes is None:
        return None
    modes = tuple(dict.fromkeys(asked.modes.replace("-", "_").split(",")))
    for mode in modes:
        if mode not in MODES:
            raise UserError(f"--modes: unknown mode {mode!r}; {nearest(mode, MODES)}")
    return modes


def _evaluate(
    agent: Agent, family: TaskFamily, tasks: Tasks, split: str, plan: EvaluationPlan
) -> Evaluation:
    results = {
        "zero_shot": 1,
        "in_context": plan.trial_episodes,
        "standard": plan.steps,
        "from_scratch": plan.steps + 1,
    }
    modes = modes_of(agent, plan)
    both = plan.steps if {"in_context", "standard"} <= set(modes) else 0
    total, rows = both + sum(results[mode] for mode in modes), []
    with Bar(f"evaluate {family.name}") as bar:
        for row in evaluate(agent, family, tasks, plan):
            rows.append(row)
            bar.update(len(rows), total, f"{label(row.mode, row.steps, row.shots)}: {row.mean:.1f}")
    return summarise(family, tasks, split, plan, rows)


def _draw_evaluation(
    evaluation: Evaluation, family: TaskFamily, tasks: Tasks, folder: Path
) -> None:
    """Draw what there are results for."""
    if any(row.steps for row in evaluation.results):
        path = folder / "adaptation.png"
        _attempt("figure", lambda: adaptation_curve(evaluation, path, best=_best(family)))
    if any(row.mode == "in_context" for row in evaluation.results):
        path_of_trial = folder / "in-context.png"
        _attempt("trial", lambda: trial_curve(evaluation, path_of_trial, best=_best(family)))
    returns = {(row.mode, row.steps): np.array(row.per_task) for row in evaluation.results}
    before, after = returns.get(("zero_shot", 0)), returns.get(("standard", 1))
    if before is not None and after is not None:
        groups, scatter = task_groups(family, tasks), folder / "tasks.png"
        _attempt("tasks", lambda: task_scatter(before, after, scatter, groups=groups))


def _film(agent: Agent, family: TaskFamily, tasks: Tasks, plan: EvaluationPlan, path: Path) -> str:
    shown = write_before_after(agent, family, tasks, plan, path)
    returns = f"return {shown.before:.1f} before adapting, {shown.after:.1f} after"
    return f"{path}\n{'':<18}task {shown.task}: {tasks.describe(shown.task)}\n{'':<18}{returns}"


def _attempt(what: str, make: Callable[[], object]) -> None:
    """Make something beside the results, or say why it was skipped."""
    try:
        _made(what, make())
    except UserError as error:
        _made(what, f"skipped: {error}")


def _made(what: str, where: object) -> None:
    print(f"  {what:<15} {where}")


def _best(family: TaskFamily) -> float | None:
    """Return the best possible return, where it is known: CartPole gives 1 per step."""
    return float(family.max_episode_steps) if family.env_id == "CartPole-v1" else None


def _shifted_text(parameter: Parameter) -> str:
    if parameter.shifted is None:
        return "the same"
    return ", ".join(f"{low:g} to {high:g}" for low, high in parameter.shifted)
