"""Settings as the command that trains with them."""

import shlex
from collections.abc import Mapping
from pathlib import Path


def train_command(settings: Mapping[str, object], family: Path | None) -> str:
    """Return the command that trains with these settings."""
    parts = ["ssm-metarl", "train"]
    for name, value in settings.items():
        if isinstance(value, bool):
            parts.append(f"--{name}" if value else f"--no_{name}")
        elif not (family and name == "env_name"):
            parts += [f"--{name}", str(value)]
    return shlex.join([*parts, *(["--family", str(family)] if family else [])])
