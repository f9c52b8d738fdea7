"""Settings are valid from the start, are resolved once, and come back from config.json."""

import dataclasses
import json
import runpy
from fractions import Fraction
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import LEARNERS, used_by
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.defaults import default_text
from ssm_metarl.training.settings import settings_of

SETTINGS = settings_of(TrainConfig)
RING = {"r_min", "r_max"}  # where these are None, max_time_constant decides


def changed(**values: object) -> str:
    return json.dumps({**dataclasses.asdict(TrainConfig()), **values})


def test_a_configuration_comes_back_as_it_was() -> None:
    config = TrainConfig(mode="policy_gradient", outer_lr=0.1, support_steps=30, norm=True, seed=7)
    assert TrainConfig.from_json(config.to_json()) == config


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
        (changed(mode="maml"), "config.json: --mode is 'maml'; "),
        (changed(mode=["meta_rl"]), "config.json: --mode is ['meta_rl']; it must be one of"),
        (changed(num_episodes=None), "--num_episodes is None; it must be a whole number"),
        (changed(inner_lr=10**400), "--inner_lr is 1000"),
    ],
)
def test_a_bad_file_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        TrainConfig.from_json(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mode": "RL2"}, "--mode is 'RL2'; did you mean 'rl2'? valid: "),
        ({"mode": "maml"}, "--mode is 'maml'"),
        ({"cell": "lstm"}, "--cell is 'lstm'; did you mean 'ssm'? valid: gated, gru"),
        ({"surrogate": "ppo"}, "--surrogate is 'ppo'"),
        ({"memory": "trials"}, "--memory is 'trials'; did you mean 'trial'"),
        ({"device": "gpu"}, "--device is 'gpu'"),
        ({"num_epochs": 1.0}, "--num_epochs is 1.0; it must be a whole number from 1 to 1,000,000"),
        ({"experience": 1e6}, "--experience is 1000000.0; it must be a whole number, at least 0"),
        ({"seed": True}, "--seed is True; it must be a whole number from 0 to"),
        ({"seed": 2**63}, "--seed is 9223372036854775808; it must be a whole number from 0 to"),
        ({"seed": "3"}, "--seed is '3'"),
        ({"norm": 1}, "--norm is 1; it must be true or false"),
        ({"first_order": "no"}, "--first_order is 'no'; it must be true or false"),
        ({"inner_lr": "0.1"}, "--inner_lr is '0.1'; it must be a number above 0"),
        ({"inner_lr": Fraction(1, 3)}, "--inner_lr is Fraction(1, 3)"),
        ({"inner_lr": np.array([0.1])}, "--inner_lr is array([0.1])"),
        ({"num_epochs": 0}, "--num_epochs is 0; it must be a whole number from 1 to 1,000,000"),
        ({"num_epochs": 10**7}, "--num_epochs is 10000000; it must be a whole number from 1 to"),
        ({"width": 4097}, "--width is 4097; it must be a whole number from 1 to 4,096"),
        ({"clip": 2.0}, "--clip is 2.0; it must be a number from 0 to 1"),
        ({"entropy": -1.0}, "--entropy is -1.0; it must be a number, at least 0"),
        ({"support_weight": -1.0}, "--support_weight is -1.0"),
        ({"memory": "trial", "cell": "mlp"}, "--cell mlp has no memory"),
        ({"r_min": 0.5}, "--r_min needs --r_max too; they must be 0 <= r_min < r_max < 1"),
        ({"r_max": 0.5}, "--r_max needs --r_min too"),
        ({"r_min": 0.9, "r_max": 0.5}, "they must be 0 <= r_min < r_max < 1"),
        ({"r_min": -0.1, "r_max": 0.5}, "--r_min is -0.1; it must be a number from 0 to 1"),
        ({"max_phase": 7.0}, "--max_phase is 7.0; it must be a number above 0, at most 6.28319"),
        ({"memory": "trial", "episodes_per_task": 6}, "a multiple of --episodes_per_trial"),
        ({"surrogate": "emaml", "tasks_per_epoch": 1}, "--tasks_per_epoch is 1; --surrogate emaml"),
        ({"surrogate": "prediction", "first_order": True}, "--first_order: --surrogate prediction"),
        (
            {"env_name": gymnasium.spaces.Discrete(2)},
            "--env_name is Discrete(2); it must be a text",
        ),
    ],
)
def test_what_is_not_valid_is_refused_at_construction(
    values: dict[str, object], reason: str
) -> None:
    with pytest.raises(UserError) as caught:
        TrainConfig(**values)  # pyright: ignore[reportArgumentType]
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["inner_lr", "outer_lr", "max_grad_norm", "clip", "discount"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_numbers_that_make_no_sense_are_refused_by_flag(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{name} is"):
        dataclasses.replace(TrainConfig(), **{name: value})


def test_numpy_s_scalars_become_plain_ones() -> None:
    config = TrainConfig(
        seed=np.int64(3),  # pyright: ignore[reportArgumentType]
        inner_lr=np.float32(0.5),  # pyright: ignore[reportArgumentType]
        outer_lr=1,
        norm=np.bool_(True),  # pyright: ignore[reportArgumentType]
        env_name=np.str_("Pendulum-v1"),
    )
    plain = TrainConfig(seed=3, inner_lr=0.5, outer_lr=1.0, norm=True, env_name="Pendulum-v1")
    assert config == plain
    for name, value in vars(config).items():
        assert type(value) is type(getattr(plain, name)), name
    assert TrainConfig.from_json(config.to_json()) == plain


@pytest.mark.parametrize("mode", LEARNERS)
def test_gradient_steps_in_training_are_for_learners_that_take_them(mode: str) -> None:
    unused = TrainConfig(mode=mode, inner_steps=2).unused()
    assert unused == ([] if LEARNERS[mode].trains_steps else ["inner_steps"])


@pytest.mark.parametrize("mode", LEARNERS)
@pytest.mark.parametrize("name", ["CartPole-v1", "Navigation2D-v0"])
def test_resolving_fills_in_all_that_the_learner_uses(mode: str, name: str) -> None:
    config = TrainConfig(mode=mode, env_name=name)
    resolved = config.resolve(get_family(name))
    left = {name for name, value in vars(resolved).items() if value is None}
    assert left - RING == {n for n in left if mode not in used_by(n)} - RING
    assert resolved.unused() == []
    given = {n: v for n, v in vars(config).items() if v is not None}
    assert {n: getattr(resolved, n) for n in given} == given


@pytest.mark.parametrize("mode", LEARNERS)
def test_what_was_resolved_stays_when_the_family_changes_its_mind(mode: str) -> None:
    for family in list_families():
        resolved = TrainConfig(mode=mode, env_name=family.name).resolve(family)
        other = dataclasses.replace(
            family,
            support_steps=7,
            discount=0.5,
            adaptation_discount=0.5,
            inner_lr=9.0,
            outer_lr=9.0,
            initial_log_std=-3.0,
            support_weight=0.9,
            adapted_std=0.1,
            trust=9.0,
            max_episode_steps=8,
        )
        again = TrainConfig.from_json(resolved.to_json()).resolve(other)
        assert again == resolved


def test_what_was_changed_is_told_from_what_is_suggested() -> None:
    family = get_family("CartPole-v1")
    config = TrainConfig(width=8, inner_lr=0.03, num_epochs=40)
    assert config.changed(family) == config.resolve(family).changed(family) == {"width": 8}


def test_every_setting_says_what_it_is_and_what_its_default_is() -> None:
    for one in SETTINGS.values():
        assert one.help.endswith("."), one.name
        assert default_text(one) not in ("", "None"), one.name
        if not one.optional:
            assert one.check(one.default) == one.default
    iterations = default_text(SETTINGS["num_epochs"])
    assert iterations.startswith("40 for meta_rl, ")
    assert ", 150 for meta_rl, " in iterations
    assert " with --memory trial, 80 for rl2" in iterations
    assert default_text(SETTINGS["width"]) == "64 for rl2, else 32"
    assert default_text(SETTINGS["query_steps"]) == "the family's"


def test_learners_and_families_speak_of_settings_that_there_are() -> None:
    for spec in LEARNERS.values():
        assert {*spec.uses, *spec.ignores, *spec.defaults, *spec.trial_defaults} <= SETTINGS.keys()
    for one in SETTINGS.values():
        assert not one.family or hasattr(get_family("CartPole-v1"), one.family)


def test_the_page_on_the_settings_is_up_to_date() -> None:
    script = Path(__file__).parents[2] / "docs" / "settings.py"
    assert runpy.run_path(str(script))["page"]() == script.with_suffix(".md").read_text()
