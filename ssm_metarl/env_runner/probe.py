"""A look at a family before any work is done with it: does it run, and do its parameters matter?

Published families have silently had parameters that did nothing: a mass from which the simulator
had derived its constants before, or a value that every reset puts back. So the tasks at the ends of
every range are played, all with the same seed and actions, twice.
"""

import contextlib
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import SeedSequence

from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.mujoco_probe import same_physics
from ssm_metarl.env_runner.spaces import random_actions
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.tasks import Parameter, Tasks
from ssm_metarl.errors import DivergenceError, EnvironmentFailure, UserError

STEPS, SECONDS = 200, 2.0  # of each of two episodes, at most
SEED = SeedSequence(0x70726F6265)
RESET_STREAM, ACTION_STREAM = 0, 1


@dataclass(frozen=True)
class _Ends:
    """Where the tasks with the extreme values of one parameter are in the set that is played."""

    parameter: Parameter
    rows: list[int]
    """Of its values for training: both ends, and the middle, since a circle closes."""


def probe(family: TaskFamily) -> None:
    """Play the tasks at the ends of every range for a moment.

    Warns of a parameter that changes nothing.

    Raises:
        UserError: An environment fails in one of them, its spaces differ, or its reset puts a
            parameter back to another value.
    """
    tasks, ends = _extremes(family)
    try:
        first, second = _play(family, tasks)
    except (EnvironmentFailure, DivergenceError, UserError) as error:
        raise _blame(family, tasks, error) from error
    for each in ends:
        low, high = each.rows[0], each.rows[-1]
        name, values = each.parameter.name, tasks.values[each.parameter.name]
        what = f"{name}: episodes with {values[low]:g} and {values[high]:g}, the same seed and the "
        what += f"same actions are the same to the bit ({len(first.seen) - 1} steps)"
        if first.alike(each.rows) and _same_model(family, tasks[low], tasks[high]):
            warnings.warn(
                f"{family.name}: {what}, so the parameter seems to change nothing", stacklevel=3
            )
        elif second.alike(each.rows) and not first.alike(each.rows):
            raise UserError(
                f"{family.name}: {what} after the second reset, which puts the value back; valid: "
                "an environment that keeps it, such as one whose constructor takes it"
            )


def _extremes(family: TaskFamily) -> tuple[Tasks, list[_Ends]]:
    """Return the nominal task and those with one parameter at an end of a range.

    All have one identity, and so one random stream.
    """
    nominal = family.nominal()
    rows, ends = [nominal.parameters(0)], []
    for parameter in family.parameters:
        low, high = parameter.low, np.nextafter(parameter.high, parameter.low)
        middle = 0.5 * (low + high)
        inner = sorted(parameter.choices)
        inner = [inner[0], inner[len(inner) // 2], inner[-1]] if inner else [low, middle, high]
        outer = [end for interval in parameter.shifted or () for end in interval]
        chosen = [*inner, *outer] if parameter.varies else outer
        if parameter.varies:
            ends.append(_Ends(parameter, list(range(len(rows), len(rows) + len(inner)))))
        rows += [{**rows[0], parameter.name: float(value)} for value in chosen]
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return replace(nominal, values=values, index=np.zeros(len(rows), dtype=np.int64)), ends


@dataclass(frozen=True)
class _Episode:
    """What was seen of every task, until a lane ended: NaN after that."""

    seen: np.ndarray
    """`[T + 1, K, O + 3]`: observation, reward, and whether the episode ends and the task is
    solved."""

    def alike(self, rows: list[int]) -> bool:
        """Whether tasks gave the same numbers."""
        one, *others = (self.seen[:, row] for row in rows)
        return all(np.array_equal(one, other, equal_nan=True) for other in others)


def _play(family: TaskFamily, tasks: Tasks) -> tuple[_Episode, _Episode]:
    """Play an episode of every task, and the same once more after another reset."""
    environment = family.make_vec(tasks, 1, autoreset=True, horizon=STEPS)
    try:
        first = _episode(environment, len(tasks), STEPS)
        return first, _episode(environment, len(tasks), len(first.seen) - 1)
    finally:
        environment.close()


def _episode(environment: Environment, tasks: int, steps: int) -> _Episode:
    rng = np.random.default_rng(substream(SEED, ACTION_STREAM))
    nothing = torch.zeros(tasks, 1, 1)
    first = environment.reset(substream(SEED, RESET_STREAM))
    seen = [torch.cat([first, nothing, nothing, nothing], -1)]
    over, started = nothing[:, 0].bool(), time.monotonic()
    for _ in range(steps):
        action = random_actions(environment.action_space, rng, (1, 1))
        step = environment.step(action.expand(tasks, *action.shape[1:]))
        if step.failed is not None:
            raise EnvironmentFailure(step.why)
        ended = step.terminated | step.truncated
        solved = torch.zeros_like(ended) if step.success is None else step.success
        flags = torch.stack([step.reward, ended.to(step.reward), solved.to(step.reward)], -1)
        now = torch.cat([step.observation, flags], -1)
        seen.append(now.masked_fill(over.unsqueeze(-1), torch.nan))
        over = over | ended
        if bool(over.all()) or time.monotonic() - started > SECONDS:
            break
    return _Episode(torch.stack(seen).squeeze(2).numpy())


def _same_model(family: TaskFamily, *tasks: Tasks) -> bool:
    """Whether two tasks have no MuJoCo models of their own, or such as behave alike."""
    models = []
    for task in tasks:
        with contextlib.closing(family.gymnasium(task)) as env:
            models.append(getattr(env.unwrapped, "model", None))
    return not all(hasattr(model, "body_mass") for model in models) or same_physics(*models)


def _blame(family: TaskFamily, tasks: Tasks, error: Exception) -> UserError:
    """Return an error that names the task whose environment fails, if one does by itself."""
    for task in tasks:
        try:
            _play(family, task)
        except (EnvironmentFailure, DivergenceError, UserError) as own:
            return UserError(f"{family.name} with {task.describe(0)}: {own}")
    return UserError(f"{family.name}: {error}")
