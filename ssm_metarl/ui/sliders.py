"""Sliders and switches for the parameters of a family, made from the family itself."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component

from ssm_metarl.analysis.names import choice_effect, is_switch
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.errors import UserError
from ssm_metarl.ui.store import page_families
from ssm_metarl.ui.widgets import QUIET

ROOM = 0.25  # of the training range, on both sides, where a family has no shifted tasks


class Sliders:
    """The inputs of all families, of which those of one are seen.

    Attributes:
        groups: Family -> its group.
        parameters: Family and parameter of each input.
        inputs: The inputs, in that order.
    """

    def __init__(self, shown: str) -> None:
        self.groups: dict[str, gr.Column] = {}
        self.parameters: list[tuple[str, Parameter]] = []
        self.inputs: list[Any] = []
        for family in page_families():
            with gr.Column(visible=family.name == shown, elem_classes="sliders") as group:
                own: list[Any] = [_input(family, parameter) for parameter in family.parameters]
                note = gr.HTML(outside(family), elem_classes="note")
            changes = [one.change for one in own]
            gr.on(changes, partial(outside, family), own, note, **QUIET)
            self.groups[family.name] = group
            self.parameters += [(family.name, parameter) for parameter in family.parameters]
            self.inputs += own

    def show(self, family: str) -> list[Any]:
        """Return updates of all groups that show one family's."""
        return [gr.update(visible=name == family) for name in self.groups]

    def task(self, family: str, values: Sequence[Any]) -> dict[str, float]:
        """Return one family's parameters, from the values of all inputs."""
        pairs = zip(self.parameters, values, strict=True)
        return {p.name: _number(p, value) for (of, p), value in pairs if of == family}

    def values(self, family: str, task: Mapping[str, float]) -> list[Any]:
        """Return values of all inputs that show one task; those of other parameters stay.

        Not updates: Gradio keeps a component for each update of an input.
        """
        return [
            _setting(p, task[p.name]) if of == family and p.name in task else gr.skip()
            for of, p in self.parameters
        ]


def _input(family: TaskFamily, parameter: Parameter) -> Component:
    words = parameter.name.replace("_", " ")
    unit = f" {parameter.unit}".rstrip()
    if is_switch(parameter):
        return gr.Checkbox(
            label=words,
            info=choice_effect(parameter),
        )
    if parameter.choices:
        choices = [(f"{choice:g}{unit}", choice) for choice in parameter.choices]
        return gr.Radio(choices, value=parameter.default, label=words, info=parameter.description)
    if not parameter.varies:
        trained = f"always {parameter.default:g}{unit} in training"
        own = bool(parameter.shifted)  # else every task has it
        return gr.Number(parameter.default, label=words, info=trained, interactive=own)
    span, comma, how = parameter.range_text.partition(",")
    if parameter.distribution == "integer":
        info = f"{parameter.description}; trained on {span}"
        return gr.Number(parameter.default, label=words, info=info, precision=0)
    low, high = reach(parameter)
    return gr.Slider(
        low,
        high,
        value=parameter.default,
        step=10.0 ** np.floor(np.log10((high - low) / 100)),
        label=words,
        info=f"trained on {span}{unit}{comma}{how}",
        elem_id=element_id(family, parameter),
        elem_classes="ranged",
    )


def element_id(family: TaskFamily, parameter: Parameter) -> str:
    """Return the id of an input in the page."""
    return re.sub(r"[\W_]", "-", f"task-{family.name}-{parameter.name}".lower())


def reach(parameter: Parameter) -> tuple[float, float]:
    """Return how far a slider goes: beyond the training range, within what makes sense."""
    room = ROOM * (parameter.high - parameter.low)
    ends = [float(f"{end:.6g}") for end in (parameter.low - room, parameter.high + room)]
    ends.append(parameter.default)
    ends += [end for interval in parameter.shifted or () for end in interval]
    return max(min(ends), parameter.bounds[0]), min(max(ends), parameter.bounds[1])


def _number(parameter: Parameter, value: Any) -> Any:
    """Return what an input says; a switch that is on stands for the choice that is not usual."""
    if not is_switch(parameter):
        return value
    unusual = next(choice for choice in parameter.choices if choice != parameter.default)
    return unusual if value else parameter.default


def _setting(parameter: Parameter, value: float) -> float | bool:
    """Return what an input shows for a value."""
    return value != parameter.default if is_switch(parameter) else value


def settable(parameter: Parameter, value: object) -> float:
    """Return a value that the input of a parameter can show.

    Raises:
        UserError: It cannot.
    """
    number = parameter.check(value)
    if parameter.choices:
        return number
    low, high = reach(parameter) if parameter.varies else (parameter.default,) * 2
    if not low <= number <= high and (parameter.varies or not parameter.shifted):
        raise UserError(f"{parameter.name} goes from {low:g} to {high:g} here, not to {number:g}")
    return number


def rounded(parameter: Parameter, value: float) -> float:
    """Return a value as a visitor would choose it: of a range, with three digits."""
    if parameter.choices or not parameter.varies or parameter.distribution == "integer":
        return value
    low, high = parameter.bounds
    return min(max(float(f"{value:.3g}"), low), high)


def outside(family: TaskFamily, *values: Any) -> str:
    """Say which parameters lie outside the training ranges; all lie within if no value is given."""
    if not family.parameters:
        return "This family has one task only."
    beyond = [
        p.name.replace("_", " ")
        for p, value in zip(family.parameters, values, strict=False)
        if not (p.choices or p.low <= value <= p.high or value == p.default)
    ]
    if not beyond:
        return "<span class='inside'>Within the training ranges</span>"
    return f"<span class='outside'>Outside the training ranges: {', '.join(beyond)}</span>"


def range_marks() -> str:
    """Return the style sheet that marks each training range under its slider."""
    rules = []
    for family in page_families():
        for p in (p for p in family.parameters if p.varies and not p.choices):
            low, high = reach(p)
            start, end = ((edge - low) / (high - low) for edge in (p.low, p.high))
            ends = f"--trained-from: {start:.3f}; --trained-to: {end:.3f}"
            rules.append(f"#{element_id(family, p)} {{ {ends} }}")
    return "\n".join(rules)
