"""A checkpoint to start from."""

from pathlib import Path

import pytest
from corrupt_fixtures import META, some_tensors

from ssm_metarl.checkpoint.format import save_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, some_tensors(), META)
    return folder
