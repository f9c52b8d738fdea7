"""A learner is its file and a line in the registry: everything else works with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ssm_metarl.meta_rl.learner import Learner
from ssm_metarl.meta_rl.registry import INNER_LOSSES, LEARNERS
from ssm_metarl.training.validation import VALIDATIONS

HERE = Path(__file__).parent

TRAIN_A_TOY = """
import sys
from pathlib import Path
from ssm_metarl.meta_rl.registry import LEARNERS, LearnerSpec
LEARNERS["toy"] = LearnerSpec(
    "toy",
    "REINFORCE on the nominal task",
    uses=frozenset({"num_epochs"}),
    module="toy_learner",
    phases={},
    validation="training",
    defaults={"num_epochs": 3, "outer_lr": 0.01},
)
import gymnasium
import ssm_metarl as sm
from ssm_metarl.cli import main
run = Path(sys.argv[1])
records = list(sm.train(sm.TrainConfig(mode="toy", width=8, state_size=4), run))
assert [record.iteration for record in records] == [1, 2, 3]
assert records[-1].best_return == max(record.return_before for record in records)
*_, adapted = sm.adapt(sm.load(run), gymnasium.make("CartPole-v1"), episodes=2)
assert adapted.steps == 1
assert main(["evaluate", str(run), "--tasks=2", "--episodes=1", "--steps=1"]) == 0
"""


def test_a_learner_takes_its_file_and_a_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = f"import sys; sys.path.insert(0, {str(HERE)!r})\n{TRAIN_A_TOY}"
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "config.json").read_text())["mode"] == "toy"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(line["gradient_norm"] > 0 for line in lines)
    assert (run / "evaluation.json").exists()


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_is_there(name: str) -> None:
    spec = LEARNERS[name]
    assert spec.name == name
    assert issubclass(spec.load().__annotations__["return"], Learner)
    assert spec.validation in VALIDATIONS
    assert ("validation" in spec.phases) == (VALIDATIONS[spec.validation] is not None)


@pytest.mark.parametrize("name", INNER_LOSSES)
def test_every_inner_loss_is_there(name: str) -> None:
    assert callable(INNER_LOSSES[name].load())
