"""The form of a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.settings import settings_of
from ssm_metarl.ui.errors import handled
from ssm_metarl.ui.limits import training_range
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.train_settings import (
    ADVANCED,
    CELLS,
    clamped,
    counts_iterations,
    defaults,
    duration,
    expected_seconds,
    is_large,
    suggested_name,
    train_settings,
)
from ssm_metarl.ui.widgets import PRIVATE, REFILL, slider

FIRST = "CartPole-v1", "meta_rl"
FOLLOWING: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}


@dataclass(frozen=True)
class Form:
    """The inputs on the left."""

    go: gr.Button
    stop: gr.Button
    family: gr.Dropdown
    learner: gr.Radio
    epochs: gr.Slider
    episodes: gr.Slider
    expected: gr.HTML
    name: gr.Textbox
    numbers: dict[str, gr.Number]
    cell: gr.Dropdown
    seed: gr.Number
    waiting: gr.Dropdown
    resume: gr.Button

    @property
    def settings(self) -> list[Any]:
        """What :func:`train_settings` takes, in order."""
        budget = [self.family, self.learner, self.epochs, self.episodes]
        return [*budget, *self.numbers.values(), self.cell, self.seed]

    @classmethod
    def build(cls) -> "Form":
        """Add the inputs to the page; their texts are those of the settings."""
        helps = {name: one.help for name, one in settings_of(TrainConfig).items()}
        with gr.Row(elem_classes="actions"):
            go = gr.Button("Train", variant="primary", elem_id="train")
            stop = gr.Button("Stop", interactive=False, elem_id="stop")
        family = gr.Dropdown(
            family_choices(),
            value=FIRST[0],
            label="Family of tasks",
            info=get_family(FIRST[0]).description,
            elem_id="family",
        )
        learner = gr.Radio(
            [(f"{spec.name}: {spec.help}", spec.name) for spec in LEARNERS.values()],
            value=FIRST[1],
            label="Learner",
            elem_id="learner",
            elem_classes="stacked",
        )
        epochs = slider(training_range("num_epochs", 40), "Budget: iterations", elem_id="epochs")
        episodes = slider(
            training_range("num_episodes", 200),
            "Budget: episodes",
            visible=False,
            elem_id="train-episodes",
        )
        expected = gr.HTML(elem_classes="note", elem_id="expected", js_on_load=REFILL)
        name = gr.Textbox(
            label="Name of the run", info="a to z, 0 to 9 and -", max_length=64, elem_id="run-name"
        )
        with gr.Accordion("Advanced settings", open=False):
            usual = defaults(*FIRST)
            numbers = {
                key: gr.Number(
                    usual[key], label=key.replace("_", " "), info=helps[key], elem_id=f"train-{key}"
                )
                for key in ADVANCED
            }
            cell = gr.Dropdown(list(CELLS), value=CELLS[0], label="cell", info=helps["cell"])
            seed = gr.Number(0, label="seed", info=helps["seed"], precision=0)
        with gr.Group(elem_classes="continue"):
            waiting = gr.Dropdown(
                [],
                label="Unfinished runs",
                info="stopped before their end",
                allow_custom_value=True,
                elem_id="unfinished",
            )
            resume = gr.Button("Resume", elem_id="resume")
        budget = (family, learner, epochs, episodes)
        return cls(go, stop, *budget, expected, name, numbers, cell, seed, waiting, resume)

    def connect(self, store: RunStore) -> None:
        """Let the inputs follow each other, and show what is there when the page opens."""

        def choose(family: str, learner: str) -> list[Any]:
            usual, iterations = defaults(family, learner), counts_iterations(learner)
            return [
                gr.update(info=get_family(family).description),
                gr.update(visible=iterations),
                gr.update(visible=not iterations),
                free_name(store, family, learner),
                *(gr.update(value=value, visible=value is not None) for value in usual.values()),
            ]

        def left() -> list[Any]:
            found = store.unfinished()
            waiting = gr.update(choices=found, value=found[0] if found else None)
            return [waiting, gr.update(interactive=bool(found))]

        chosen = [self.family, self.epochs, self.episodes, self.name, *self.numbers.values()]
        # Without triggers: when the page opens, and when an input changes.
        gr.on(None, handled(choose), [self.family, self.learner], chosen, **FOLLOWING)
        gr.on(None, handled(expect), self.settings, self.expected, **FOLLOWING)
        gr.on(None, handled(left), None, [self.waiting, self.resume], **FOLLOWING)


def expect(*settings: Any) -> str:
    """Say how long a training takes, and which numbers are brought within their limits."""
    config, numbers = train_settings(*settings), settings[4 : 4 + len(ADVANCED)]
    longer = "; longer with this large network" if is_large(config) else ""
    takes = f"Takes {duration(expected_seconds(config))} on one core{longer}."
    lines: Sequence[str] = (takes, *clamped(numbers))
    return "".join(f'<p class="inside">{escape(line)}</p>' for line in lines)


def family_choices() -> list[tuple[str, str]]:
    """Return the families as people choose them: name and a few words, and the name."""
    return [
        (f"{family.name}: {family.description.partition(';')[0]}", family.name)
        for family in list_families()
    ]


def free_name(store: RunStore, family: str, learner: str) -> str:
    """Return a name that no run has."""
    taken = set(store.ids())
    return suggested_name(family, learner, taken.__contains__)
