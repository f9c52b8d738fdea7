"""What the program around us has set for torch neither reaches us nor is lost."""

from collections.abc import Iterator

import pytest
import torch

from ssm_metarl.core.torch_state import in_usual_torch


def state() -> tuple[torch.dtype, bool, bool]:
    return torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()


USUAL = (torch.float32, True, False)


@pytest.fixture
def unusual() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_function_sees_the_usual_state_and_restores_the_other(
    unusual: None, context: type
) -> None:
    @in_usual_torch
    def inside(number: int) -> tuple[int, object]:
        return number, state()

    with context():
        before = state()
        assert inside(number=3) == (3, USUAL)
        assert state() == before


@pytest.mark.usefixtures("unusual")
def test_a_function_that_fails_restores_it_too() -> None:
    @in_usual_torch
    def fails() -> None:
        raise ValueError

    with torch.no_grad(), pytest.raises(ValueError):  # noqa: PT011
        fails()
    assert torch.get_default_dtype() == torch.float64


def test_functions_keep_their_names_and_what_they_return() -> None:
    def plain(a: int, *, b: int) -> int:
        """Say it."""
        return a - b

    def stream(a: int, *, b: int) -> Iterator[int]:
        """Say it."""
        yield from (a, b)

    for function, result in ((plain, 1), (stream, None)):
        found = in_usual_torch(function)
        assert (found.__name__, found.__doc__) == (function.__name__, "Say it.")
        assert found(3, b=2) == result if result else list(found(3, b=2)) == [3, 2]


@pytest.mark.usefixtures("unusual")
def test_a_generator_leaves_the_state_alone_between_its_steps() -> None:
    seen: list[object] = []

    @in_usual_torch
    def steps() -> Iterator[int]:
        try:
            for number in range(3):
                seen.append(state())
                yield number
        finally:
            seen.append(state())

    with torch.no_grad():
        before = state()
        assert all(state() == before for _ in steps())
        stream = steps()
        assert next(stream) == 0
        stream.close()  # pyright: ignore[reportAttributeAccessIssue]
        assert state() == before
    assert seen == [USUAL] * 6
