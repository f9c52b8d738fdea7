"""What a visitor's session keeps on the server does not grow with what they do."""

import subprocess
import sys

import pytest
from visiting import ROOT

pytest.importorskip("gradio")

# Skips and plain values in turn; prints by how many components and values the session grew, and
# the value that it kept of the output.
PRESSES = """
import asyncio
import gradio
from gradio.state_holder import SessionState
from ssm_metarl.ui.errors import Page

async def press(page, event, state):
    for value in ("a", "b", "c"):
        await page.postprocess_data(event, gradio.skip(), state)
        await page.postprocess_data(event, value, state)

for kind in (Page, gradio.Blocks):
    with kind() as page:
        shown = gradio.HTML()
        gradio.on([gradio.Button().click], lambda: None, None, shown)
    (event,) = page.fns.values()
    state = SessionState(page)
    before = len(state.blocks_config.blocks) + len(state.config_values)
    asyncio.run(press(page, event, state))
    grown = len(state.blocks_config.blocks) + len(state.config_values) - before
    print(grown, state.config_values[shown._id]["props"].get("value"))
"""


def test_a_session_keeps_the_last_value_alone_and_gradio_would_keep_all() -> None:
    """Once the second part fails, `Page.postprocess_data` can go."""
    command = [sys.executable, "-c", PRESSES]  # Gradio leaves a loop open
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    ours, gradio_alone = ran.stdout.splitlines()
    assert ours == "0 c"
    assert int(gradio_alone.split()[0]) >= 3
