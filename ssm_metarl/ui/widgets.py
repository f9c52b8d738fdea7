"""Inputs that several tabs have, made from their limits, and what their tables share."""

from typing import Any

import gradio as gr

from ssm_metarl.ui.limits import EPISODES, SEED, STEPS, Range

# An emptied box gets back what it had, once it is left; Gradio would send the least, or nothing.
REFILL = """
const form = element.closest(".controls-column");
const empty = (box) => box.type === "number" && box.value === "";
form.addEventListener("focusin", ({ target }) => { target.dataset.was = target.value; });
form.addEventListener("input", (event) => {  // a slider would take nothing for its least
  if (empty(event.target)) event.stopPropagation();
}, true);
form.addEventListener("blur", ({ target }) => {
  if (!empty(target)) return;
  target.value = target.dataset.was;
  target.dispatchEvent(new Event("input", { bubbles: true }));
}, true);
"""

TABLE: dict[str, Any] = {"interactive": False, "show_label": False, "buttons": []}


def percent(share: float) -> str:
    """Return a share in per cent; a small one is not 0%."""
    return "<1%" if 0.0 < share < 0.005 else f"{share:.0%}"


def cell_bar(share: float, colour: str) -> str:
    """Return the CSS of a table's cell that draws a share as a bar behind its text."""
    faint = f"color-mix(in srgb, {colour} 35%, transparent)"
    return f"background: linear-gradient(to right, {faint} {100 * share:.1f}%, transparent 0)"


def slider(limits: Range, label: str, info: str | None = None, **how: Any) -> gr.Slider:
    """Return a slider over whole numbers."""
    low, high, start = int(limits.low), int(limits.high), int(limits.default)
    return gr.Slider(low, high, value=start, step=1, label=label, info=info, **how)


def adaptation_inputs(what: str) -> tuple[gr.Slider, gr.Slider, gr.Number]:
    """Add, folded away, how much data and how many steps adaptation takes, and the seed.

    Args:
        what: Whose episodes they are.
    """
    with gr.Accordion("Data and gradient steps", open=False):
        return (
            slider(EPISODES, f"Episodes of {what}", "for each gradient step"),
            slider(STEPS, "Gradient steps"),
            gr.Number(
                int(SEED.default), label="Seed", precision=0, minimum=0, maximum=int(SEED.high)
            ),
        )
