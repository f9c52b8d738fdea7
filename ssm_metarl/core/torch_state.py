"""Torch's global state, which belongs to the program around us and may be anything."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


@contextlib.contextmanager
def usual_torch() -> Iterator[None]:
    """Use float32 by default and allow gradients, whatever is set outside."""
    outside = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(outside)


def in_usual_torch(function: Function) -> Function:
    """Make a function run under :func:`usual_torch`; of a generator, each of its steps."""
    if not inspect.isgeneratorfunction(inspect.unwrap(function)):  # a type checker may wrap it
        return cast("Function", usual_torch()(function))

    @functools.wraps(function)
    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401 (those of the function)
        inner = function(*args, **kwargs)
        try:
            while True:
                with usual_torch():
                    try:
                        item = next(inner)
                    except StopIteration:
                        return
                yield item
        finally:
            with usual_torch():
                inner.close()

    return cast("Function", stream)


is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
"""Whether torch.export is tracing a network; torch 2.6 cannot tell that from compiling it."""
