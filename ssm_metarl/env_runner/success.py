"""Reading from an environment's info whether the task is solved."""

from collections.abc import Mapping
from typing import Any

import numpy as np

SUCCESS_KEYS = ("success", "is_success")
"""Where environments say so; the first that is there counts. A family may name another."""


def succeeded(info: Mapping[str, Any], key: str = "") -> bool | None:
    """Return whether the info of a step says that the task is solved; None if it does not say.

    Args:
        info: Of one environment. Numbers other than 0 are a success, as Meta-World's 1.0 is.
        key: The only one to look at; empty for `SUCCESS_KEYS`.
    """
    found = next((name for name in _keys(key) if name in info), None)
    return None if found is None else bool(np.any(info[found]))


def lanes_succeeded(infos: Mapping[str, Any], key: str = "") -> np.ndarray | None:
    """Return the same for the infos of Gymnasium's vector environments, bool ``[lanes]``.

    Lanes that do not say are False; None if no lane does.
    """
    found = next((name for name in _keys(key) if isinstance(infos.get(name), np.ndarray)), None)
    if found is None:
        return None
    values = infos[found].astype(bool)  # of objects too: Gymnasium keeps NumPy's bool in them
    said = values.reshape(len(values), -1).any(1)
    return said & infos.get(f"_{found}", True)


def _keys(key: str) -> tuple[str, ...]:
    return (key,) if key else SUCCESS_KEYS
