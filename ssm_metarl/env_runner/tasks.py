"""The parameters of a family, and sets of tasks drawn from them."""

import math
import re
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args, no_type_check

import numpy as np

from ssm_metarl.env_runner.task_set import Tasks as Tasks
from ssm_metarl.env_runner.task_set import TaskValues as TaskValues
from ssm_metarl.env_runner.task_set import value_text
from ssm_metarl.errors import UserError, nearest

Interval = tuple[float, float]
Distribution = Literal["uniform", "integer", "log-uniform", "normal", "choice", "fixed"]
MOST_LISTED = 10  # choices
LEAST_INSIDE = 1e-6  # of a normal distribution's mass: less is no part worth drawing from


@dataclass(frozen=True)
class Parameter:
    """One quantity that differs between the tasks of a family.

    Raises:
        UserError: What is said of it does not fit together.
    """

    name: str
    default: float = math.nan
    """The nominal value, Gymnasium's own. If left out, the middle, or the first choice."""
    unit: str = ""
    description: str = ""
    low: float = math.nan
    high: float = math.nan
    """Values for training are on `[low, high)`."""
    choices: tuple[float, ...] = ()
    """Values for training instead, each equally likely."""
    bounds: Interval = (-math.inf, math.inf)
    """Closed limits of what a user may set."""
    shifted: tuple[Interval, ...] | None = None
    """Intervals outside the training range, for the shifted test set; None to keep that range."""
    distribution: Distribution | None = None
    """None for choice with `choices`, fixed without a range, else uniform. "integer" is uniform on
    whole numbers."""
    mean: float = math.nan
    """Of a normal distribution, which is cut to `[low, high)`."""
    std: float = math.nan
    """Likewise."""
    labels: tuple[str, ...] = ()
    """What its values 0, 1, 2, ... are called, where these stand for something with a name."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\W\d]\w*", str(self.name)):
            raise UserError(
                f"parameter {self.name!r} has no valid name; valid: letters, digits and _, such as "
                "pole_mass"
            )
        numbers = ("default", "low", "high", "mean", "std")
        for name in (*numbers, "choices", "bounds", "shifted"):
            object.__setattr__(self, name, _numbers(self, name))
        kind = self.distribution or self._implied
        if kind not in get_args(Distribution):
            raise self._error(f"distribution {kind!r}; {nearest(kind, get_args(Distribution))}")
        object.__setattr__(self, "distribution", kind)
        self._check_range()
        if math.isnan(self.default):
            object.__setattr__(self, "default", self._middle)
        self._check_default()

    @property
    def _implied(self) -> Distribution:
        if self.choices:
            return "choice"
        return "fixed" if math.isnan(self.low) and math.isnan(self.high) else "uniform"

    @property
    def varies(self) -> bool:
        """Whether it can be different in two tasks."""
        return self.distribution != "fixed" and len(set(self.choices)) != 1

    @property
    def range_text(self) -> str:
        """How the parameter is drawn for training, in words such as `5 to 15` or `one of 0, 1`."""
        if self.choices:
            texts = [value_text(value, self.labels) for value in self.choices]
            if len(texts) > MOST_LISTED:
                return f"one of {len(texts)}, {texts[0]} to {texts[-1]}"
            return f"one of {', '.join(texts)}"
        if self.distribution == "fixed":
            return f"always {self.default:g}"
        if self.distribution == "integer":
            return f"{self.low:.0f} to {self.high - 1:.0f}, whole"
        text = f"{self.low:g} to {self.high:g}"
        if self.distribution == "normal":
            return f"{text}, normal around {self.mean:g} +- {self.std:g}"
        return text if self.distribution == "uniform" else f"{text}, log-uniform"

    @property
    def shifted_text(self) -> str:
        """How it is drawn for the shifted test set, likewise."""
        if self.shifted is None:
            return "the same"
        return ", ".join(f"{low:g} to {high:g}" for low, high in self.shifted)

    def transform(self, uniform: np.ndarray, shifted: bool = False) -> np.ndarray:
        """Map numbers uniform on [0, 1) to values of this parameter, float64 of the same shape.

        Shifted values are uniform on their intervals, log-uniform ones in their logarithm.
        """
        if self.choices:
            return np.asarray(self.choices)[(uniform * len(self.choices)).astype(np.int64)]
        if shifted and self.shifted:
            intervals = self.shifted
        elif self.distribution == "fixed":
            return np.full_like(uniform, self.default)
        elif self.distribution == "normal":
            return self._cut_normal(uniform)
        else:
            intervals = ((self.low, self.high),)
        if self.distribution == "log-uniform":
            logarithms = tuple((math.log(low), math.log(high)) for low, high in intervals)
            low, high = intervals[0][0], intervals[-1][1]
            return np.exp(_along(logarithms, uniform)).clip(low, math.nextafter(high, low))
        values = _along(intervals, uniform)
        return np.floor(values) if self.distribution == "integer" else values

    def check(self, value: object) -> float:
        """Return `value` as a float, or raise `UserError` naming what would have been valid."""
        if isinstance(value, str) and self.labels:
            if value not in self.labels:
                raise UserError(f"{self.name} {value!r}: {nearest(value, self.labels)}")
            value = self.labels.index(value)
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise UserError(f"{self.name} must be a number, got {value!r}")
        try:
            number = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if self.choices:
            if number not in self.choices:
                raise UserError(f"{self.name} must be {self.range_text}, got {number:g}")
            return number
        low, high = self.bounds
        whole = self.distribution == "integer"
        if not low <= number <= high or (whole and not number.is_integer()):  # also refuses NaN
            kind = "a whole number from" if whole else "from"
            ends = f"{low:.0f} to {high:.0f}" if whole else f"{low:g} to {high:g}"
            raise UserError(
                f"{self.name} must be {kind} {ends} {self.unit}".rstrip() + f", got {number:g}"
            )
        return number

    def _cut_normal(self, uniform: np.ndarray) -> np.ndarray:
        """Return values by the inverse of the distribution's function, cut to `[low, high)`."""
        below, above = self._masses
        unit, sign = NormalDist(), self._side
        inner = (below + value * (above - below) for value in uniform.ravel().tolist())
        values = np.array([self.mean + sign * self.std * unit.inv_cdf(mass) for mass in inner])
        return values.reshape(uniform.shape).clip(self.low, math.nextafter(self.high, self.low))

    @property
    def _side(self) -> int:
        """1, or -1 to count from above: there are no digits for masses that are nearly 1."""
        return -1 if self.low > self.mean else 1

    @property
    def _masses(self) -> Interval:
        ends = ((end - self.mean) / self.std * self._side for end in (self.low, self.high))
        below, above = (0.5 * math.erfc(-end / math.sqrt(2.0)) for end in ends)
        return below, above

    @property
    def _middle(self) -> float:
        if self.choices:
            return self.choices[0]
        if self.distribution == "log-uniform":
            return math.sqrt(self.low * self.high)
        middle = 0.5 * (self.low + self.high)
        if self.distribution == "integer":
            return float(math.floor(middle))
        return self.mean if self.distribution == "normal" else middle

    def _check_range(self) -> None:
        """Refuse what the distribution cannot be drawn from."""
        needs: dict[str, tuple[str, ...]] = {"choice": (), "fixed": (), "normal": ("mean", "std")}
        if self.distribution == "choice" and not self.choices:
            raise self._error("no choices; valid: choices = [1.0, 2.0]")
        if self.choices and (self.distribution != "choice" or self.shifted):
            raise self._error("choices, which are neither a range nor shifted")
        if self.distribution not in ("choice", "fixed"):
            needed = ("low", "high", *needs.get(str(self.distribution), ()))
            missing = [name for name in needed if not math.isfinite(getattr(self, name))]
            if missing:
                raise self._error(f"no finite {' and '.join(missing)}, which {self._named} needs")
            if not self.low < self.high:
                raise self._error(f"low {self.low:g}, which must be below high, {self.high:g}")
        if self.distribution == "normal":
            if not self.std > 0.0:
                raise self._error(f"std {self.std:g}, which must be positive")
            if not abs(self._masses[1] - self._masses[0]) > LEAST_INSIDE:
                raise self._error(f"next to no chance to lie in its range: {self.range_text}")
        for low, high in self.shifted or ():
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise self._error(f"the shifted interval {low:g} to {high:g}, which is empty")
        lowest = [self.low, *(low for low, _ in self.shifted or ())]
        if self.distribution == "log-uniform" and not min(lowest) > 0.0:
            raise self._error(f"low {min(lowest):g}; a log-uniform range is above 0")

    def _check_default(self) -> None:
        """Refuse nominal values and ranges that a user could not set."""
        if not math.isfinite(self.default):
            raise self._error("no finite default")
        ends = [self.low, self.high] if self.varies and not self.choices else []
        for value in (self.default, *ends, *(end for pair in self.shifted or () for end in pair)):
            try:
                self.check(value)
            except UserError as error:
                raise UserError(f"parameter {error}") from None

    @property
    def _named(self) -> str:
        return f"a {self.distribution} distribution"

    def _error(self, what: str) -> UserError:
        return UserError(f"parameter {self.name} has {what}")


