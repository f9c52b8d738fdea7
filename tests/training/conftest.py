"""Runs that tests share: they read them, or change copies."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import CONFIGS

from ssm_metarl.training.loop import train


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of an uninterrupted training of one of CONFIGS, done once."""
    place = tmp_path_factory.mktemp("whole")

    def trained(name: str) -> Path:
        if not (place / name).exists():
            list(train(CONFIGS[name], place / name))
        return place / name

    return trained
