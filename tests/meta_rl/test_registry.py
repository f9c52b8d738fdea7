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
from ssm_metarl.meta_rl import natural
from ssm_metarl.meta_rl.learner import Learner
from ssm_metarl.meta_rl.registry import INNER_LOSSES, LEARNERS
from ssm_metarl.meta_rl.rl2 import RL2
from ssm_metarl.training.validation import VALIDATIONS

HERE = Path(__file__).parent

SETTINGS = {
    **{"inner_lr": 0.5, "outer_lr": 0.1, "num_epochs": 7, "inner_steps": 2, "tasks_per_epoch": 3},
    **{"episodes_per_task": 6, "episodes_per_trial": 2, "support_steps": 8, "query_steps": 9},
    **{"first_steps": 4, "num_episodes": 1, "discount": 0.8, "gae_lambda": 0.7, "outer_epochs": 5},
    **{"clip": 0.3, "entropy": 0.1, "support_weight": 0.6, "max_grad_norm": 1.5},
    **{"minibatches": 2, "surrogate": "loaded_dice", "first_order": False, "learn_inner_lr": True},
    **{"compile": "off", "norm_obs": False, "norm_reward": False, "adapts": "all"},
    **{"target_kl": 0.01, "kl_coefficient": 5e-4, "dice_lambda": 0.5},
}


@pytest.fixture(autouse=True)
def few_conjugate_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "ITERATIONS", 1)  # quick, and as good for what is tested here


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
    assert isinstance(make(name), Learner)
    assert spec.validation in VALIDATIONS
    assert ("validation" in spec.phases) == (VALIDATIONS[spec.validation] is not None)


@pytest.mark.parametrize("name", INNER_LOSSES)
def test_every_inner_loss_is_there(name: str) -> None:
    assert callable(INNER_LOSSES[name].load())


CHANGES = {
    **{"inner_lr": 0.1, "outer_lr": 0.05, "num_epochs": 9, "inner_steps": 1, "tasks_per_epoch": 4},
    **{"episodes_per_task": 4, "support_steps": 7, "query_steps": 40, "episodes_per_trial": 3},
    **{"first_steps": 3, "num_episodes": 15, "discount": 0.9, "gae_lambda": 0.6, "clip": 0.001},
    **{"outer_epochs": 2, "entropy": 0.5, "support_weight": 0.0, "max_grad_norm": 1e-4},
    **{"surrogate": "lvc", "first_order": True, "learn_inner_lr": False, "minibatches": 1},
    "adapts": "heads",
    "target_kl": 100.0,
    "dice_lambda": 1.0,
    "kl_coefficient": 0.01,
}
BY_PPO = ("outer_lr", "discount", "gae_lambda", "clip", "entropy", "max_grad_norm")
BY_RL2 = (
    *("num_epochs", "tasks_per_epoch", "episodes_per_trial", "query_steps", "first_steps"),
    *("outer_epochs", "minibatches"),
)
BY_STEPS = {
    *("inner_lr", "inner_steps", "num_epochs", "tasks_per_epoch", "episodes_per_task"),
    *("support_steps", "query_steps", "discount", "gae_lambda"),
}
BY_META_GRADIENT = {
    "dice_lambda",
    *("surrogate", "first_order", "learn_inner_lr", "adapts", "support_weight", "entropy"),
}
BY_ADAM = {"outer_lr", "max_grad_norm"}
USED = {
    "meta_rl": BY_STEPS | BY_META_GRADIENT | BY_ADAM | {"outer_epochs", "clip"},
    # What they share with meta_rl is of the base class.
    "promp": {"outer_lr", "outer_epochs", "clip", "target_kl", "kl_coefficient"},
    "maml_trpo": {"inner_lr", "dice_lambda", "entropy", "target_kl"},
    "reptile": {"inner_lr", "outer_lr", "query_steps"},
    "rl2": {*BY_PPO, *BY_RL2},
    "policy_gradient": {*BY_PPO, "num_episodes"},
}


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name in USED for setting in sorted(USED[name])]
)
def test_every_setting_that_a_learner_uses_changes_what_it_does(name: str, setting: str) -> None:
    both = []
    for changes in ({}, {setting: CHANGES[setting]}):
        learning = make(name, **{"num_episodes": 20, **changes})
        told = learning.iterate(SeedSequence(0), 2).metrics
        values = {key: value.tolist() for key, value in learning.tensors.items()}
        both.append((values, told))
    assert both[0] != both[1]


def test_the_first_episodes_are_no_longer_than_the_others() -> None:
    learning = make("rl2", first_steps=50)
    assert isinstance(learning, RL2)
    assert learning._horizon(0.0) == SETTINGS["query_steps"]


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
