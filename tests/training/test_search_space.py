"""What is typed after --param, as a search space."""

import pytest

from ssm_metarl.errors import UserError
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.search_space import (
    NOT_SEARCHED,
    Searched,
    check_corners,
    search_space,
)
from ssm_metarl.training.settings import settings_of


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("outer_lr=1e-4..1e-2:log", Searched("outer_lr", 1e-4, 1e-2, log=True)),
        ("lr=1..2", Searched("outer_lr", 1.0, 2.0)),
        ("inner-steps=1..3", Searched("inner_steps", 1, 3)),
        ("discount=.5...9", Searched("discount", 0.5, 0.9)),
        ("initial_log_std=-2..-0.5", Searched("initial_log_std", -2.0, -0.5)),
        ("width=16, 32,64", Searched("width", choices=(16, 32, 64))),
        ("cell=ssm,gru", Searched("cell", choices=("ssm", "gru"))),
        ("norm=true,False", Searched("norm", choices=(True, False))),
        ("norm_obs=None,true", Searched("norm_obs", choices=(None, True))),
        ("inner_lr=None,0.1", Searched("inner_lr", choices=(None, 0.1))),
    ],
)
def test_values_have_the_type_of_their_setting(text: str, searched: Searched) -> None:
    (one,) = search_space([text], "meta_rl")
    assert one == searched
    values = one.choices or (one.low, one.high)
    kind = settings_of(TrainConfig)[one.name].type
    assert all(value is None or type(value) is kind for value in values)
    if one.name not in ("norm", "norm_obs"):
        assert search_space([f"{one.name}={one}"], "meta_rl") == [one]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x=1..2", "meta_rl has no setting 'x'; valid: adaptation_discount, "),
        ("inner_step=1..2", "did you mean 'inner_steps'?"),
        ("num_episodes=1..2", "meta_rl has no setting 'num_episodes'"),
        ("outer_lr", "--outer_lr is ''; it must be a number above 0"),
        ("outer_lr=0..1", "--outer_lr is 0.0; it must be a number above 0"),
        ("outer_lr=1", "it needs two values or more"),
        ("outer_lr=1,1.0", "each of them once"),
        ("outer_lr=2..1", "2 must be less than 1"),
        ("outer_lr=1..None", "1 must be less than None"),
        ("outer_lr=1..2:lin", "valid: NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C"),
        ("entropy=0..1:log", "0 must be above 0 on a logarithmic scale"),
        ("inner_steps=1.5..3", "--inner_steps is '1.5'; it must be a whole number from 1 to 100"),
        ("inner_steps=1..101", "--inner_steps is 101; it must be a whole number from 1 to 100"),
        ("cell=ssm..gru", "it is no range; valid: "),
        ("cell=ssm,lstm", "--cell is 'lstm'; did you mean 'ssm'?"),
        ("norm=true,yes", "--norm is 'yes'; it must be true or false"),
        *((f"{name}=1,2", f"{name} is the same in all trials") for name in NOT_SEARCHED),
    ],
)
def test_a_mistake_names_what_would_be_valid(text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        search_space(["width=8,16", text], "meta_rl")
    assert str(caught.value).startswith(f"--param {text}: ")
    assert words in str(caught.value)


def test_a_setting_is_searched_once() -> None:
    with pytest.raises(UserError, match="outer_lr is there twice"):
        search_space(["outer_lr=1..2", "lr=1..2"], "meta_rl")
    with pytest.raises(UserError, match="needs --param"):
        search_space([], "meta_rl")


def test_settings_that_go_together_somewhere_are_searched() -> None:
    ring = search_space(["r_min=0..0.5", "r_max=0.5..0.9"], "meta_rl")
    assert check_corners({}, ring).r_min == 0.0  # alone it would not be valid
    assert check_corners({"r_min": 0.5}, ring[1:]).r_max == 0.9  # 0.5 would not be valid
    with pytest.raises(UserError, match="--r_min needs --r_max too"):
        check_corners({}, ring[:1])
