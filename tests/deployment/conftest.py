"""Files that tests share, as exporting takes seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest
from following import agent_of

import ssm_metarl as sm


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return the file of the agent that stands for a cell, exported once."""
    folder = tmp_path_factory.mktemp("exported")

    def file(cell: str, suffix: str) -> Path:
        path = folder / cell / f"policy{suffix}"
        return path if path.exists() else sm.export(agent_of(cell), path)

    return file
