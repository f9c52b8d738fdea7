"""Observations of composed spaces as one axis of numbers, an image's first."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.observations import find_image, with_flat_observations
from ssm_metarl.errors import UserError

IMAGE = spaces.Box(0, 255, (5, 6, 3), np.uint8)
SEEN = spaces.Dict(
    {"compass": spaces.Discrete(4), "view": IMAGE, "speed": spaces.Box(-1, 1, (2,), np.float32)}
)


class Shows(gymnasium.Env):
    """Shows something random from its space."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: gymnasium.Space) -> None:
        self.observation_space = space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.shown = self.observation_space.sample()
        return self.shown, {}


def test_the_image_comes_first_and_the_rest_follows() -> None:
    env = Shows(SEEN)
    seen, _ = with_flat_observations(env).reset(seed=3)
    shown = {**env.shown, "compass": np.eye(4)[env.shown["compass"]], "view": ()}
    rest = [shown[name] for name in SEEN]  # in Gymnasium's order, which may not be the given one
    np.testing.assert_array_equal(seen, np.concatenate([env.shown["view"].ravel(), *rest]))
    flat = with_flat_observations(env).observation_space
    assert isinstance(flat, spaces.Box)
    assert flat.contains(seen)
    np.testing.assert_array_equal(flat.high[:90], 255)
    np.testing.assert_array_equal(flat.high[90:], 1)


@pytest.mark.parametrize(
    ("space", "start"),
    [
        (IMAGE, 0),
        (spaces.Tuple([spaces.Dict({"a": spaces.MultiBinary(3), "b": IMAGE}), IMAGE]), 3),
        (spaces.Box(0, 255, (5, 6), np.uint8), None),
        (spaces.Box(0, 1, (5, 6, 3)), None),
    ],
)
def test_images_are_found(space: gymnasium.Space, start: int | None) -> None:
    found = find_image(space)
    assert (found and found.start) == start
    assert found is None or found.shape == (5, 6, 3)


def test_what_is_no_number_is_refused_by_its_key_with_a_way_out() -> None:
    told = spaces.Dict(image=IMAGE, mission=spaces.Text(9))
    with pytest.raises(UserError, match=r"\['mission'\] Text.*FilterObservation that leaves"):
        with_flat_observations(Shows(told))


def test_an_image_is_condensed_and_the_rest_is_not() -> None:
    seen = torch.arange(94.0).reshape(1, 94)
    own = Spaces((1.0,) * 94, 2, discrete=True, image=(5, 6, 3))
    condensed = own.condensed(seen)
    assert condensed.shape == (1, own.condensed_size) == (1, 4 * 4 * 3 + 4)
    assert condensed[0, -4:].tolist() == [90, 91, 92, 93]
    assert condensed[0, :48].mean() == pytest.approx(44.5, abs=1.0)
