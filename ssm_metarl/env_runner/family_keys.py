"""The keys of a family's file, and the types of their values."""

from collections.abc import Mapping

Types = type | tuple[type, ...]

SUGGESTED = (
    *("support_steps", "discount", "adaptation_discount", "inner_lr", "outer_lr", "adapted_std"),
    *("initial_log_std", "support_weight", "trust"),
)
"""Settings of a run that a family may suggest."""
KEYS: Mapping[str, Types] = {
    **{"name": str, "description": str, "env_id": str, "max_episode_steps": int},
    **{"reward": str, "success": str, "success_key": str, "picture": str, "arguments": dict},
    **{"derived": dict, "wrappers": list, "parameters": dict, "settings": dict},
    **dict.fromkeys(SUGGESTED, (int, float)),
}
TARGETS = ("argument", "attribute", "model", "wrapper")
DRAWN: Mapping[str, Types] = {
    **{"default": (bool, int, float), "low": (int, float), "high": (int, float)},
    **{"distribution": str, "mean": (int, float), "std": (int, float), "choices": list},
    **{"shifted": list, "bounds": list, "unit": str, "description": str},
}
PARAMETER_KEYS: Mapping[str, Types] = {**dict.fromkeys(TARGETS, str), "scaled": bool, **DRAWN}
WORDS = {
    str: "a text",
    int: "a whole number",
    dict: "a table",
    list: "a list",
    bool: "true or false",
}
