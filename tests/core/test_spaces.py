"""Actions: whatever a policy does is contained in the environment's space, as Gymnasium sees it."""

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ssm_metarl.core.actions import UNBOUNDED, EnvironmentAction, into_space
from ssm_metarl.core.spaces import LARGEST, Spaces
from ssm_metarl.errors import UserError

SCALE = np.ones(3)
FLOATS = ("float16", "float32", "float64")
SHAPES = arrays.array_shapes(max_dims=3, max_side=3)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@st.composite
def discrete_spaces(draw: st.DrawFn) -> Discrete:
    kind = np.dtype(draw(st.sampled_from(INTEGERS)))
    info = np.iinfo(kind)
    start = draw(st.integers(max(info.min, -(2**62)), min(info.max, 2**62) - 1))
    size = draw(st.integers(1, min(20, info.max - start)))
    return Discrete(size, start=start, dtype=kind.type)  # pyright: ignore[reportReturnType]


@st.composite
def several_choices(draw: st.DrawFn) -> gymnasium.Space:
    shape = draw(SHAPES)
    if draw(st.booleans()):
        return MultiBinary(shape)
    kind = np.dtype(draw(st.sampled_from(INTEGERS)))
    info = np.iinfo(kind)
    sizes = draw(arrays.arrays(np.int64, shape, elements=st.integers(1, min(20, info.max))))
    most = min(info.max, 2**62) - 20
    starts = st.integers(max(info.min, -(2**62)), max(most, info.min))
    start = draw(arrays.arrays(np.int64, shape, elements=starts))
    return MultiDiscrete(sizes.astype(kind), dtype=kind.type, start=start.astype(kind))


@st.composite
def boxes(draw: st.DrawFn, largest: int | None = None) -> Box:
    """Draw a box whose bounds are any of its type's numbers, or none larger than given."""
    kind = np.dtype(draw(st.sampled_from((*FLOATS, *INTEGERS))))
    shape = draw(SHAPES | st.just(()))
    if kind.kind == "f":
        least, most = -np.inf, np.inf
        bound = None if largest is None or kind == np.float16 else float(largest)
        width: Any = kind.itemsize * 8
        numbers = st.floats(bound and -bound, bound, allow_nan=False, width=width)
        numbers |= st.sampled_from([-np.inf, np.inf])
    else:
        least, most = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
        near = largest or 2**53  # beyond, floats cannot tell two bounds apart
        numbers = st.integers(max(-near, least), min(near, most))
        if largest is None:
            numbers |= st.sampled_from([least, most])
    one, other = (draw(arrays.arrays(kind, shape, elements=numbers)) for _ in range(2))
    low, high = np.minimum(one, other), np.maximum(one, other)
    low, high = np.where(low == most, 0, low), np.where(high == least, 0, high)
    return Box(low.astype(kind), high.astype(kind), dtype=kind.type)


def contained(action: EnvironmentAction, space: gymnasium.Space) -> bool:
    assert isinstance(action, np.ndarray)
    return all(space.contains(np.asarray(one)) for one in action)


@settings(deadline=None, max_examples=300)
@given(space=discrete_spaces() | several_choices() | boxes(), data=st.data())
def test_the_space_contains_every_action(space: gymnasium.Space, data: st.DataObject) -> None:
    spaces = Spaces.of(SCALE, space)
    if spaces.discrete:
        rows = [st.integers(0, size - 1) for size in spaces.choices or (spaces.actions,)]
        drawn = np.array(data.draw(st.lists(st.tuples(*rows), min_size=5, max_size=5)))
        drawn = drawn.reshape(5, *spaces.usual_shape)
    else:
        numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
        numbers |= st.floats(-1.0, 1.0, width=32)
        drawn = data.draw(arrays.arrays(np.float32, (5, spaces.actions), elements=numbers))
    action = torch.from_numpy(drawn)
    own = spaces.contained(action)
    assert own.dtype == space.dtype
    assert contained(own, space), "what predict gives"
    assert contained(into_space(spaces.to_environment(action).numpy(), space), space), "rollouts"


@settings(deadline=None, max_examples=200)
@given(space=discrete_spaces() | several_choices() | boxes(largest=10**6))
def test_a_recorded_action_is_read_back_as_the_policys(space: gymnasium.Space) -> None:
    spaces = Spaces.of(SCALE, space)
    recorded = np.stack([space.sample() for _ in range(5)])
    again = spaces.contained(torch.from_numpy(spaces.from_environment(recorded)))
    if isinstance(space, Box):  # float32 holds 24 bits of the range
        ends = np.stack([space.low, space.high, *recorded]).astype(np.float64)
        size = abs(ends).max(0, where=np.isfinite(ends), initial=0.0)
        rounding = 2e-3 if space.dtype == np.float16 else 1e-6
        tiny = float(np.finfo(np.float32).tiny)
        assert (abs(again - recorded.astype(np.float64)) <= rounding * size + tiny).all()
    else:
        assert np.array_equal(again, recorded)


