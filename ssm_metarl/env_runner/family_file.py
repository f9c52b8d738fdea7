"""Families that are declared in TOML files; docs/families.md explains every key."""

import copy
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssm_metarl.core.shipped import shipped
from ssm_metarl.env_runner import recipe
from ssm_metarl.env_runner.declared_robot import ModelCheck, robot_world
from ssm_metarl.env_runner.family import NO_LIMIT_STEPS, TaskFamily
from ssm_metarl.env_runner.family_keys import (
    DRAWN,
    KEYS,
    PARAMETER_KEYS,
    SUGGESTED,
    TARGETS,
    WORDS,
)
from ssm_metarl.env_runner.formula import RESERVED, SEEN, Formula
from ssm_metarl.env_runner.recipe import Recipe, Target, WrapperUse
from ssm_metarl.env_runner.tasks import Parameter
from ssm_metarl.env_runner.toml_lines import KeyPath, line_of
from ssm_metarl.errors import UserError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

LARGEST = 100_000  # bytes


def read_family(path: str | Path, *, trust_env_code: bool = False) -> TaskFamily:
    """Read a family from a TOML file.

    Args:
        path: The file; ``examples/families/NAME.toml`` comes with the package.
        trust_env_code: Also accept environments and wrappers that import code.

    Raises:
        UserError: There is no such file, or something in it is not valid: by file, line and key.
    """
    path = shipped(Path(path))
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than {LARGEST} bytes, and no family's file")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
    return parse_family(text, str(path), trust_env_code=trust_env_code)


