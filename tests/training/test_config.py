"""config.json is read back exactly, or refused with the name of what is wrong in it."""

import dataclasses
import json

import pytest

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.policy_gradient import PolicyGradientConfig
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.recipes import policy_gradient_config


def changed(**values: object) -> str:
    return json.dumps({**dataclasses.asdict(TrainConfig()), **values})


def test_a_configuration_comes_back_as_it_was() -> None:
    config = TrainConfig(mode="policy_gradient", outer_lr=0.1, support_steps=30, norm=True, seed=7)
    assert TrainConfig.from_json(config.to_json()) == config


def test_flags_that_are_not_given_leave_policy_gradient_at_its_own_settings() -> None:
    family = get_family("CartPole-v1")
    plain = policy_gradient_config(TrainConfig(mode="policy_gradient"), family)
    assert plain == PolicyGradientConfig(discount=family.discount)
    given = policy_gradient_config(
        TrainConfig(outer_lr=0.1, gae_lambda=0.5, num_episodes=30), family
    )
    assert (given.lr, given.gae_lambda, given.total_episodes) == (0.1, 0.5, 30)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"seed": 1', "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"seed": 1, "seed": 2}', "twice"),
        ("[]", "one object"),
        ("{}", "does not say mode and env_name"),
        ('{"mode": "rl2"}', "does not say env_name"),
        (changed(entropy=float("nan")), "NaN"),
        (changed(sead=1), "unknown name 'sead'; did you mean 'seed'"),
        (changed(seed=1.0), "seed cannot be 1.0"),
        (changed(seed=True), "seed cannot be True"),
        (changed(norm=1), "norm cannot be 1"),
        (changed(inner_lr="0.1"), "inner_lr cannot be '0.1'"),
        (changed(inner_lr=10**400), "inner_lr cannot be 1000"),
        (changed(mode="maml"), "mode cannot be 'maml'"),
        (changed(mode=["meta_rl"]), "mode cannot be"),
        (changed(num_episodes=None), "num_episodes cannot be None"),
        (changed(num_epochs=0), "--num_epochs is 0; it must be at least 1"),
        (changed(clip=2.0), "--clip is 2.0; it must be between 0 and 1"),
        (changed(entropy=-1.0), "--entropy is -1.0; it must not be negative"),
        (changed(memory="trial", cell="mlp"), "--cell mlp has no memory"),
        (
            changed(memory="trial", episodes_per_task=6),
            "a multiple of --episodes_per_trial",
        ),
        (changed(support_weight=-1.0), "--support_weight is -1.0; it must not be negative"),
        (
            changed(surrogate="emaml", tasks_per_epoch=1),
            "--tasks_per_epoch is 1; --surrogate emaml",
        ),
    ],
)
def test_a_bad_file_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        TrainConfig.from_json(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["inner_lr", "outer_lr", "max_grad_norm", "clip", "discount"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_numbers_that_make_no_sense_are_refused_by_flag(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{name} is"):
        dataclasses.replace(TrainConfig(), **{name: value}).validate()
