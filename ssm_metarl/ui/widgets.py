"""Small components and settings of events that several tabs share."""

from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from ssm_metarl.ui.limits import EPISODES, SEED, STEPS, Range

QUEUED = "Your turn comes when the jobs of others are done."
# Training, adapting and evaluating run one at a time.
ONE_SLOT: dict[str, Any] = {"concurrency_id": "heavy", "concurrency_limit": 1}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
FOLLOWING: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}
QUIET: dict[str, Any] = {  # queued, because only then are errors shown
    "concurrency_limit": None,
    "show_progress": "hidden",
    **PRIVATE,
}
# On a phone the results are below the buttons.
TO_RESULTS = """(...inputs) => {
  const results = document.querySelector("#%s");
  if (window.innerWidth < 768) results.scrollIntoView({behavior: "smooth"});
  return inputs;
}"""


def heavy(status: Component) -> dict[str, Any]:
    """Return the settings of a heavy event, whose place in the queue is shown in ``status``."""
    return {
        **ONE_SLOT,
        "trigger_mode": "multiple",  # also while a discarded job of the visitor still waits
        "show_progress": "minimal",
        "show_progress_on": [status],
    }


TABLE: dict[str, Any] = {"interactive": False, "show_label": False, "buttons": [], "wrap": True}


def percent(share: float) -> str:
    """Return a share in per cent; a small one is not 0%."""
    return "<1%" if 0.0 < share < 0.005 else f"{round(share, 2) + 0.0:.0%}"  # no -0%


def cell_bar(share: float, colour: str) -> str:
    """Return the CSS of a table's cell that draws a share as a bar behind its text."""
    faint = f"color-mix(in srgb, {colour} 35%, transparent)"
    return f"background: linear-gradient(to right, {faint} {100 * share:.1f}%, transparent 0)"


def slider(limits: Range, label: str, info: str | None = None, **how: Any) -> gr.Slider:
    """Return a slider over whole numbers."""
    low, high, start = int(limits.low), int(limits.high), int(limits.default)
    return gr.Slider(low, high, value=start, step=1, label=label, info=info, **how)


def adaptation_inputs(what: str) -> tuple[gr.Slider, gr.Slider, gr.Number]:
    """Add, folded away, how many episodes of ``what`` and steps adaptation takes, and the seed."""
    with gr.Accordion("Data and gradient steps", open=False):
        return (
            slider(EPISODES, f"Episodes of {what}", "for each gradient step"),
            slider(STEPS, "Gradient steps"),
            gr.Number(SEED.default, label="Seed", precision=0, minimum=0, maximum=SEED.high),
        )


def message(text: str, kind: str) -> str:
    """Return a paragraph; kind is ``outcome``, ``others`` or ``working``."""
    return f'<p class="{kind}" role="status">{escape(text)}</p>'


def tiles(values: Mapping[str, str]) -> str:
    """Return a few labelled values, side by side."""
    shown = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in values.items())
    return f'<dl class="tiles">{"".join(shown)}</dl>'
