"""The page: its tabs, and what they share."""

from functools import partial
from html import escape
from typing import Any

import gradio as gr

from ssm_metarl import __version__
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.meta_rl.registry import ADAPTS, LEARNERS
from ssm_metarl.ui import link
from ssm_metarl.ui.errors import Page, field
from ssm_metarl.ui.jobs import Jobs
from ssm_metarl.ui.sliders import Sliders
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs import adapt, compare, inside, memory, runs, train
from ssm_metarl.ui.widgets import FOLLOWING, QUIET

TITLE = "ssm-metarl"
FAMILIES = "https://github.com/sunghunkwag/SSM-MetaRL-Unified/blob/main/docs/families.md"
HEADER = f"""# Agents that adapt
State-space-model policies, meta-trained over families of tasks.<br>
With [a family of your own]({FAMILIES}): `ssm-metarl app --family FILE`. ssm-metarl {__version__}
"""  # two lines, with the tour beside them or not: nothing moves when it comes
TOUR = """1. Choose a task and press **Adapt**: see the agent before and after.
2. **Memory** and **Inside** show why, **Compare** how sure that is.
3. **Train** your own; below a result, copy its link, command or Python.
"""
NOT_ALL = "Not all of this link is valid: "
READING = 20.0  # seconds for what is wrong in a link


def build(store: RunStore, jobs: Jobs) -> gr.Blocks:
    """Return the page over a store of runs; what visitors start are jobs."""
    with Page(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        seen, tour = head()
        query = gr.State({})
        run = gr.Dropdown(
            store.trained(), value=store.first(), label="Agent", elem_id="agent", interactive=True
        )
        description = gr.HTML(about(store, run.value), elem_id="about")
        place = gr.State("Adapt")  # the tab that is open
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Adapt", id="adapt"):
                sliders, adaptation = adapt.build(store, jobs, run, query)
            with gr.Tab("Train", id="train"):
                train.build(store, jobs, run)
            with gr.Tab("Compare", id="compare"):
                compare.build(store, jobs, place, run)
            with gr.Tab("Runs", id="runs") as tab:
                runs.build(store, run, tab)
            with gr.Tab("Memory", id="memory"):
                memory.build(store, run, query, place)
            with gr.Tab("Inside", id="inside"):
                inside.build(store, run, query, place)
        tabs.select(chosen, None, place, **QUIET)
        run.change(partial(about, store), run, description, **FOLLOWING)
        arrive(store, page, seen, [tour, run, *adaptation], sliders)
        page.unload(jobs.stop)
    return page


def head() -> tuple[gr.BrowserState, gr.Column]:
    """Add the title and the tour; return whether it was dismissed, which the browser keeps."""
    seen = gr.BrowserState(False, storage_key="ssm-metarl-tour", secret="ssm-metarl")
    with gr.Row():
        with gr.Column(min_width=320):
            gr.Markdown(HEADER, padding=True)
        with gr.Column(min_width=320, visible=False, elem_id="tour") as tour, gr.Row():
            gr.Markdown(TOUR)
            known = gr.Button("Got it", size="sm", scale=0, min_width=80, elem_id="tour-known")
    known.click(lambda: (True, gr.update(visible=False)), None, [seen, tour], **QUIET)
    return seen, tour


def arrive(
    store: RunStore, page: Page, seen: gr.BrowserState, shown: list[Any], sliders: Sliders
) -> None:
    """When the page is opened, show the tour, the agents there are, and what a link asks for.

    ``shown`` are the tour, the agent and the inputs of :data:`link.LIMITS`.
    """

    def arrived(request: gr.Request, seen: object) -> list[Any]:
        found = link.follow(store, str(store.first()), request.query_params)
        if found.faults:
            line = NOT_ALL + found.said()
            gr.Warning(escape(line, quote=False), READING)
        return [
            gr.update(visible=not seen),
            gr.update(choices=store.trained(), value=found.run),
            *(found.numbers.get(name, gr.skip()) for name in link.LIMITS),
            *sliders.values(found.family, found.task),
        ]

    page.load(arrived, seen, [*shown, *sliders.inputs], **QUIET)


def chosen(tab: gr.EventData) -> str:
    """Return which tab was opened."""
    return str(field(tab, "value"))


def about(store: RunStore, run: object) -> str:
    """Say in a line what an agent was trained on, how, and with what memory, if it can be read."""
    try:
        config = store.config(run)
        family = get_family(config.env_name)
    except SsmMetaRLError:
        return ""
    both = ", with a memory that lasts a trial" if config.adapts_both_ways else ""
    words = family.description.partition(";")[0]
    learner = LEARNERS[config.mode].help
    if config.adapts != "all":
        learner += f", adapting {ADAPTS[config.adapts].help}"
    return f"{family.name}: {words}. Trained by {learner}{both} ({config.mode}, {config.cell})."
