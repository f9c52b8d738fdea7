"""Edit a MuJoCo model by name: ``body_mass[torso]``, ``geom_friction[*].0``, ``opt.gravity.2``."""

import functools
import importlib
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ssm_metarl.errors import UserError, nearest

MjModel = Any  # MuJoCo is an extra: nothing of it is imported before it is used
Sign = Literal["any", "not negative", "positive"]
Version = tuple[int, int]
EARLIEST: Version = (3, 3)


@dataclass(frozen=True)
class _Field:
    """What is known of one field of a model."""

    sign: Sign = "any"
    since: Version = EARLIEST
    """The first release whose ``mj_setConst`` follows a change of it."""
    set_component: int | None = None
    """Which of the numbers of an element is meant where none is named, in setting."""


# A field's elements are named by what its name begins with: body, jnt, dof, geom, actuator, ...
_FIELDS: dict[str, _Field] = {
    "body_mass": _Field("positive"),
    "body_inertia": _Field("positive"),
    "body_pos": _Field(),
    "body_ipos": _Field(since=(3, 11)),
    "body_gravcomp": _Field(since=(3, 4)),
    "jnt_stiffness": _Field("not negative"),
    "jnt_range": _Field(),
    "jnt_margin": _Field("not negative"),
    "qpos_spring": _Field(),
    "dof_damping": _Field("not negative"),
    "dof_armature": _Field("not negative"),
    "dof_frictionloss": _Field("not negative"),
    "geom_friction": _Field("not negative"),
    "geom_size": _Field("positive", since=(3, 16)),
    "geom_pos": _Field(since=(3, 11)),
    "geom_margin": _Field("not negative"),
    "geom_solref": _Field(),
    "geom_solimp": _Field(),
    "actuator_gear": _Field(set_component=0),
    "actuator_gainprm": _Field(set_component=0),
    "actuator_biasprm": _Field(),
    "actuator_forcerange": _Field(),
    "tendon_stiffness": _Field("not negative"),
    "tendon_damping": _Field("not negative"),
    "opt.gravity": _Field(),
    "opt.wind": _Field(),
    "opt.timestep": _Field("positive"),
    "opt.density": _Field("not negative"),
    "opt.viscosity": _Field("not negative"),
    "opt.impratio": _Field("positive"),
}

_KINDS = {"jnt": "joint", "qpos": "joint"}  # what MuJoCo calls them elsewhere
_SYNTAX = re.compile(r"((?:opt\.)?[a-z_0-9]+)(?:\[([^\[\]]+)\])?(?:\.(\d+))?")


@dataclass(frozen=True)
class ModelField:
    """One field of a model, and which of its numbers are meant."""

    name: str
    """As in MjModel, or ``opt.`` and a name of MjOption."""
    element: str | None = None
    """Name or index of a body, joint, geom or actuator; None or ``*`` for all of them."""
    component: int | None = None
    """Which number of each element; None for all."""

    @classmethod
    def parse(cls, text: str) -> "ModelField":
        """Read ``name``, ``name[element]``, ``name.component`` or ``name[element].component``.

        Raises:
            UserError: It is none of these, or a field that may not be changed.
        """
        found = _SYNTAX.fullmatch(text)
        if found is None:
            raise UserError(
                f"{text!r} names no field of a MuJoCo model; valid: a form such as "
                "body_mass[torso], geom_friction[*].0, dof_damping, opt.gravity.2"
            )
        name, element, component = found.groups()
        if name not in _FIELDS:
            raise UserError(f"{text!r}: unknown model field {name!r}; {nearest(name, _FIELDS)}")
        if name.startswith("opt.") and element is not None:
            raise UserError(f"{text!r}: {name} has no elements; valid: {name}, {name}.0")
        return cls(name, element, None if component is None else int(component))

    def __str__(self) -> str:
        """Return it as it is written."""
        element = "" if self.element is None else f"[{self.element}]"
        return f"{self.name}{element}" + ("" if self.component is None else f".{self.component}")


@functools.cache
def load_mujoco() -> Any:  # noqa: ANN401
    """Return MuJoCo's module.

    Its warnings go to the logger "mujoco" then, unless there is a handler for them already: by
    itself it prints them, and writes MUJOCO_LOG.TXT into the current folder.

    Raises:
        UserError: It is not installed.
    """
    try:
        mujoco = importlib.import_module("mujoco")
    except ImportError as error:
        raise UserError(
            f"MuJoCo is not installed ({error}); install it with: pip install 'ssm-metarl[mujoco]'"
        ) from error
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(logging.getLogger("mujoco").info)
    return mujoco


def version_of(mujoco: Any) -> Version:  # noqa: ANN401
    """Return major and minor number of a MuJoCo module."""
    major, minor = mujoco.__version__.split(".")[:2]
    return int(major), int(minor)


def apply(model: MjModel, field: str, value: float, scaled: bool) -> None:
    """Set numbers of a model, or scale what they are now, and refresh what depends on them.

    A body's inertia is scaled with its mass: it becomes denser, not a point that weighs more.
    Friction between two geoms is the larger of theirs, so that ``geom_friction[*]``, which includes
    the floor, is what makes the ground slippery.

    Args:
        model: An MjModel, changed in place; not yet in use, or a simulation of it is reset.
        field: As in :meth:`ModelField.parse`.
        value: What to set, or the factor.
        scaled: Which of the two.

    Raises:
        UserError: A name that the model does not have, or a number that it cannot hold.
    """
    change(model, ModelField.parse(field), value, scaled)
    refresh(model)


