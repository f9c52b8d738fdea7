"""A learner is its file and a line in the registry: everything else works with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.learner import Learner
from ssm_metarl.meta_rl.registry import INNER_LOSSES, LEARNERS
from ssm_metarl.training.validation import VALIDATIONS

HERE = Path(__file__).parent

SETTINGS = {
    **{"inner_lr": 0.5, "outer_lr": 0.25, "num_epochs": 7, "inner_steps": 2, "tasks_per_epoch": 3},
    **{"episodes_per_task": 6, "episodes_per_trial": 2, "support_steps": 8, "query_steps": 9},
    **{"first_steps": 4, "num_episodes": 1, "discount": 0.8, "gae_lambda": 0.7, "outer_epochs": 5},
    **{"clip": 0.3, "entropy": 0.1, "support_weight": 0.6, "max_grad_norm": 1.5},
    **{"surrogate": "dice", "first_order": False, "learn_inner_lr": True},
}
PPO_FIELDS = {
    **{"lr": "outer_lr", "discount": "discount", "gae_lambda": "gae_lambda", "clip": "clip"},
    **{"entropy": "entropy", "max_grad_norm": "max_grad_norm"},
}
FIELDS = {
    "meta_rl": {
        **{"inner_lr": "inner_lr", "outer_lr": "outer_lr", "iterations": "num_epochs"},
        **{"inner_steps": "inner_steps", "tasks": "tasks_per_epoch", "discount": "discount"},
        **{"episodes": "episodes_per_task", "episodes_per_trial": "episodes_per_trial"},
        **{"support_horizon": "support_steps", "query_horizon": "query_steps"},
        **{"gae_lambda": "gae_lambda", "epochs": "outer_epochs", "clip": "clip"},
        **{"entropy": "entropy", "support_weight": "support_weight"},
        **{"max_grad_norm": "max_grad_norm", "surrogate": "surrogate"},
        **{"first_order": "first_order", "learn_rates": "learn_inner_lr"},
    },
    "rl2": {
        **PPO_FIELDS,
        **{"iterations": "num_epochs", "tasks": "tasks_per_epoch"},
        **{"episodes": "episodes_per_trial", "first_horizon": "first_steps"},
        **{"horizon": "query_steps"},
    },
    "policy_gradient": {**PPO_FIELDS, "total_episodes": "num_episodes"},
}


def make(name: str, **changes: object) -> Learner:
    family = get_family("CartPole-v1")
    policy = Policy(PolicyConfig(width=4, state_size=2), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    return LEARNERS[name].load()(policy, family, params, {**SETTINGS, **changes})


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


@pytest.mark.parametrize("name", LEARNERS)
def test_every_setting_reaches_its_learner(name: str) -> None:
    learning = make(name)
    assert learning.family.name == "CartPole-v1"
    for field, setting in FIELDS[name].items():
        assert getattr(learning.config, field) == SETTINGS[setting], field


def test_the_first_episodes_are_no_longer_than_the_others() -> None:
    assert make("rl2", first_steps=50).config.first_horizon == SETTINGS["query_steps"]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_tells_its_phases_in_order(name: str) -> None:
    learning, told = make(name), []
    learning.on_phase = told.append
    learning.iterate(SeedSequence(0), 1)
    assert list(dict.fromkeys(told)) == [p for p in LEARNERS[name].phases if p != "validation"]


@pytest.mark.parametrize("name", LEARNERS)
def test_every_iteration_draws_anew_and_the_same_again(name: str) -> None:
    def learned(iteration: int) -> torch.Tensor:
        # A rate that does not fall, so that only what was drawn can differ.
        learning = make(name, num_epochs=10**9, num_episodes=10**9)
        learning.iterate(SeedSequence(0), iteration)
        return torch.cat([value.detach().flatten() for value in learning.params.values()])

    assert torch.equal(learned(1), learned(1))
    assert not torch.equal(learned(1), learned(2))
