"""What a setting is where none is given: its learner, the family or other settings say it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ssm_metarl.errors import UserError, nearest
from ssm_metarl.meta_rl.registry import LEARNERS, used_by
from ssm_metarl.training.settings import Setting, settings_of

if TYPE_CHECKING:  # the former imports this module, the latter torch
    from ssm_metarl.env_runner.family import TaskFamily
    from ssm_metarl.training.config import TrainConfig

CONTEXT_SIZE = 8
MAX_TIME_CONSTANT = 100.0  # steps at first; longer memories are learned from there


@dataclass(frozen=True)
class ByAction:
    """A value that depends on the kind of the actions."""

    discrete: float
    continuous: float

    def __str__(self) -> str:
        return f"{self.discrete:g} for discrete and {self.continuous:g} for continuous actions"


def resolved(config: "TrainConfig", family: "TaskFamily") -> dict[str, Any]:
    """Return all settings, with a value for every None that the learner uses."""
    from gymnasium.spaces import Box

    spec, values = LEARNERS[config.mode], dict(vars(config))
    defaults = {**spec.defaults, **(spec.trial_defaults if config.adapts_both_ways else {})}
    derived, own = _derived(config, family), _suggested(config, family)
    for name, one in settings_of(type(config)).items():
        if values[name] is not None or config.mode not in used_by(name):
            continue
        last = one.otherwise
        if isinstance(last, ByAction):
            last = last.continuous if isinstance(family.action_space, Box) else last.discrete
        suggested = getattr(family, one.family) if one.family else None
        options = (own.get(name), defaults.get(name), suggested, derived.get(name), last)
        values[name] = next((each for each in options if each is not None), None)
    return values


def _suggested(config: "TrainConfig", family: "TaskFamily") -> Mapping[str, Any]:
    """Return what the family suggests to the learner.

    Raises:
        UserError: It names no setting that the learner uses and that may be left out.
    """
    own = family.settings.get(config.mode, {})
    optional = [name for name, one in settings_of(type(config)).items() if one.default is None]
    for name in own:
        if name not in optional or config.mode not in used_by(name):
            raise UserError(
                f"the family {family.name} suggests {name!r} to {config.mode}; "
                f"{nearest(name, optional)}"
            )
    return own


def _derived(config: "TrainConfig", family: "TaskFamily") -> dict[str, Any]:
    """Return the values that follow from other settings."""
    longest, support = family.max_episode_steps, family.support_steps
    return {
        "support_steps": min(2 * support, longest) if config.adapts_both_ways else support,
        "first_steps": config.support_steps or max(1, (config.query_steps or longest) // 10),
        "adaptation_discount": family.discount if config.discount is None else config.discount,
        "adaptation_gae_lambda": 1.0 if config.gae_lambda is None else config.gae_lambda,
        "context_size": CONTEXT_SIZE if config.adapts == "context" else 0,
        "encoder": "cnn" if family.image else "linear",
        "norm_obs": family.observation_scale is None,
        "norm_reward": family.observation_scale is None,
        "max_time_constant": min(MAX_TIME_CONSTANT, float(longest)),
    }


def default_text(one: Setting) -> str:
    """Return the default of a setting of a training in words."""
    if one.unset or not one.optional:
        return one.unset or str(one.default)
    learners: dict[tuple[Any, str], list[str]] = {}  # by value, and by when it holds
    for spec in LEARNERS.values():
        for values, when in ((spec.defaults, ""), (spec.trial_defaults, " with --memory trial")):
            if one.name in values:
                learners.setdefault((values[one.name], when), []).append(spec.name)
    parts = [f"{value} for {_both(names)}{when}" for (value, when), names in learners.items()]
    last = [] if one.otherwise is None else [str(one.otherwise)]
    rest = " or ".join(["the family's", *last] if one.family else last)
    return ", ".join([*parts, f"else {rest}"] if parts and rest else parts or [rest])


def _both(names: Sequence[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