def test_bounds_are_each_dimensions_own() -> None:
    low, high = [-2, 0, -np.inf, -LARGEST], [4, np.inf, np.inf, LARGEST]
    spaces = Spaces.of(SCALE, Box(np.array(low, np.float32), np.array(high, np.float32)))
    action = torch.tensor([[0.5, 0.5, 0.5, 0.5], [-9.0, -9.0, -9.0, -9.0]])
    expected = [[2.5, 0.5, 0.5, 0.5], [-2.0, 0.0, -9.0, -9.0]]
    np.testing.assert_array_equal(spaces.contained(action), expected)


def test_whole_numbers_are_the_nearest_ones() -> None:
    spaces = Spaces.of(SCALE, Box(0, 10, (3,), np.int32))
    assert spaces.contained(torch.tensor([-1.0, 0.13, 1.0])).tolist() == [0, 6, 10]


def test_a_single_discrete_action_can_be_looked_up() -> None:
    spaces = Spaces.of(SCALE, Discrete(3, start=-1))
    action = spaces.contained(torch.tensor(2))
    assert {1: "right"}[int(action)] == {1: "right"}[action] == "right"  # pyright: ignore


def test_the_same_bounds_in_another_type_are_the_same() -> None:
    one, two = (Spaces.of(SCALE, Box(-0.4, 0.4, (2,), kind)) for kind in (np.float32, np.float64))
    assert one.same_actions(two)
    assert two.same_actions(one)
    assert not one.same_actions(Spaces.of(SCALE, Box(-0.4, 0.5, (2,))))
    assert not one.same_actions(Spaces.of(SCALE, Box(-np.inf, np.inf, (2,))))
    assert not one.same_actions(Spaces.of(SCALE, Box(-0.4, 0.4, (3,))))
    assert not one.same_actions(Spaces.of(SCALE, Discrete(2)))


def test_the_type_of_an_action_is_that_of_the_space_it_acts_in() -> None:
    unusual = Spaces.of(SCALE, Box(-1, 1, (2,), np.float64))
    assert unusual.action_type == "float64"
    assert unusual.acting_in(Box(-1, 1, (2,), np.float64)).action_type == "float64"
    assert unusual.acting_in(Box(-1, 1, (2,), np.float32)).action_type is None
    small = unusual.acting_in(Discrete(3, dtype=np.int8))
    assert (small.action_type, small.discrete) == ("int8", True)
    assert small.acting_in(Discrete(3)).action_type is None


SPACES = (
    Discrete(3),
    Discrete(2, start=-1, dtype=np.int8),
    MultiDiscrete([2, 3], start=[5, -1]),
    MultiDiscrete(np.array([[2, 3], [1, 4]])),
    Box(-1, 1, (2,)),
    Box(np.array([[-2, 0]]), np.array([[4, 9]]), dtype=np.int16),
)


def test_nothing_is_left_of_the_actions_before() -> None:
    for one, other in itertools.permutations((*SPACES, Box(-np.inf, np.inf, (1,))), 2):
        assert Spaces.of(SCALE, one).acting_in(other) == Spaces.of(SCALE, other)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_the_numbers_tell_the_space(space: gymnasium.Space) -> None:
    assert Spaces.of(SCALE, space).action_space == space


def test_a_box_without_bounds_has_none() -> None:
    spaces = Spaces.of(SCALE, Box(-np.inf, np.inf, (2,)))
    assert (spaces.action_low, spaces.action_high) == ((), ())
    assert spaces.action_scaling(torch.zeros(2)) is None


