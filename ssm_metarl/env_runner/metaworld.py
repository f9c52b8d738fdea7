"""Meta-World's meta-learning benchmarks as families: ML1 of any of its tasks, ML10 and ML45.

A benchmark is a fixed set of tasks: 50 variations (places of goals and objects, which the agent
does not see) of every class of tasks. Training uses the first 40 variations of each training class,
and validation the other 10; the held-out tasks are the benchmark's own test tasks (Yu et al. 2019,
arXiv:1910.10897).

Tasks are made by the benchmark's classes and ``set_task``. The ids that Meta-World registers with
Gymnasium are not used: "Meta-World/ML1-train" hands out the tasks of the test split.
"""

import copy
import functools
import importlib
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.tasks import Parameter, Tasks
from ssm_metarl.errors import UserError, nearest

SEED = 0x4D4C31  # far from any that somebody would train with: ML1's test tasks are of seed + 1
VARIATIONS, VALIDATION = 50, 10  # of each class; the last ones validate
EPISODE_STEPS = 500
REGISTERED = "Meta-World/"  # what its ids begin with


def is_metaworld(name: str) -> bool:
    """Whether a family's name is one of Meta-World's benchmarks, or could be."""
    return name in ("ML10", "ML45") or name.startswith("ML1-")


@functools.cache
def metaworld_family(name: str) -> TaskFamily:
    """Return a benchmark as a family.

    Args:
        name: ``ML1-reach-v3`` or of another task, ``ML10`` or ``ML45``.

    Raises:
        UserError: Meta-World is not installed, or has no such task.
    """
    library = load_metaworld()
    if name.startswith("ML1-"):
        known = library.ML1.ENV_NAMES
        if name.removeprefix("ML1-") not in known:
            raise UserError(
                f"{name!r}: {nearest(name, [f'ML1-{one}' for one in known])}; ML10 and ML45 too"
            )
        parameters, sets = _one_class()
        description = f"Meta-World's {name}: 50 places to train for, and 50 others to be tested on"
    else:
        splits = getattr(importlib.import_module("metaworld.env_dict"), f"{name}_V3")
        train, test = tuple(splits["train"]), tuple(splits["test"])
        parameters, sets = _several_classes(train, test)
        description = f"Meta-World's {name}: {len(train)} classes of tasks, tested on {len(test)}"
    return TaskFamily(
        name,
        f"{description} others",
        max_episode_steps=EPISODE_STEPS,
        make=MakeMetaWorld(name),
        parameters=parameters,
        task_sets=sets,
        support_steps=EPISODE_STEPS,
        picture="The robot's arm, and what it is to move; the agent does not see the goal.",
    )


def _variation(count: int) -> Parameter:
    return Parameter(
        "variation", description="places of goal and objects", choices=tuple(range(count))
    )


def _one_class() -> tuple[list[Parameter], dict[str, Tasks]]:
    """Return the parameters and sets of ML1: from 50 on, variations are of the test split."""
    rows = np.arange(2 * VARIATIONS, dtype=np.float64)
    first, second = VARIATIONS - VALIDATION, VARIATIONS
    parts = np.split(rows, (first, second))
    sets = [Tasks({"variation": part}, np.arange(len(part))) for part in parts]
    return [_variation(len(rows))], dict(zip(SETS, sets, strict=True))


SETS = ("training", "validation", "held_out")


def _several_classes(
    train: Sequence[str], test: Sequence[str]
) -> tuple[list[Parameter], dict[str, Tasks]]:
    """Return the parameters and sets of ML10 or ML45; the first tasks of a set are of all classes.

    A class of the test split comes after those of the training split.
    """
    labels = (*train, *test)
    kind = Parameter(
        "task", description="what is to be done", choices=tuple(range(len(labels))), labels=labels
    )
    taught, tested = range(len(train)), range(len(train), len(labels))
    first = VARIATIONS - VALIDATION
    spans = (taught, range(first)), (taught, range(first, VARIATIONS)), (tested, range(VARIATIONS))
    sets = []
    for kinds, variations in spans:
        of, which = np.meshgrid(np.array(kinds, float), np.array(variations, float))
        values = {"task": of.ravel(), "variation": which.ravel()}
        sets.append(Tasks(values, np.arange(of.size), {"task": labels}))
    return [kind, _variation(VARIATIONS)], dict(zip(SETS, sets, strict=True))


@dataclass(frozen=True)
class MakeMetaWorld:
    """Builds the environment of one task of a benchmark, by its name."""

    benchmark: str

    def __call__(self, task: Mapping[str, float], render_mode: str | None = None) -> gymnasium.Env:
        """Build it; the values are those of the family's parameters."""
        kind, its_tasks = _classes(self.benchmark)[int(task.get("task", 0.0))]
        return FrozenTask(kind, its_tasks[int(task["variation"])], render_mode)

    def __reduce__(self) -> tuple[Any, ...]:
        """Take the tasks along to another process: ML45 takes a minute to make them."""
        return _remade, (self.benchmark, _classes(self.benchmark))


_made: dict[str, list[tuple[Any, list[Any]]]] = {}


