"""The form of a training."""

from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from ssm_metarl.env_runner.registry import get_family, is_registered
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import LEARNERS, used_by
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.pace import duration, expected_seconds, is_large
from ssm_metarl.training.settings import settings_of
from ssm_metarl.training.summary import RunSummary
from ssm_metarl.ui.limits import ITERATIONS, TRAINING_EPISODES
from ssm_metarl.ui.store import RunStore, page_families
from ssm_metarl.ui.train_settings import (
    ADVANCED,
    CHOICES,
    defaults,
    train_settings,
)
from ssm_metarl.ui.widgets import FOLLOWING, slider

FAMILY, LEARNER = "CartPole-v1", "meta_rl"  # what is chosen at first


class Form:
    """The inputs on the left."""

    def __init__(self) -> None:
        with gr.Row():
            self.go = gr.Button("Train", variant="primary", elem_id="train")
            self.stop = gr.Button("Stop", interactive=False, elem_id="stop")
        families = page_families()
        own = [one.name for one in families if is_registered(one.name)]
        first = own[-1] if own else FAMILY
        self.family = gr.Dropdown(
            [(f"{one.name}: {one.description.partition(';')[0]}", one.name) for one in families],
            value=first,
            label="Family of tasks",
            info=get_family(first).description,
            elem_id="family",
        )
        self.learner = gr.Radio(
            [(f"{spec.name}: {spec.help}", spec.name) for spec in LEARNERS.values()],
            value=LEARNER,
            label="Learner",
            elem_id="learner",
            elem_classes="stacked",
        )
        self.epochs = slider(ITERATIONS, "Budget: iterations", elem_id="epochs")
        self.episodes = slider(TRAINING_EPISODES, "Budget: episodes", visible=False)
        self.expected = gr.HTML(elem_classes="note", elem_id="expected")
        self.name = gr.Textbox(
            label="Name of the run", info="a to z, 0 to 9 and -", max_length=64, elem_id="run-name"
        )
        with gr.Accordion("Advanced settings", open=False):
            usual, names = defaults(first, LEARNER), (*ADVANCED, *CHOICES)
            self.advanced = [setting_input(name, usual.get(name)) for name in names]
        self.waiting, self.resume = unfinished_runs()
        # What train_settings takes, in order.
        self.settings = [self.family, self.learner, self.epochs, self.episodes, *self.advanced]

    def connect(self, store: RunStore) -> None:
        """Let the inputs follow each other, and show what is there when the page opens."""

        def choose(family: str, learner: str) -> list[Any]:
            usual, iterations = defaults(family, learner), LEARNERS[learner].counts_iterations
            return [
                gr.update(info=get_family(family).description),
                gr.update(visible=iterations),
                gr.update(visible=not iterations),
                store.free_name(f"{family}-{learner}", "-1"),
                *(gr.update(value=value, visible=value is not None) for value in usual.values()),
                *(gr.update(visible=learner in used_by(name)) for name in CHOICES),
            ]

        def left() -> list[Any]:
            found = store.unfinished()
            return [choices_of(found), gr.update(interactive=bool(found))]

        chosen = [self.family, self.epochs, self.episodes, self.name, *self.advanced]
        # Without triggers: when the page opens, and when an input changes.
        gr.on(None, choose, [self.family, self.learner], chosen, **FOLLOWING)
        gr.on(None, expect, self.settings, self.expected, **FOLLOWING)
        gr.on(None, left, None, [self.waiting, self.resume], **FOLLOWING)


def unfinished_runs() -> tuple[gr.Dropdown, gr.Button]:
    """Add a menu of runs that can be continued, and the button that does it."""
    with gr.Group():
        runs = gr.Dropdown(
            [],
            label="Unfinished runs",
            info="stopped before their end, or their page was closed",
            allow_custom_value=True,
            elem_id="unfinished",
        )
        return runs, gr.Button("Resume", elem_id="resume")


def choices_of(unfinished: list[RunSummary]) -> Any:
    """Offer runs that can be continued, and say how far they came."""
    names = [one.name for one in unfinished]
    labels = [f"{one.name}: {one.done} of {one.iterations or '…'} iterations" for one in unfinished]
    return gr.update(choices=[*zip(labels, names, strict=True)], value=next(iter(names), None))


def setting_input(name: str, value: float | None) -> Component:
    """Return the input of an advanced setting, as the setting describes it."""
    one = settings_of(TrainConfig)[name]
    how: dict[str, Any] = {"label": name.replace("_", " "), "info": one.help}
    if one.choices:
        return gr.Dropdown(list(one.choices), value=one.default, **how)
    first = one.default if value is None else value
    return gr.Number(first, elem_id=f"train-{name}", **how)


def expect(*settings: Any) -> str:
    """Say how long a training takes, or what is not valid."""
    try:
        config = train_settings(*settings)
    except UserError as error:
        return f'<span class="outside">{escape(str(error))}</span>'
    seconds, takes = expected_seconds(config), "How long it takes shows once it has begun."
    if seconds is not None:
        longer = "; longer with this large network" if is_large(config) else ""
        takes = f"Takes {duration(seconds)} on one core{longer}."
    return f'<span class="inside">{takes}</span>'