def test_agents_that_kept_no_half_bounds_are_still_taken() -> None:
    before = Spaces((1.0,) * 3, 2, discrete=False)
    assert before.same_actions(Spaces.of(SCALE, Box(0, np.inf, (2,))))
    one_side = Box(np.zeros(2, np.float32), np.array([1.0, np.inf], np.float32))
    assert before.same_actions(Spaces.of(SCALE, one_side))
    assert not before.same_actions(Spaces.of(SCALE, Box(0, 1, (2,))))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (gymnasium.spaces.Text(4), "Discrete, MultiDiscrete, MultiBinary, Box"),
        (gymnasium.spaces.Dict({"a": Discrete(2)}), "Dict.* is not supported; valid: Discrete, "),
        (Box(-1, 1, (0,)), "holds no number"),
    ],
    ids=["Text", "Dict", "Box"],
)
def test_what_no_agent_can_do_is_refused(space: gymnasium.Space, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Spaces.of(SCALE, space)


def test_observations_are_centred_and_scaled_entry_by_entry() -> None:
    seen = torch.tensor([[5.0, 9.0]])
    plain = Spaces((2.0, 4.0), 1, True)
    offset = Spaces((2.0, 4.0), 1, True, observation_offset=(1.0, -3.0))
    assert torch.equal(plain.centred(seen), seen)
    assert plain.normalized(seen).tolist() == [[2.5, 2.25]]
    assert offset.centred(seen).tolist() == [[4.0, 12.0]]
    assert offset.normalized(seen).tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize(
    ("spaces", "words"),
    [
        (Spaces((1.0, 1.0), 3, True), "2 numbers and takes 3 discrete actions"),
        (Spaces((1.0,), 3, True, action_start=2), "1 numbers and takes 3 discrete actions from 2"),
        (Spaces((1.0,), 2, False), "1 numbers and takes 2 numbers"),
        (
            Spaces((1.0,), 5, True, choices=(2, 3)),
            "1 numbers and takes 2 discrete actions of [2, 3] choices",
        ),
        (
            Spaces((1.0,), 2, False, (-1.0, -UNBOUNDED), (UNBOUNDED, 2.0)),
            "1 numbers and takes 2 numbers from [-1.0, -inf] to [inf, 2.0]",
        ),
    ],
)
def test_they_are_described_in_words(spaces: Spaces, words: str) -> None:
    assert spaces.describe() == words


@pytest.mark.parametrize("number", [1, 4])
def test_recorded_numbers_that_are_no_action_are_refused(number: int) -> None:
    spaces = Spaces((1.0,), 2, True, action_start=2)
    assert spaces.from_environment(np.array([2, 3])).tolist() == [0, 1]
    with pytest.raises(ValueError, match="none of the 2"):
        spaces.from_environment(np.array([2, number]))


def test_each_of_several_choices_has_its_own_range() -> None:
    space = MultiDiscrete([2, 3], start=[5, -1])
    spaces = Spaces.of(SCALE, space)
    assert (spaces.actions, spaces.choices, spaces.action_starts) == (5, (2, 3), (5, -1))
    assert spaces.contained(torch.tensor([[1, 2], [0, 0]])).tolist() == [[6, 1], [5, -1]]
    assert spaces.action_space == space
    with pytest.raises(ValueError, match=r"none of the \(2, 3\)"):
        spaces.from_environment(np.array([[5, 2]]))
    assert not spaces.same_actions(Spaces.of(SCALE, MultiDiscrete([3, 2])))
    assert not spaces.same_actions(Spaces.of(SCALE, Discrete(5)))


def test_axes_of_a_box_are_the_environments() -> None:
    space = Box(
        np.array([[-1, 0], [-np.inf, 2]], np.float32), np.array([[1, 4], [0, 2]], np.float32)
    )
    spaces = Spaces.of(SCALE, space)
    assert spaces.contained(torch.tensor([[0.5, 0.5, -7.0, 0.1]])).tolist() == [[[0.5, 3], [-7, 2]]]
    assert spaces.action_space.shape == (2, 2)


def test_recorded_actions_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 1\), not \(3,\)"):
        Spaces((1.0,), 2, True).from_environment(np.zeros((3, 1), np.int64))
    with pytest.raises(ValueError, match=r"\(3, 1\), not \(3, 2\)"):
        Spaces((1.0,), 2, False).from_environment(np.zeros((3, 1)))


def test_images_are_averaged_and_other_numbers_kept() -> None:
    spaces = Spaces((1.0,) * 35, 1, True, image=(8, 2, 2))
    seen = torch.randn(5, 3, 35, generator=torch.Generator().manual_seed(0))
    rows = seen[..., :32].reshape(5, 3, 4, 2, 2, 2).mean(3)  # pairs of rows: height becomes 4
    expected = torch.cat([rows.movedim(-1, 2).flatten(2), seen[..., 32:]], -1)
    torch.testing.assert_close(spaces.condensed(seen), expected)
    assert spaces.condensed_size == 4 * 2 * 2 + 3
    assert Spaces((1.0,) * 35, 1, True).condensed(seen) is seen
