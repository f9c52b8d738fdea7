"""The recipes in `examples/` do what they say."""

import inspect
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import ssm_metarl as sm

EXAMPLES = Path(__file__).parent.parent / "examples"
TINY = sm.TrainConfig(
    num_epochs=2, tasks_per_epoch=4, episodes_per_task=4, support_steps=30, query_steps=30, width=8
)


def test_an_own_environment_takes_fewer_than_20_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = runpy.run_path(str(EXAMPLES / "own_environment.py"))["main"]
    assert len([line for line in inspect.getsource(recipe).splitlines() if line]) < 20
    list(sm.train(TINY, tmp_path / "run"))
    recipe(str(tmp_path / "run"), str(tmp_path / "kept"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:11]] == [
        *(f"episode {number}" for number in range(1, 11)),
        "adapted",
    ]
    before, after = sm.load(tmp_path / "run"), sm.load(tmp_path / "kept")
    assert not torch.equal(before.params["action.bias"], after.params["action.bias"])
    assert after.predict(np.zeros(4))[0] in (0, 1)
