"""``ssm-metarl evaluate``: measure, show, write and draw."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from ssm_metarl.checkpoint.files import check_writable, write_text_atomically
from ssm_metarl.commands import metaworld
from ssm_metarl.commands.common import (
    FAMILY_FLAG,
    NOMINAL,
    RUN,
    TRUST,
    Loaded,
    attempt,
    check_results_folder,
    load_agent,
    made,
    naming_flag,
    refuse_no_folder,
    task_values,
)
from ssm_metarl.commands.evaluation_figures import draw_evaluation
from ssm_metarl.console import Bar, show
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import MAX_WHOLE, UserError, nearest
from ssm_metarl.evaluation.report import MODES, ModeResult, counted, label
from ssm_metarl.training.settings import check_settings, setting

if TYPE_CHECKING:  # they import torch
    from ssm_metarl.env_runner.family import TaskFamily
    from ssm_metarl.evaluation.evaluate import EvaluationPlan
    from ssm_metarl.video.before_after import Shown

T = TypeVar("T")
MOST_EPISODES = 10_000
RETURN_EPISODES, ONE_TASK_EPISODES = 10, 100  # of each task, for its mean return
ONE_TASK = "evaluate/task"  # where its results go: not among those that describe the run
FEW_TASKS = 10  # less than these have as many episodes as one


@dataclass(frozen=True)
class Evaluate:
    """Compare the ways to adapt, on tasks that the agent has never seen."""

    run: str = setting(**RUN)
    modes: str | None = setting(
        None,
        f"Ways to adapt, with commas between: {', '.join(MODES)}.",
        unset="all that the agent knows",
        metavar="MODE,...",
    )
    tasks: int = setting(100, "Number of tasks.", within=(1, 10_000))
    task: str | None = setting(
        None,
        "One task instead, by its parameters, such as gravity=12,swap=1; those left out are "
        f"nominal, and {NOMINAL} leaves out all.",
        unset="--tasks unseen ones",
        metavar="NAME=VALUE,...",
    )
    episodes: str = setting(
        "1,2,5,10,20",
        "Episodes of each task to adapt from, with commas between: the return is measured "
        "after one gradient step from each of these numbers of them.",
        metavar="INT,...",
    )
    steps: int = setting(
        3,
        "Gradient steps, each from as many episodes as the largest number of them; the "
        "return is measured after each.",
        within=(1, 1_000),
    )
    return_episodes: int | None = setting(
        None,
        "Episodes (or trials) of each task that a return is the mean of.",
        unset=f"{RETURN_EPISODES}, or {ONE_TASK_EPISODES} where there are few tasks",
        within=(1, MOST_EPISODES),
    )
    trial_episodes: int | None = setting(
        None,
        "Episodes of a trial, for in_context: the return of each is measured.",
        unset="as in training",
        within=(1, MOST_EPISODES),
    )
    guard: bool = setting(True, "Undo a step that the episodes played show to do harm.")
    split: Literal["held_out", "shifted", "validation"] = setting(
        "held_out", "Which tasks: shifted ones lie outside the training ranges."
    )
    protocol: Literal["episodes", "metaworld"] = setting(
        "episodes",
        "How to measure: metaworld is Meta-World's own evaluation, for its families: 10 episodes "
        "to adapt from, then 3 that count, of each --tasks variation (50).",
    )
    seed: int = setting(0, "Seed of everything random in the evaluation.", within=(0, MAX_WHOLE))
    out: Path | None = setting(
        None,
        "Where evaluation.json, the figures and the video go.",
        unset=f"RUN, or RUN/{ONE_TASK} with --task",
        metavar="FOLDER",
    )
    json: Path | None = setting(
        None,
        "Also write the results there, besides evaluation.json.",
        unset="nowhere",
        metavar="FILE",
    )
    family: Path | None = setting(None, **FAMILY_FLAG)
    video: bool = setting(True, "Record one task before and after adapting.")
    trust_env_code: bool = setting(False, TRUST)

    def __post_init__(self) -> None:
        check_settings(self)
        _ = self.budgets, self.mode_names, task_values(self.task or "")
        if self.json and self.json.is_dir():
            raise UserError(f"--json {self.json} is a folder; name a file")
        if self.json and not self.json.parent.is_dir():
            raise UserError(f"--json {self.json}: there is no folder {self.json.parent}")
        refuse_no_folder("out", self.out)

    @property
    def budgets(self) -> tuple[int, ...]:
        """The numbers of episodes."""
        parts = [part.strip() for part in self.episodes.split(",")]
        if not all(part.isdecimal() and 1 <= int(part) <= MOST_EPISODES for part in parts):
            raise UserError(
                f"--episodes is {self.episodes!r}; valid are whole numbers from 1 to "
                f"{MOST_EPISODES} with commas between, such as 1,5,20"
            )
        return _unrepeated("episodes", map(int, parts))

    @property
    def mode_names(self) -> tuple[str, ...] | None:
        """The modes, or None for all."""
        if self.modes is None:
            return None
        names = _unrepeated("modes", self.modes.replace("-", "_").split(","))
        for name in names:
            if name not in MODES:
                raise UserError(f"--modes: unknown mode {name!r}; {nearest(name, MODES)}")
        return names


def _unrepeated(flag: str, values: Iterable[T]) -> tuple[T, ...]:
    """Return the values of a flag; a UserError if one is there twice."""
    given = tuple(values)
    twice = [value for value in given if given.count(value) > 1]
    if twice:
        raise UserError(f"--{flag} names {twice[0]} twice; name each once")
    return given


def run(asked: Evaluate, given: Collection[str]) -> int:
    """Adapt to unseen tasks in every mode; show, write and draw the results; return 0."""
    if asked.protocol == "metaworld":
        return metaworld.run(asked, given)
    from ssm_metarl.evaluation.evaluate import EvaluationPlan, summarise
    from ssm_metarl.evaluation.table import make_difference_table, make_table

    loaded = load_agent(asked.run, asked.family, asked.trust_env_code)
    agent, place, family = loaded
    tasks = _tasks(asked, given, family)
    plan = EvaluationPlan(
        asked.mode_names,
        asked.budgets,
        asked.steps,
        asked.return_episodes or _usual_episodes(asked, tasks),
        trial_episodes=asked.trial_episodes or agent.config.episodes_per_trial,
        guarded=asked.guard,
        seed=asked.seed,
    )
    folder = asked.out or (place if asked.task is None else place / ONE_TASK)
    _check_places(asked, folder)
    _say_what_is_special(asked, loaded, tasks, plan)
    rows, shown = _evaluate(loaded, tasks, plan)
    split = asked.split if asked.task is None else "chosen"
    evaluation = summarise(family, tasks, split, plan, rows)
    show(make_table(evaluation), whole=True)
    for success in (False, True):
        gains = make_difference_table(evaluation, success=success)
        if gains:
            show(gains)
    for path in filter(None, (folder / "evaluation.json", asked.json)):
        write_text_atomically(path, evaluation.to_json())
        made("numbers", path)
    draw_evaluation(evaluation, family, tasks, folder / "figures")
    video = folder / "videos" / "before-after.mp4"
    video.unlink(missing_ok=True)  # of an earlier evaluation, like figures
    if asked.video:
        attempt("video", lambda: _record(loaded, shown, tasks, video, asked.seed))
    return 0


def _tasks(asked: Evaluate, given: Collection[str], family: "TaskFamily") -> Tasks:
    """Return the tasks to measure on."""
    if asked.task is None:
        draw: Callable[..., Tasks] = getattr(family, asked.split)
        return draw(asked.tasks)
    for name in ("tasks", "split"):
        if name in given:
            raise UserError(f"--task names the one task; leave out --{name}")
    with naming_flag("task"):
        return family.task(**task_values(asked.task))


def _usual_episodes(asked: Evaluate, tasks: Tasks) -> int:
    few = len(tasks) < min(asked.tasks, FEW_TASKS)
    return ONE_TASK_EPISODES if few else RETURN_EPISODES


def _say_what_is_special(
    asked: Evaluate, loaded: Loaded, tasks: Tasks, plan: "EvaluationPlan"
) -> None:
    agent, _, family = loaded
    if asked.task is not None:
        episodes = counted(plan.return_episodes, "episode")
        print(f"The task {tasks.describe(0)} is evaluated on {episodes}.")
    elif len(tasks) < asked.tasks:
        print(
            f"{family.name} has {counted(len(tasks), 'task')} in this set, not {asked.tasks}; "
            f"each is evaluated on {counted(plan.return_episodes, 'episode')}."
        )
    if agent.experience is None:  # it was saved by itself
        print(
            f"{asked.run} was saved by itself, perhaps adapted: zero-shot is the agent as saved.\n"
            "Steps start from there, with no experience to recall. To compare it with the agent\n"
            "that it came from, evaluate the run of that one with the same --seed."
        )


def _check_places(asked: Evaluate, folder: Path) -> None:
    """Refuse, before any work, places that cannot be written."""
    check_results_folder(asked.out, folder)
    if asked.json:
        with naming_flag("json"):
            check_writable(asked.json.parent)


def _evaluate(
    loaded: Loaded, tasks: Tasks, plan: "EvaluationPlan"
) -> tuple[list[ModeResult], "Shown | None"]:
    """Return all results, and of the parameters only those that the video needs."""
    from ssm_metarl.adaptation.hybrid import Memory
    from ssm_metarl.evaluation.evaluate import evaluate, modes_of
    from ssm_metarl.video.before_after import choose_result, choose_task

    agent, _, family = loaded
    modes, task = modes_of(agent, plan), choose_task(family, tasks)
    rows, shown = [], None
    with Bar(f"evaluate {family.name}") as bar:
        memory = Memory.of(agent) if "hybrid" in modes else None
        for one in evaluate(agent, family, tasks, plan, memory):
            rows.append(one.result)
            shown = choose_result(shown, one, agent, task)
            name = label(one.result.mode, one.result.steps, one.result.shots)
            bar.update(len(rows), plan.results(modes), f"{name}: {one.result.mean:.1f}")
    return rows, shown


def _record(loaded: Loaded, shown: "Shown | None", tasks: Tasks, path: Path, seed: int) -> str:
    from ssm_metarl.video.before_after import write_before_after

    before, after = write_before_after(loaded.agent, shown, loaded.family, tasks, path, seed)
    assert shown is not None
    returns = f"return {before:.1f} before adapting, {after:.1f} after"
    return f"{path}\ntask {shown.task}: {tasks.describe(shown.task)}\n{returns}"