no_type_check(Parameter.__init__)  # it takes any values, and checks them by itself


def _numbers(parameter: Parameter, name: str) -> object:
    """Return an attribute of a parameter as floats: one, some, or pairs of them."""
    value = getattr(parameter, name)
    shape = {"choices": 1, "bounds": 1, "shifted": 2}.get(name, 0)
    if value is None and name == "shifted":
        return None
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = None
    pairs = name in ("bounds", "shifted")
    if array is None or array.ndim != shape or (pairs and array.shape[-1] != 2):
        if name == "shifted" and value in ((), []):
            return None
        words = ("a number", "numbers", "pairs of numbers, such as ((1.0, 2.0),)")[shape]
        words = "a pair of numbers" if name == "bounds" else words
        raise UserError(f"parameter {parameter.name}: {name} must be {words}, got {value!r}")
    plain = array.tolist()
    return tuple(map(tuple, plain)) if shape == 2 else tuple(plain) if shape else plain


def _along(intervals: tuple[Interval, ...], uniform: np.ndarray) -> np.ndarray:
    """Map numbers on [0, 1) to the intervals, laid end to end."""
    widths = np.array([high - low for low, high in intervals])
    starts = np.concatenate([[0.0], np.cumsum(widths)])
    along = uniform * starts[-1]
    which = np.minimum(np.searchsorted(starts, along, side="right") - 1, len(widths) - 1)
    return np.array([low for low, _ in intervals])[which] + along - starts[which]