def refresh(model: MjModel, scratch: Any = None) -> None:  # noqa: ANN401
    """Recompute the constants of a model that follow from its other numbers, in place.

    Args:
        model: Changed in place.
        scratch: An MjData of the same sizes that nobody else uses; None to make one. On the data
            of a running simulation it would move the robot back to its first pose.
    """
    mujoco = load_mujoco()
    mujoco.mj_setConst(model, scratch or mujoco.MjData(model))


def change(
    model: MjModel, field: ModelField, value: float, scaled: bool, *, with_inertia: bool = True
) -> None:
    """Do what :func:`apply` does, but for the refreshing; the inertia may be left as it is."""
    known = _FIELDS[field.name]
    _check_release(field, known)
    owner, name = (model.opt, field.name[4:]) if "." in field.name else (model, field.name)
    whole = np.array(getattr(owner, name), dtype=np.float64)
    numbers = whole.reshape(1, -1) if owner is model.opt else whole.reshape(len(whole), -1)
    rows = [0] if owner is model.opt else _rows(model, field, len(numbers))
    columns = _columns(field, known, numbers.shape[1], scaled)
    old = numbers[np.ix_(rows, columns)]
    new = old * value if scaled else np.full_like(old, value)
    _check_values(field, known, new)
    if field.name == "body_mass" and with_inertia:
        _check_values(field, known, old, "has no mass now, and so no inertia to scale with it")
        model.body_inertia[rows] *= new / old
    numbers[np.ix_(rows, columns)] = new
    if whole.ndim:
        getattr(owner, name)[:] = whole
    else:
        setattr(owner, name, float(whole))


def _rows(model: MjModel, field: ModelField, count: int) -> Sequence[int]:
    """Return the indices of the elements that a field means."""
    wanted = field.element or "*"
    if wanted == "*":
        massive = field.name in ("body_mass", "body_inertia")
        rows = np.flatnonzero(model.body_mass > 0.0) if massive else np.arange(count)
        return rows.tolist()
    names = element_names(model, field.name)
    rows = [row for row, name in enumerate(names) if name == wanted]
    if not rows and wanted.isdecimal() and int(wanted) < count:
        rows = [int(wanted)]
    if not rows:
        kind = field.name.split("_")[0]
        kind = _KINDS.get(kind, kind)
        valid = [*dict.fromkeys(filter(None, names)), "*"]
        raise UserError(
            f"{str(field)!r}: the model has no {kind} {wanted!r}; "
            f"{nearest(wanted, valid)}, or an index from 0 to {count - 1}"
        )
    return rows


def element_names(model: MjModel, field: str) -> list[str]:
    """Return the name of each element of a model's field, in order; empty where it has none.

    A degree of freedom is called as its joint, an actuator without a name as the joint it drives.
    """
    kind = field.split("_")[0]
    if kind == "dof":
        return [model.joint(int(joint)).name for joint in model.dof_jntid]
    if kind == "qpos":
        owners = np.repeat(np.arange(model.njnt), np.diff([*model.jnt_qposadr, model.nq]))
        return [model.joint(int(joint)).name for joint in owners]
    named = getattr(model, _KINDS.get(kind, kind))
    names = [named(row).name for row in range(len(getattr(model, field)))]
    if kind == "actuator":
        drives_joint = model.actuator_trntype == load_mujoco().mjtTrn.mjTRN_JOINT
        for row in np.flatnonzero(drives_joint):
            names[row] = names[row] or model.joint(int(model.actuator_trnid[row, 0])).name
    return names


def _columns(field: ModelField, known: _Field, width: int, scaled: bool) -> list[int]:
    if field.component is not None:
        if field.component >= width:
            raise UserError(f"{str(field)!r}: {field.name} has components 0 to {width - 1}")
        return [field.component]
    if scaled or width == 1:
        return list(range(width))
    if known.set_component is None:
        raise UserError(
            f"{str(field)!r}: {field.name} has {width} components, and only one of them can be "
            f"set; valid: {field}.0 to {field}.{width - 1}"
        )
    return [known.set_component]


def _check_values(field: ModelField, known: _Field, values: np.ndarray, why: str = "") -> None:
    """Refuse numbers that a model cannot hold."""
    for value in values.flat:
        sane = {"any": True, "not negative": value >= 0.0, "positive": value > 0.0}[known.sign]
        if not (math.isfinite(value) and sane):
            kind = "finite" if known.sign == "any" else f"finite and {known.sign}"
            raise UserError(
                f"{str(field)!r} {why}" if why else f"{str(field)!r} must be {kind}, got {value:g}"
            )


def _check_release(field: ModelField, known: _Field) -> None:
    mujoco = load_mujoco()
    if version_of(mujoco) < known.since:
        needed = ".".join(map(str, known.since))
        raise UserError(
            f"{str(field)!r}: MuJoCo {mujoco.__version__} does not follow changes of {field.name}, "
            f"which need mujoco {needed} or newer"
        )
