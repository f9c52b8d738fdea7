"""Memory: what an agent remembers, and what of it hybrid adaptation recalls for a new task."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from ssm_metarl.analysis.retrieval import as_numbers, retrieve, stored_tasks
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.ui.adapt_shown import message
from ssm_metarl.ui.api import Json, endpoint
from ssm_metarl.ui.jobs import HEAVY
from ssm_metarl.ui.lazy_tab import fill, query_of, was_asked
from ssm_metarl.ui.limits import EPISODES, SEED, integer
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.recall_shown import in_words, matches_table, overlay, store_shown
from ssm_metarl.ui.store import RunStore

WAITING = (
    '<p class="working">Hybrid adaptation looks through the tasks of training for some that '
    "resemble the new one. This tab shows what it finds.</p>"
)
NOTHING = (
    '<p class="outcome">This agent remembers no earlier tasks.</p><p class="others">It came '
    "without experience, so hybrid adaptation has nothing to recall and is not offered for it: it "
    "learns from the new task alone. To get an agent that remembers, train one under Train by "
    "gradient-based meta-learning, which keeps its newest episodes "
    "(<code>ssm-metarl train --mode meta_rl --experience 40000</code>), or choose another agent "
    "above.</p>"
)
ONE, ALL = "the first episode", "all episodes"


def build(store: RunStore, run: gr.Dropdown, query: gr.State, place: gr.State) -> None:
    """Add the tab to the page.

    Args:
        store: Where agents are.
        run: Which agent; it stands above the tabs.
        query: The visitor's last query.
        place: The tab that is open.
    """
    with gr.Column(elem_id="memory-screen"):
        sentence = gr.HTML(WAITING, elem_id="memory-sentence", elem_classes="sentence")
        own = gr.Radio(
            [ONE, ALL],
            value=ONE,
            label="Recognise the new task by",
            elem_id="memory-own",
        )
        recalled = gr.HTML(elem_id="memory-recalled")
        why = gr.HTML(elem_id="memory-why")
        stored = gr.HTML(elem_id="memory-store")

    def show(run_id: str, last: dict, by: str) -> Iterator[tuple[Any, ...]]:
        asked = query_of(store, run_id, last)
        sentence, *rest = shown(store, asked, by, mine=was_asked(run_id, last))
        yield sentence, *rest, gr.update(visible=any(rest) and asked.episodes > 1)

    def memory(
        run: Json,
        task: Json = None,
        episodes: Json = 1,
        seed: Json = SEED.default,
    ) -> Json:
        """Return which earlier tasks hybrid adaptation recalls for a task, with their weights."""
        asked = Query.asked(run, task or {}, [], episodes, 1, seed)
        subject = Subject.of(store, asked)
        found = retrieve(
            subject.agent,
            subject.family,
            subject.task,
            episodes=integer(EPISODES, "episodes", episodes),
            seed=asked.seed,
        )
        return as_numbers(found, stored_tasks(subject.agent))

    fill("Memory", place, [run, query, own], show, [sentence, recalled, why, stored, own])
    endpoint(memory, concurrency_id=HEAVY, concurrency_limit=1)


def shown(store: RunStore, query: Query, own: str, *, mine: bool) -> tuple[str, str, str, str]:
    """Return what the tab shows: the sentence, the recalled tasks, why these, and the store.

    Args:
        store: Where agents are.
        query: The agent and the task.
        own: By what the task is recognised, :data:`ONE` or anything for :data:`ALL`.
        mine: Whether the visitor asked it.
    """
    subject = Subject.of(store, query)
    tasks = stored_tasks(subject.agent)
    found = retrieve(
        subject.agent,
        subject.family,
        subject.task,
        episodes=1 if own == ONE else query.episodes,
        seed=query.seed,
    )
    if found is None:
        return NOTHING, "", "", ""
    told_task = task_line(subject.family, query, mine=mine)
    return (
        in_words(found, subject) + told_task,
        matches_table(found, subject),
        overlay(found, subject.family),
        store_shown(tasks, subject.family),
    )


def task_line(family: TaskFamily, query: Query, *, mine: bool) -> str:
    """Say which task is looked at."""
    values = family.task(**query.task).describe(0)
    whose = "The task you last met under Adapt" if mine else "An example; meet your own under Adapt"
    return message(f"{whose}: {values}.", "others")
