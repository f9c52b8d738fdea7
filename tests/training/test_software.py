"""A resumed run says when it may not continue to the last bit."""

import re
import warnings
from pathlib import Path

import pytest
import torch

from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import resume, train
from ssm_metarl.training.software import current_software, warn_of_changes

SMALL = TrainConfig(
    num_epochs=2, tasks_per_epoch=2, episodes_per_task=2, support_steps=5, query_steps=5
)


def test_a_checkpoint_says_what_it_was_computed_with() -> None:
    found = current_software()
    assert found["torch"] == torch.__version__
    assert {"torch", "numpy", "gymnasium", "threads"} <= found.keys()


def test_another_minor_version_and_another_number_of_threads_are_named() -> None:
    now = current_software()
    with pytest.warns(UserWarning, match=re.escape(f"torch 1.0.2 then, {now['torch']} now")):
        warn_of_changes({**now, "torch": "1.0.2"})
    with pytest.warns(UserWarning, match=r"threads 64 then, \d+ now"):
        warn_of_changes({**now, "threads": 64})
    with pytest.warns(UserWarning, match="mujoco 0.1.0 then"):
        warn_of_changes({**now, "mujoco": "0.1.0"})


def test_a_patch_release_or_an_old_checkpoint_warns_of_nothing() -> None:
    now = current_software()
    major, minor, *_ = str(now["numpy"]).split(".")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_changes(now)
        warn_of_changes({**now, "numpy": f"{major}.{minor}.99"})
        warn_of_changes({})


def test_resuming_compares_with_the_checkpoint(tmp_path: Path) -> None:
    stream = train(SMALL, tmp_path / "run")
    next(stream)
    stream.close()
    saved = load_checkpoint(tmp_path / "run" / "checkpoint").meta["software"]
    assert saved == current_software()
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.warns(UserWarning, match=f"threads {threads} then, {threads + 1} now"):
            resumed = resume(tmp_path / "run")
        resumed.close()
    finally:
        torch.set_num_threads(threads)
