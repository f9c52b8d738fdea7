"""Robots that a family's file declares: checked before any work, and run in MuJoCo's threads."""

import contextlib
import copy
from typing import Any

import gymnasium

from ssm_metarl.env_runner import mujoco_model
from ssm_metarl.env_runner.formula import LaneFormula
from ssm_metarl.env_runner.mujoco_world import ROBOTS, Edit, MuJoCoWorld, Scale, Set
from ssm_metarl.env_runner.recipe import Recipe, Target
from ssm_metarl.env_runner.targets import model_of
from ssm_metarl.errors import UserError


def robot_world(recipe: Recipe) -> MuJoCoWorld | None:
    """Return a world that runs a recipe's environments all at once, with the same numbers.

    None if they need more than a robot of Gymnasium's with another model, reward or success.
    """
    kinds = {target.kind for target in recipe.targets.values()}
    if recipe.env_id not in ROBOTS or recipe.wrappers or recipe.derived or kinds - {"", "model"}:
        return None
    return MuJoCoWorld(
        recipe.env_id,
        [_edit(name, target) for name, target in recipe.targets.items() if target.kind],
        LaneFormula(recipe.reward) if recipe.reward else None,
        recipe.arguments,
        LaneFormula(recipe.success) if recipe.success else None,
    )


def _edit(name: str, target: Target) -> Edit:
    return (Scale if target.scaled else Set)(name, str(target.place))


class ModelCheck:
    """Tries values on a copy of the model of a recipe's environment."""

    def __init__(self, recipe: Recipe) -> None:
        """Build the environment, if a parameter goes to its model.

        Raises:
            UserError: It cannot be built, for want of MuJoCo perhaps, or has no model.
        """
        self._recipe = recipe
        self._model: Any = None
        if any(target.kind == "model" for target in recipe.targets.values()):
            self._model = self._build()

    def _build(self) -> Any:  # noqa: ANN401 (an MjModel)
        mujoco_model.load_mujoco()
        try:
            env = gymnasium.make(self._recipe.env_id, **self._recipe.arguments)
        except Exception as error:  # what a foreign environment raises is its own business
            reason = " ".join(str(error).split())
            raise UserError(f"{self._recipe.env_id} cannot be built: {reason}") from error
        with contextlib.closing(env):
            return model_of(env)

    def try_value(self, name: str, value: float) -> None:
        """Set the field that a parameter goes to, if it goes to one.

        Raises:
            UserError: The model has no such element, or cannot hold the value.
        """
        target = self._recipe.targets[name]
        if target.kind == "model":
            model = copy.copy(self._model)
            mujoco_model.change(model, target.place, value, target.scaled)
