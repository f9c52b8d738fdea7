"""The search space of a sweep: which settings are searched, and which values they may take."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ssm_metarl.errors import UserError, nearest
from ssm_metarl.meta_rl.registry import used_by
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.settings import Setting, settings_of

if TYPE_CHECKING:  # an extra
    import optuna

FORMS = "NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C"
NOT_SEARCHED = (
    # They change what the validation return measures, so that trials could not be compared.
    *("env_name", "mode", "memory", "episodes_per_trial", "validate_every", "validation_tasks"),
    *("seed", "device", "compile", "trust_env_code"),
)
MOST_CORNERS = 4096


@dataclass(frozen=True)
class Searched:
    """One setting that is searched: from `low` to `high`, or among `choices`."""

    name: str
    low: Any = None
    high: Any = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return ",".join(map(str, self.choices))
        return f"{self.low}..{self.high}{':log' * self.log}"

    def suggest(self, trial: "optuna.Trial") -> Any:  # noqa: ANN401 (of the setting's own type)
        """Return the value that Optuna chooses for a trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        choose = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return choose(self.name, self.low, self.high, log=self.log)


def search_space(texts: Collection[str], mode: str) -> list[Searched]:
    """Read the search space from what was typed after each ``--param``, in one of :data:`FORMS`.

    Raises:
        UserError: There is none, or one is not valid, or not used by the mode: says what would be.
    """
    if not texts:
        raise UserError(f"a sweep needs --param, once for each setting that it searches: {FORMS}")
    space: dict[str, Searched] = {}
    for text in texts:
        try:
            one = _searched(text, mode)
            if one.name in space:
                raise UserError(f"{one.name} is there twice; leave one of them out")
        except UserError as error:
            raise UserError(f"--param {text}: {error}") from None
        space[one.name] = one
    return list(space.values())


def _searched(text: str, mode: str) -> Searched:
    typed, _, values = text.partition("=")
    settings = settings_of(TrainConfig)
    flags = {flag: name for name, one in settings.items() for flag in (f"--{name}", *one.aliases)}
    name = flags.get(f"--{typed.strip().replace('-', '_')}", typed)
    valid = [each for each in settings if mode in used_by(each) and each not in NOT_SEARCHED]
    if name in NOT_SEARCHED:
        raise UserError(f"{name} is the same in all trials; valid: {', '.join(sorted(valid))}")
    if name not in valid:
        raise UserError(f"{mode} has no setting {name!r}; {nearest(name, valid)}")
    low, dots, high = values.partition("..")
    return _range(settings[name], low, high) if dots else _choices(settings[name], values)


def _range(one: Setting, low_text: str, high_text: str) -> Searched:
    high_text, colon, scale = high_text.partition(":")
    if one.type not in (int, float) or (colon and scale != "log"):
        raise UserError(f"it is no range; valid: {FORMS}, each value {one.valid}")
    low, high = one.parse(low_text.strip()), one.parse(high_text.strip())
    if low is None or high is None or low >= high:
        raise UserError(f"{low_text} must be less than {high_text}")
    if colon and low <= 0:
        raise UserError(f"{low_text} must be above 0 on a logarithmic scale")
    return Searched(one.name, low, high, bool(colon))


def _choices(one: Setting, text: str) -> Searched:
    values = [value.strip() for value in text.split(",")]
    if one.type is bool:
        bools: dict[str, object] = {"true": True, "false": False, "none": None}
        choices = tuple(one.check(bools.get(value.lower(), value)) for value in values)
    else:
        choices = tuple(map(one.parse, values))
    if len({*choices}) < max(2, len(choices)):
        raise UserError(f"it needs two values or more, each of them once: {FORMS}")
    return Searched(one.name, choices=choices)


def check_corners(fixed: Mapping[str, Any], space: Collection[Searched]) -> TrainConfig:
    """Return the settings of a corner of the search space.

    Raises:
        UserError: The settings go together in no corner.
    """
    ends = [[(one.name, end) for end in one.choices or (one.low, one.high)] for one in space]
    refusal: UserError | None = None
    for corner in itertools.islice(itertools.product(*ends), MOST_CORNERS):
        try:
            return TrainConfig(**fixed, **dict(corner))
        except UserError as error:
            refusal = error
    assert refusal  # there is a corner
    raise refusal
