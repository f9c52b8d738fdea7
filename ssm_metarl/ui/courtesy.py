"""What a visitor sees when something goes wrong: one line, and never a path or a traceback."""

import functools
import inspect
import logging
import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import gradio as gr

from ssm_metarl.errors import SsmMetaRLError

log = logging.getLogger(__name__)
PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[\w.~-]+[/\\])*([\w.-]*)")
SORRY = "Something went wrong on the server. Please try again."


def courteous(action: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the errors of an event into a line for people; the rest goes to the server's log."""
    if inspect.isgeneratorfunction(action):

        @functools.wraps(action)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from action(*args, **kwargs)
            except Exception as error:
                raise explained(error) from None

        return stream

    @functools.wraps(action)
    def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            return action(*args, **kwargs)
        except Exception as error:
            raise explained(error) from None

    return answer


def explained(error: Exception) -> gr.Error:
    """Return an error as the page shows it."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, SsmMetaRLError):
        return gr.Error(
            escape(without_paths(str(error)), quote=False),
            title="That did not work",
            print_exception=False,
        )
    log.error("an event failed", exc_info=error)
    return gr.Error(SORRY, title="Sorry", print_exception=False)


def without_paths(text: str) -> str:
    """Leave of every absolute path only its last name."""
    return PATH.sub(lambda match: match[1] or "…", text)
