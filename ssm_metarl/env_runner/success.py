"""Reading from an environment's info whether its task is solved."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

SUCCESS_KEYS = ("success", "is_success")
"""Where environments say so; the first that is there counts."""


def succeeded(info: Mapping[str, Any]) -> bool | None:
    """Return whether the info of one environment says that its task is solved; None if neither.

    Numbers other than 0 are a success, as Meta-World's 1.0 is.
    """
    for key in SUCCESS_KEYS:
        if key in info:
            return bool(np.any(info[key]))
    return None


def lanes_succeeded(infos: Mapping[str, Any]) -> np.ndarray | None:
    """Return which lanes of a vector environment say that their task is solved, bool ``[lanes]``.

    As :func:`succeeded`; None if no lane says anything of it.

    Args:
        infos: As Gymnasium's vector environments put those of their lanes together.
    """
    found = next((key for key in SUCCESS_KEYS if isinstance(infos.get(key), np.ndarray)), None)
    if found is None:
        return None
    values = infos[found].astype(bool)  # of objects too: Gymnasium keeps NumPy's bool in them
    said = values.reshape(len(values), -1).any(1)
    return said & infos.get(f"_{found}", True)


class NamedSuccess(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """An environment that says success under a name of its own, which gets the usual one."""

    def __init__(self, env: gymnasium.Env, key: str) -> None:
        """Rename it.

        Args:
            env: The environment.
            key: In its info; on steps where it is not there, nothing is said.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(self, key=key)
        gymnasium.Wrapper.__init__(self, env)
        self._key = key

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401 (Gymnasium's)
        """Step."""
        *outcome, info = self.env.step(action)
        others = {key: value for key, value in info.items() if key not in SUCCESS_KEYS}
        if self._key in info:
            others["success"] = bool(np.any(info[self._key]))
        return *outcome, others
