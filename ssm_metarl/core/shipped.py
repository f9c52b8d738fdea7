"""Agents and families that come with the package, without the repository."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
FOLDERS = (Path("pretrained"), Path("examples/families"))


def shipped(path: Path) -> Path:
    """Return what comes with the package under that name, unless there is something by itself.

    ``pretrained/cartpole`` and ``examples/families/pendulum.toml`` are there wherever the package
    is installed; anything else is returned as it is.
    """
    if path.parent not in FOLDERS or path.exists() or not (PACKAGE / path).exists():
        return path
    return PACKAGE / path
