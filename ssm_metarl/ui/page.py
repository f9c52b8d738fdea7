"""The page: its tabs, and what they share."""

import gradio as gr

from ssm_metarl import __version__
from ssm_metarl.ui import api
from ssm_metarl.ui.errors import Page, field, handled
from ssm_metarl.ui.jobs import Jobs
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs import adapt, compare, inside, memory, runs, train
from ssm_metarl.ui.words import about

TITLE = "ssm-metarl"
HEADER = f"""
<header class="masthead">
  <h1>Agents that adapt</h1>
  <p>State-space-model policies, meta-trained over families of tasks.
    <span class="version">ssm-metarl {__version__}</span></p>
</header>
"""


def build(store: RunStore, jobs: Jobs) -> gr.Blocks:
    """Return the page over a store of runs, whose visitors work at a jobs."""
    with Page(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(HEADER)
        query = gr.State({})
        trained = store.trained()
        run = gr.Dropdown(
            trained,
            value=store.first(),
            label="Agent",
            elem_id="agent",
            interactive=True,
        )
        who = gr.HTML(about(store, run.value), elem_id="about")
        place = gr.State("Adapt")  # the tab that is open
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Adapt", id="adapt"):
                adapt.build(store, jobs, run, query)
            with gr.Tab("Train", id="train"):
                train.build(store, jobs, run)
            with gr.Tab("Compare", id="compare"):
                compare.build(store, jobs, place, run)
            with gr.Tab("Runs", id="runs") as tab:
                runs.build(store, jobs, run, tab)
            with gr.Tab("Memory", id="memory"):
                memory.build(store, run, query, place)
            with gr.Tab("Inside", id="inside"):
                inside.build(store, run, query, place)
        tabs.select(
            handled(chosen),
            None,
            place,
            concurrency_limit=None,
            show_progress="hidden",
            api_visibility="private",
        )
        api.build(store)
        run.change(
            handled(lambda run: about(store, run)),
            run,
            who,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        page.load(
            handled(lambda: gr.update(choices=store.trained())),
            None,
            run,
            queue=False,
            api_visibility="private",
        )
        page.unload(handled(jobs.stop))
    return page


def chosen(tab: gr.EventData) -> str:
    """Return which tab was opened."""
    return str(field(tab, "value"))