def _remade(name: str, classes: list[tuple[Any, list[Any]]]) -> MakeMetaWorld:
    _made[name] = classes
    return MakeMetaWorld(name)


def _classes(name: str) -> list[tuple[Any, list[Any]]]:
    """Return each class of a benchmark with its tasks: of the training split, then of the test."""
    if name not in _made:
        _made[name] = _make_classes(name)
    return _made[name]


def _make_classes(name: str) -> list[tuple[Any, list[Any]]]:
    library = load_metaworld()
    one_class = name.startswith("ML1-")
    benchmark = (
        library.ML1(name.removeprefix("ML1-"), seed=SEED)
        if one_class
        else getattr(library, name)(seed=SEED)
    )
    splits = (
        (benchmark.train_classes, benchmark.train_tasks),
        (benchmark.test_classes, benchmark.test_tasks),
    )
    found = [
        (kind, [task for task in tasks if task.env_name == label])
        for classes, tasks in splits
        for label, kind in classes.items()
    ]
    if one_class:
        (kind, taught), (_, tested) = found
        return [(kind, taught + tested)]
    return found


class FrozenTask(gymnasium.Wrapper):
    """One of Meta-World's environments with its task, which every reset starts alike.

    Building one takes long and so does its reset, which moves the arm into place. So those that are
    closed are kept for other tasks of their class, and a later reset puts back what the first one
    led to. Both are the same to the bit as what is new.
    """

    _idle: ClassVar[dict[Any, list[tuple[Any, "_Snapshot"]]]] = {}

    def __init__(self, kind: Any, task: Any, render_mode: str | None = None) -> None:  # noqa: ANN401
        """Take an environment of a class that is not in use, or build one, and set its task."""
        idle = self._idle.setdefault(kind, [])
        if render_mode is None and idle:
            env, self._new = idle.pop()
            self._new.restore()
        else:
            env = kind(render_mode=render_mode)
            self._new = _Snapshot(env)
        env.set_task(task)
        super().__init__(env)
        self._begun: tuple[_Snapshot, np.ndarray] | None = None
        self._open = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset; Meta-World takes a seed and leaves it, so it seeds the generator alone."""
        if seed is not None:
            gymnasium.Env.reset(self.unwrapped, seed=seed)
        if self._begun is None:
            observation, _ = self.env.reset()
            self._begun = _Snapshot(self.unwrapped), observation
        snapshot, observation = self._begun
        snapshot.restore()
        return observation.copy(), {}

    def close(self) -> None:
        """Keep the environment for another task, unless it draws."""
        env: Any = self.unwrapped
        if env.render_mode is not None:
            env.close()
        elif self._open:
            self._idle[type(env)].append((env, self._new))
        self._open = False


class _Snapshot:
    """What an environment of Meta-World's changes as it runs, to be put back."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        self._env, self._mujoco = env, importlib.import_module("mujoco")
        self._kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._state = np.empty(self._mujoco.mj_stateSize(env.model, self._kind))
        self._mujoco.mj_getState(env.model, env.data, self._state, self._kind)
        own = {name: value for name, value in vars(env).items() if _changes(name, value)}
        self._own = copy.deepcopy(own)

    def restore(self) -> None:
        """Put it back."""
        model, data = self._env.model, self._env.data
        self._mujoco.mj_setState(model, data, self._state, self._kind)
        self._mujoco.mj_forward(model, data)  # which changes the solver's warm start
        self._mujoco.mj_setState(model, data, self._state, self._kind)
        vars(self._env).update(copy.deepcopy(self._own))


def _changes(name: str, value: object) -> bool:
    """Whether an attribute is the environment's own, and not a view of the simulator's memory."""
    if name.startswith("_np_random"):  # it goes on, or is seeded
        return False
    base = value
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return isinstance(base, np.ndarray | np.generic | bool | int | float | str | list | dict | None)


@functools.cache
def load_metaworld() -> Any:  # noqa: ANN401
    """Return Meta-World.

    Raises:
        UserError: It cannot be imported here, or not with this mujoco.
    """
    try:
        library = importlib.import_module("metaworld")
    except ImportError as error:
        raise UserError(
            f"Meta-World's families cannot be built: {' '.join(str(error).split())}; install what "
            "they need, in an environment of their own: pip install 'ssm-metarl[metaworld]'"
        ) from error
    if not hasattr(library, "ML1"):
        raise UserError(f"metaworld is {library}, and not Meta-World; rename that file or folder")
    _check_mujoco()
    return library


def versions() -> dict[str, str]:
    """Return the releases that results depend on."""
    return {name: importlib.metadata.version(name) for name in ("metaworld", "mujoco")}


def _check_mujoco() -> None:
    """Refuse another mujoco than the one that Meta-World asks for.

    Its physics are others, and with 4.0.0 no environment can be built.
    """
    needs = importlib.metadata.requires("metaworld") or []
    pinned = next((m[1] for m in (re.match(r"mujoco==([\d.]+)", each) for each in needs) if m), "")
    own, here = versions().values()
    if pinned and here != pinned:
        raise UserError(
            f"Meta-World {own} needs mujoco {pinned}, and {here} is installed, whose physics "
            f"differ; valid: pip install 'mujoco=={pinned}', best in an environment of its own"
        )
