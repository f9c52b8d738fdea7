"""Inputs that several tabs have, made from their limits."""

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