def parse_family(text: str, name: str, *, trust_env_code: bool = False) -> TaskFamily:
    """Read a family from the text of a TOML file.

    Args:
        text: What the file holds.
        name: Of the file, for messages.
        trust_env_code: As for :func:`read_family`.

    Raises:
        UserError: Something in it is not valid: by file, line and key.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = str(error).replace("end of document", f"line {len(text.splitlines())}, the last")
        raise UserError(f"{name} is no TOML file: {why}") from None
    return _Reader(text, name, content, trust_env_code).family()


@dataclass(frozen=True)
class _Reader:
    """One file; every method that finds a mistake says where."""

    text: str
    name: str
    content: Mapping[str, Any]
    trust: bool

    def family(self) -> TaskFamily:
        """Return what the file declares."""
        content = self.content
        self.check_table((), content, KEYS)
        for key, what in (("name", "of the family"), ("env_id", "a Gymnasium environment's id")):
            if key not in content:
                raise self.error((), f"{key} is missing; valid: {key} = {what}")
        with self.at("env_id"):
            spec = recipe.spec_of(content["env_id"], trust_env_code=self.trust)
            known = recipe.arguments_of(spec)
        limit = content.get("max_episode_steps", spec.max_episode_steps or NO_LIMIT_STEPS)
        if limit < 1:
            raise self.error(("max_episode_steps",), f"must be at least 1, got {limit}")
        parameters = self.parameters()
        make = self.recipe(parameters, known)
        self.check_models(make, parameters)
        world = None if "success_key" in content else robot_world(make)
        if "success" in content and "success_key" in content:
            raise self.error(("success_key",), "success is a formula for it; valid: one of the two")
        for learner, table in content.get("settings", {}).items():
            if not isinstance(table, dict):
                raise self.error(("settings", learner), f"must be a table, got {table!r}")
        own = (*SUGGESTED, "picture", "success_key", "settings")
        suggested = {key: content[key] for key in own if key in content}
        with self.at():
            return TaskFamily(
                content["name"],
                content.get("description", f"tasks of {content['env_id']}"),
                max_episode_steps=limit,
                make=None if world else make,
                world=world,
                parameters=parameters,
                source=self.text,
                **suggested,
            )

    def parameters(self) -> list[Parameter]:
        """Return the parameters, in the file's order."""
        found = []
        for name, table in self.content.get("parameters", {}).items():
            path: KeyPath = ("parameters", name)
            self.check_table(path, table, PARAMETER_KEYS)
            if name in RESERVED:
                raise self.error(path, f"{name!r} has a meaning in formulas; use another name")
            drawn = {key: table[key] for key in DRAWN if key in table}
            with self.at(*path, keys=table):
                found.append(Parameter(name, **drawn))
        return found

    def recipe(self, parameters: Collection[Parameter], known: Any) -> Recipe:  # noqa: ANN401
        """Return how a task's environment is built."""
        content, names = self.content, [parameter.name for parameter in parameters]
        given = content.get("arguments", {})
        for name in given:
            with self.at("arguments", name):
                self.check_argument(name, known)
        wrappers = self.wrappers()
        targets = {name: self.target(name, known, wrappers) for name in names}
        filled = copy.deepcopy(given)
        for name, target in targets.items():
            if target.kind == "argument":
                with self.at("parameters", name, "argument"):
                    recipe.set_argument(filled, target.place, None)
        formulas = {key: self.formula((key,), (*names, *SEEN)) for key in ("reward", "success")}
        derived = {
            path: self.formula(("derived", path), names) for path in content.get("derived", {})
        }
        used = {n for f in (*formulas.values(), *derived.values()) if f for n in f.used}
        for name, target in targets.items():
            if not target.kind and name not in used:
                raise self.error(
                    ("parameters", name),
                    f"goes nowhere; valid: one of {', '.join(TARGETS)}, or its name in a formula",
                )
        return Recipe(
            content["env_id"],
            given,
            wrappers,
            targets,
            {path: formula for path, formula in derived.items() if formula},
            formulas["reward"],
            formulas["success"],
        )

    def check_models(self, make: Recipe, parameters: Collection[Parameter]) -> None:
        """Refuse fields that a robot's model does not have, and values that it cannot hold."""
        with self.at("env_id"):
            check = ModelCheck(make)
        for parameter in parameters:
            path, name = ("parameters", parameter.name), parameter.name
            with self.at(*path, "model"):
                check.try_value(name, float(parameter.default))
            table = self.content["parameters"][name]
            for key in ("low", "high", "choices", "shifted"):
                for value in np.ravel(table.get(key, ())).astype(float).tolist():
                    with self.at(*path, key):
                        check.try_value(name, value)

    def wrappers(self) -> tuple[WrapperUse, ...]:
        """Return the wrappers, innermost first."""
        uses: list[WrapperUse] = []
        for number, table in enumerate(self.content.get("wrappers", [])):
            path: KeyPath = ("wrappers", number)
            if not isinstance(table, dict) or not isinstance(table.get("name"), str):
                raise self.error(path, "name is missing; valid: [[wrappers]] with name = a wrapper")
            name, arguments = table["name"], {k: v for k, v in table.items() if k != "name"}
            with self.at(*path, "name"):
                kind = recipe.find_wrapper(name, trust_env_code=self.trust)
            if name in (use.name for use in uses):
                raise self.error((*path, "name"), f"{name} is there twice")
            for argument in arguments:
                with self.at(*path, argument):
                    recipe.check_argument(argument, recipe.wrapper_arguments(kind), name)
            uses.append(WrapperUse(name, kind, arguments))
        return tuple(uses)

    def target(self, name: str, known: Any, wrappers: tuple[WrapperUse, ...]) -> Target:  # noqa: ANN401
        """Return where a parameter goes."""
        table, path = self.content["parameters"][name], ("parameters", name)
        kinds = [kind for kind in TARGETS if kind in table]
        if len(kinds) > 1:
            raise self.error(path, f"has {' and '.join(kinds)}; a parameter goes to one place")
        scaled = table.get("scaled", False)
        if scaled and kinds not in (["attribute"], ["model"]):
            raise self.error((*path, "scaled"), "only an attribute or a model's field is scaled")
        if not kinds:
            return Target("", None)
        (kind,) = kinds
        text = table[kind]
        with self.at(*path, kind):
            if kind == "argument":
                self.check_argument(text.partition(".")[0], known)
                return Target(kind, text, type=_type_of(table))
            if kind != "wrapper":
                return Target(kind, recipe.parse_place(kind, text), scaled)
            wrapper, _, argument = text.rpartition(".")
            use = next((use for use in wrappers if use.name == wrapper), None)
            if use is None:
                hint = nearest(wrapper, [use.name for use in wrappers]) if wrappers else "none"
                raise UserError(f"no wrapper {wrapper!r} among the [[wrappers]]; {hint}")
            recipe.check_argument(argument, recipe.wrapper_arguments(use.kind), wrapper)
            return Target(kind, (wrapper, argument), type=_type_of(table))

    def check_argument(self, name: str, known: Any) -> None:  # noqa: ANN401
        """Refuse an argument that the constructor does not take, or that is not a family's."""
        if name in ("render_mode", "max_episode_steps"):
            raise UserError(f"{name} is no argument of a task; max_episode_steps has its own key")
        shown = known and {key: one for key, one in known.items() if key != "render_mode"}
        recipe.check_argument(name, shown, self.content["env_id"])

    def formula(self, path: KeyPath, names: Collection[str]) -> Formula | None:
        """Return a formula of the file, if it is there."""
        text: Any = self.content
        for key in path:
            text = text.get(key) if isinstance(text, dict) else None
        if text is None:
            return None
        if not isinstance(text, str):
            raise self.error(path, f"must be a text with a formula, got {text!r}")
        with self.at(*path):
            return Formula(text, names)

    def check_table(
        self,
        path: KeyPath,
        table: Any,  # noqa: ANN401
        keys: Mapping[str, type | tuple[type, ...]],
    ) -> None:
        """Refuse keys that there are not, and values of another type."""
        if not isinstance(table, dict):
            raise self.error(path, f"must be a table, got {table!r}")
        for key, value in table.items():
            if key not in keys:
                raise self.error((*path, key), f"unknown key; {nearest(key, keys)}")
            kind = keys[key]
            kinds = kind if isinstance(kind, tuple) else (kind,)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                words = "a number" if float in kinds else WORDS[kinds[0]]
                raise self.error((*path, key), f"must be {words}, got {value!r}")

    def at(self, *path: str | int, keys: Collection[str] = ()) -> "_Located":
        """Return a context that says where the mistakes in it are."""
        return _Located(self, path, keys)

    def error(self, path: KeyPath, message: object) -> UserError:
        """Return a mistake with file, line and key."""
        where = f"{self.name}:{line_of(self.text, path)}"
        key = ".".join(str(part + 1) if isinstance(part, int) else part for part in path)
        return UserError(f"{where}: {key}: {message}" if key else f"{where}: {message}")


@dataclass(frozen=True)
class _Located:
    """Inside this context a mistake gets file, line and key."""

    reader: _Reader
    path: KeyPath
    keys: Collection[str] = ()

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError):
            named = [key for key in self.keys if re.search(rf"\b{key}\b", str(error))]
            raise self.reader.error((*self.path, *named[:1]), error) from None


def _type_of(table: Mapping[str, Any]) -> Any:  # noqa: ANN401 (a type of numbers)
    """Return the type of number that a constructor gets: that of the choices, or a float."""
    given = [*table.get("choices", ()), *([table["default"]] if "default" in table else [])]
    if "low" in table or not given:
        return float
    return next((kind for kind in (bool, int) if all(type(one) is kind for one in given)), float)
