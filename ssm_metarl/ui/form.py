"""What a visitor sets before a training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ssm_metarl.checkpoint.names import as_name
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.ui.errors import handled
from ssm_metarl.ui.limits import EPOCHS, TRAIN_EPISODES
from ssm_metarl.ui.monitor import paragraph
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.train_settings import (
    CELLS,
    LEARNERS,
    LIMITS,
    defaults,
    duration,
    expected_seconds,
    is_large,
    suggested_name,
    train_settings,
)
from ssm_metarl.ui.widgets import REFILL, slider
from ssm_metarl.ui.words import family_choices

FIRST = "CartPole-v1", "meta_rl"
NUMBERS = {
    "inner_lr": "Inner learning rate",
    "outer_lr": "Outer learning rate",
    "tasks_per_epoch": "Tasks per iteration",
    "width": "Width of the network (features)",
    "state_size": "State size (of each block)",
}
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


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
        """What a training is asked for with, in order."""
        budget = [self.family, self.learner, self.epochs, self.episodes]
        return [*budget, *self.numbers.values(), self.cell, self.seed]

    @classmethod
    def build(cls) -> "Form":
        """Add the inputs to the page."""
        with gr.Row(elem_classes="actions"):
            go = gr.Button("Train", variant="primary", elem_id="train")
            stop = gr.Button("Stop", interactive=False, elem_id="stop")
        family, learner = _course()
        epochs, episodes = _budget()
        expected = gr.HTML(elem_classes="note", elem_id="expected", js_on_load=REFILL)
        name = gr.Textbox(
            label="Name of the run",
            info="a to z, 0 to 9 and -",
            max_length=64,
            elem_id="run-name",
        )
        numbers, cell, seed = _advanced()
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

        def expect(*settings: Any) -> str:
            config = train_settings(*settings)
            words = duration(expected_seconds(config))
            more = (
                "; a network larger than usual, as here, takes longer" if is_large(config) else ""
            )
            takes = f"Takes {words} on one core of a common processor{more}."
            return "".join(paragraph(line, "inside") for line in (takes, *taken(settings[4:9])))

        def choose(family: str, learner: str) -> list[Any]:
            usual, alone = defaults(family, learner), learner == "policy_gradient"
            return [
                gr.update(info=get_family(family).description),
                gr.update(visible=not alone),
                gr.update(visible=alone),
                free_name(store, family, learner),
                *(usual[key] for key in self.numbers),
            ]

        def left() -> list[Any]:
            found = store.unfinished()
            waiting = gr.update(choices=found, value=found[0] if found else None)
            return [waiting, gr.update(interactive=bool(found))]

        chosen = [self.family, self.epochs, self.episodes, self.name, *self.numbers.values()]
        # Without triggers: when the page opens, and when an input changes.
        gr.on(None, handled(choose), [self.family, self.learner], chosen, **QUIET)
        gr.on(None, handled(expect), self.settings, self.expected, **QUIET)
        gr.on(None, handled(left), None, [self.waiting, self.resume], **QUIET)


def _course() -> tuple[gr.Dropdown, gr.Radio]:
    """Lay out what to train on, and how."""
    family = gr.Dropdown(
        family_choices(),
        value=FIRST[0],
        label="Family of tasks",
        info=get_family(FIRST[0]).description,
        elem_id="family",
    )
    learner = gr.Radio(
        [(f"{name}: {words}", name) for name, words in LEARNERS.items()],
        value=FIRST[1],
        label="Learner",
        elem_id="learner",
        elem_classes="stacked",
    )
    return family, learner


def _budget() -> tuple[gr.Slider, gr.Slider]:
    """Lay out how much to train; only one of them is shown, as the learner counts."""
    epochs = slider(EPOCHS, "Budget: iterations", elem_id="epochs")
    episodes = gr.Slider(
        int(TRAIN_EPISODES.low),
        int(TRAIN_EPISODES.high),
        value=int(TRAIN_EPISODES.default),
        step=10,
        label="Budget: episodes",
        visible=False,
        elem_id="train-episodes",
    )
    return epochs, episodes


def _advanced() -> tuple[dict[str, gr.Number], gr.Dropdown, gr.Number]:
    """Lay out, folded away, what suits the family and the learner."""
    usual = defaults(*FIRST)
    with gr.Accordion("Advanced settings", open=False):
        gr.HTML("<p>These suit the family and the learner.</p>")
        numbers = {
            key: gr.Number(usual[key], label=label, elem_id=f"train-{key}")
            for key, label in NUMBERS.items()
        }
        cell = gr.Dropdown(list(CELLS), value=CELLS[0], label="Cell: the kind of memory")
        seed = gr.Number(0, label="Seed", precision=0)
    return numbers, cell, seed


def taken(numbers: Sequence[int | float | None]) -> Iterator[str]:
    """Say which of the advanced numbers are brought within their limits, a line for each."""
    for (name, label), asked in zip(NUMBERS.items(), numbers, strict=True):
        limits = LIMITS[name]
        if asked is not None and (nearest := limits.clamp(name, asked)) != asked:
            kind = "whole numbers " if limits.whole else ""
            most = f"from {limits.low:g} to {limits.high:g}"
            yield f"{label}: {nearest:g} is taken; the page takes {kind}{most}."


def is_suggested(name: str, family: str, learner: str) -> bool:
    """Whether a name may be one that the page came up with."""
    number = name.rpartition("-")[2]
    return number.isdigit() and name == as_name(f"{family}-{learner}", f"-{number}")


def free_name(store: RunStore, family: str, learner: str) -> str:
    """Return a name that no run has."""
    taken = set(store.ids())
    return suggested_name(family, learner, taken.__contains__)
