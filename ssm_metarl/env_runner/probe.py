"""A look at a family before any work is done with it: does it run, and do its parameters matter?

Published families have silently had parameters that did nothing: a mass from which the simulator
had derived its constants before, or a value that every reset puts back. So the tasks at the ends of
every range are played, all with the same seed and actions, twice.
"""

import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import SeedSequence

from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.family import TaskFamily
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
    rows: range


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
        if first.alike(low, high):
            warnings.warn(
                f"{family.name}: {what}, so the parameter seems to change nothing", stacklevel=3
            )
        elif second.alike(low, high):
            raise UserError(
                f"{family.name}: {what} after the second reset, which puts the value back; valid: "
                "an environment that keeps it, such as one whose constructor takes it"
            )


def _extremes(family: TaskFamily) -> tuple[Tasks, list[_Ends]]:
    """Return the nominal task and those with one parameter at an end of a range.

    The first and the last of a parameter's are its extremes in training. All have one identity, and
    so one random stream.
    """
    nominal = family.nominal()
    rows, ends = [nominal.parameters(0)], []
    for parameter in family.parameters:
        low, high = parameter.low, np.nextafter(parameter.high, parameter.low)
        inner = (
            (min(parameter.choices), max(parameter.choices)) if parameter.choices else (low, high)
        )
        outer = [end for interval in parameter.shifted or () for end in interval]
        chosen = [inner[0], *outer, inner[1]] if parameter.varies else outer
        if parameter.varies:
            ends.append(_Ends(parameter, range(len(rows), len(rows) + len(chosen))))
        rows += [{**rows[0], parameter.name: float(value)} for value in chosen]
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return replace(nominal, values=values, index=np.zeros(len(rows), dtype=np.int64)), ends


@dataclass(frozen=True)
class _Episode:
    """What was seen of every task, until a lane ended: NaN after that."""

    seen: np.ndarray
    """`[T + 1, K, O + 2]`: observation, reward, and whether the episode goes on."""

    def alike(self, one: int, other: int) -> bool:
        """Whether two tasks gave the same numbers."""
        return np.array_equal(self.seen[:, one], self.seen[:, other], equal_nan=True)


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
    seen = [torch.cat([environment.reset(substream(SEED, RESET_STREAM)), nothing, nothing], -1)]
    over, started = nothing[:, 0].bool(), time.monotonic()
    for _ in range(steps):
        action = random_actions(environment.action_space, rng, (1, 1))
        step = environment.step(action.expand(tasks, *action.shape[1:]))
        if step.failed is not None:
            raise EnvironmentFailure("the simulation became unstable")
        ended = step.terminated | step.truncated
        flags = torch.stack([step.reward, ended.to(step.reward)], -1)
        now = torch.cat([step.observation, flags], -1)
        seen.append(now.masked_fill(over.unsqueeze(-1), torch.nan))
        over = over | ended
        if bool(over.all()) or time.monotonic() - started > SECONDS:
            break
    return _Episode(torch.stack(seen).squeeze(2).numpy())


def _blame(family: TaskFamily, tasks: Tasks, error: Exception) -> UserError:
    """Return an error that names the task whose environment fails, if one does by itself."""
    for task in tasks:
        try:
            _play(family, task)
        except (EnvironmentFailure, DivergenceError, UserError) as own:
            return UserError(f"{family.name} with {task.describe(0)}: {own}")
    return UserError(f"{family.name}: {error}")
