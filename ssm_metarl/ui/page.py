"""The page: its tabs, and what they share."""

import gradio as gr

from ssm_metarl import __version__
from ssm_metarl.ui import adapt, api, compare, inside, memory, runs, train
from ssm_metarl.ui.courtesy import Page, courteous, field
from ssm_metarl.ui.desk import Desk
from ssm_metarl.ui.shelf import Shelf
from ssm_metarl.ui.words import about

TITLE = "ssm-metarl"
HEADER = f"""
<header class="masthead">
  <h1>Agents that adapt</h1>
  <p>State-space-model policies, meta-trained over families of tasks.
    <span class="version">ssm-metarl {__version__}</span></p>
</header>
"""


def build(shelf: Shelf, desk: Desk) -> gr.Blocks:
    """Return the page over a shelf of runs, whose visitors work at a desk."""
    with Page(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(HEADER)
        question = gr.State({})
        trained = shelf.trained()
        run = gr.Dropdown(
            trained,
            value=shelf.first(),
            label="Agent",
            elem_id="agent",
            interactive=True,
        )
        who = gr.HTML(about(shelf, run.value), elem_id="about")
        place = gr.State("Adapt")  # the tab that is open
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Adapt", id="adapt"):
                adapt.build(shelf, desk, run, question)
            with gr.Tab("Train", id="train"):
                train.build(shelf, desk, run)
            with gr.Tab("Compare", id="compare"):
                compare.build(shelf, desk, place, run)
            with gr.Tab("Runs", id="runs") as tab:
                runs.build(shelf, desk, run, tab)
            with gr.Tab("Memory", id="memory"):
                memory.build(shelf, run, question, place)
            with gr.Tab("Inside", id="inside"):
                inside.build(shelf, run, question, place)
        tabs.select(
            courteous(chosen),
            None,
            place,
            concurrency_limit=None,
            show_progress="hidden",
            api_visibility="private",
        )
        api.build(shelf)
        run.change(
            courteous(lambda run: about(shelf, run)),
            run,
            who,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        page.load(
            courteous(lambda: gr.update(choices=shelf.trained())),
            None,
            run,
            queue=False,
            api_visibility="private",
        )
        page.unload(courteous(desk.stop))
    return page


def chosen(tab: gr.EventData) -> str:
    """Return which tab was opened."""
    return field(tab, "value")
