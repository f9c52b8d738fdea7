"""Rewards and successes written as formulas, such as ``-abs(info['x_velocity'] - velocity)``.

simpleeval computes them: numbers in, a number out. Nothing has attributes, nothing can be assigned,
and only the functions below can be called, so that a formula from somebody else can do no harm.
"""

import ast
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import simpleeval

from ssm_metarl.errors import UserError, nearest

FUNCTIONS = {
    **{f.__name__: f for f in (abs, all, any, len, max, min, round, sum)},
    **{name: getattr(math, name) for name in ("sqrt", "exp", "log", "floor", "ceil", "hypot")},
    **{name: getattr(math, name) for name in ("sin", "cos", "tan", "tanh", "atan2", "radians")},
}
CONSTANTS = {"pi": math.pi, "True": True, "False": False}
SEEN = ("observation", "action", "reward", "terminated", "info")
"""What a formula knows of a step, beside the parameters of the task."""
RESERVED = frozenset({*FUNCTIONS, *CONSTANTS, *SEEN})
LONGEST = 1000  # characters

_PARTS = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Call, ast.IfExp, ast.Compare),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
    *(ast.Subscript, ast.Slice),
)


class Formula:
    """An expression over some names; call it with their values."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        """Read it.

        Args:
            text: The expression.
            names: Those that it may use, beside functions and constants.

        Raises:
            UserError: It is none, or uses another name.
        """
        self.text, self.known = text, tuple(names)
        if len(text) > LONGEST:
            raise UserError(f"a formula has at most {LONGEST} characters, not {len(text)}")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UserError(f"{text!r} is no formula: {error}") from None
        self.used = self._check(tree)
        self._tree = tree.body
        self._evaluator = simpleeval.SimpleEval(functions=FUNCTIONS)

    def __reduce__(self) -> tuple[type["Formula"], tuple[str, Collection[str]]]:
        return Formula, (self.text, self.known)

    def _check(self, tree: ast.Expression) -> frozenset[str]:
        """Return the names that it uses."""
        calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        used = set()
        for node in ast.walk(tree):
            if not isinstance(node, _PARTS):
                what = f".{node.attr}" if isinstance(node, ast.Attribute) else type(node).__name__
                raise UserError(
                    f"{self.text!r}: {what} cannot be used in a formula; valid: numbers, names, "
                    "arithmetic, comparisons, a if b else c, [index] and functions"
                )
            if not isinstance(node, ast.Name):
                continue
            valid = FUNCTIONS if id(node) in calls else {**CONSTANTS, **dict.fromkeys(self.known)}
            if node.id not in valid:
                raise UserError(f"{self.text!r}: unknown {node.id!r}; {nearest(node.id, valid)}")
            used.add(node.id)
        return frozenset(used & set(self.known))

    def __call__(self, values: Mapping[str, Any]) -> float:
        """Return its value, given those of its names.

        Raises:
            UserError: It has none.
        """
        self._evaluator.names = {**CONSTANTS, **values}
        try:
            return float(self._evaluator.eval(self.text, self._tree))
        except UserError as error:
            raise UserError(f"{self.text!r}: {error}") from None
        except Exception as error:  # of a division by zero, a missing index, a list as a number
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self.text!r} cannot be computed: {type(error).__name__}: {reason}"
            ) from None


class FormulaReward(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """An environment with another reward, and with ``info["success"]``, as formulas say."""

    def __init__(
        self,
        env: gymnasium.Env,
        values: Mapping[str, float],
        reward: Formula | None,
        success: Formula | None,
    ) -> None:
        """Replace the one, the other or both.

        Args:
            env: The environment.
            values: Of the task's parameters.
            reward: None to keep the environment's.
            success: Of a step; not 0 is a success. None to leave `info` as it is.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, values=values, reward=reward, success=success
        )
        gymnasium.Wrapper.__init__(self, env)
        self._values, self._reward, self._success = dict(values), reward, success
        self._used = (reward.used if reward else set()) | (success.used if success else set())

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401 (Gymnasium's)
        """Step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        seen = {"observation": observation, "action": action, "reward": reward}
        seen |= {"terminated": bool(terminated), "info": info}
        names = self._values | _known_of_step(seen, self._used)
        if self._reward:
            reward = self._reward(names)
        if self._success:
            info = {**info, "success": float(bool(self._success(names)))}
        return observation, reward, terminated, truncated, info


@dataclass(frozen=True)
class LaneFormula:
    """A formula as the reward or success of many lanes at once, or of one."""

    formula: Formula

    def __call__(self, seen: Mapping[str, Any], task: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Return its values, ``[N]`` or one; 0 where a lane is not going on.

        Args:
            seen: Of the step, by the names of `SEEN`, where ``info`` holds all that belongs to it;
                and over lanes also which are going on, bool ``[N]``, by the name "going".
            task: Values of the task's parameters.
        """
        going = seen.get("going")
        if going is None:
            return self._value(seen, task)
        values = np.zeros(len(going))
        for lane in np.flatnonzero(going).tolist():
            own = {name: part[lane] for name, part in seen.items() if name != "info"}
            own["info"] = {name: part[lane] for name, part in seen["info"].items()}
            values[lane] = self._value(own, {name: part[lane] for name, part in task.items()})
        return values

    def _value(self, seen: Mapping[str, Any], task: Mapping[str, Any]) -> float:
        known = _known_of_step(seen, self.formula.used)
        return self.formula({name: float(value) for name, value in task.items()} | known)


def _known_of_step(seen: Mapping[str, Any], used: Collection[str]) -> dict[str, Any]:
    """Return what a formula uses of a step, as plain numbers."""
    known = {name: _plain(seen[name]) for name in SEEN if name in used and name != "info"}
    return known | {"info": _Info(seen["info"])}


class _Info:
    """What an environment says beside the observation, as far as it is made of numbers."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        self._info = info

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 (numbers, and lists of them)
        if name not in self._info:
            raise UserError(f"info has no {name!r}; {nearest(str(name), map(str, self._info))}")
        return _plain(self._info[name])


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return numbers as Python's own, in lists where there are several."""
    if isinstance(value, dict):
        return _Info(value)
    if isinstance(value, str | bool | int | float):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UserError(f"a {type(value).__name__} is no number, and cannot be in a formula")
    return array.tolist()
