"""What a visitor sees when something goes wrong: one line, and never a path or a traceback."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState

from ssm_metarl.errors import SsmMetaRLError, UserError

log = logging.getLogger(__name__)
PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[\w.~-]+[/\\])*([\w.-]*)")
SORRY = "Something went wrong on the server. Please try again."
INVALID = "That value is not valid for this input."
SHOWN = 200  # characters of an input that was refused, in the log


class Page(gr.Blocks):
    """Blocks whose events fail in one line, and of whose outputs sessions keep the last alone."""

    async def preprocess_data(
        self,
        block_fn: BlockFunction,
        inputs: list[Any],
        state: SessionState | None,
        explicit_call: bool = False,
    ) -> list[Any]:
        """Return the inputs of an event as its function takes them.

        The page never sends what cannot be converted; others may.

        Raises:
            gr.Error: One of them is not valid.
        """
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except Exception as error:
            log.warning("an input was refused: %.*s", SHOWN, repr(error))
            line = escape(_reason(block_fn.inputs, inputs), quote=False)
            raise gr.Error(line, print_exception=False) from None

    async def call_function(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Call the function of an event, or go on with it.

        Raises:
            gr.Error: It failed; with a line for people, the rest goes to the server's log.
        """
        try:
            return await super().call_function(*args, **kwargs)
        except Exception as error:
            raise explained(error) from None

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: list[Any] | dict, state: SessionState | None
    ) -> list[Any]:
        """Return the outputs of an event as the browser takes them.

        Gradio answers an update, also `gr.skip()`, with a new component in the place of the old
        one, and keeps the next plain value under the new one's id, beside all earlier values, as
        long as the session: 0.6 MB of clips at every press. So the new one gets the old one's id.
        See https://github.com/gradio-app/gradio/pull/8030; a test fails once this can go.
        """
        shown = await super().postprocess_data(block_fn, predictions, state)
        if state is not None:
            for block in block_fn.outputs:
                state.blocks_config.blocks[block._id]._id = block._id
        return shown


def _reason(blocks: Iterable[Any], values: Iterable[object]) -> str:
    """Say which input cannot have its value, and what it can, where Gradio's component knows."""
    for block, value in zip(blocks, values, strict=False):
        low, high = getattr(block, "minimum", None), getattr(block, "maximum", None)
        choices = [choice for _, choice in getattr(block, "choices", None) or ()]
        if (
            low is not None
            and high is not None
            and isinstance(value, int | float)
            and not low <= value <= high
        ):
            return f"{block.label} goes from {low:,.10g} to {high:,.10g}."
        if isinstance(value, str) and choices and value not in choices:
            return f"{block.label} is one of: {', '.join(map(str, choices))}."
    return INVALID


def explained(error: Exception) -> gr.Error:
    """Return an error as the page shows it."""
    if isinstance(error, gr.Error):
        return error
    line = SORRY
    if isinstance(error, SsmMetaRLError):
        line = escape(without_paths(str(error)), quote=False)
    else:
        log.error("an event failed", exc_info=error)
    return gr.Error(line, print_exception=False)


def lasting(work: Callable[[], Iterable[Any]], outputs: int) -> Iterator[Any]:
    """Yield what work yields; why it failed stays in the first output when the toast is gone.

    Raises:
        gr.Error: It failed.
    """
    try:
        yield from work()
    except Exception as error:
        failure = explained(error)
        line = f'<p class="working" role="status">{failure.message}</p>'
        yield [line, *[gr.skip()] * (outputs - 1)]
        raise failure from None


def field(event: gr.EventData, name: str) -> Any:
    """Return what an event says of itself.

    Raises:
        UserError: It does not say that.
    """
    try:
        return getattr(event, name)
    except (AttributeError, TypeError) as error:  # the latter where it says nothing at all
        raise UserError(f"that event does not say its {name}") from error


def without_paths(text: str) -> str:
    """Leave of every absolute path only its last name."""
    return PATH.sub(lambda match: match[1] or "…", text)
