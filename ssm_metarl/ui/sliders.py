"""Sliders and switches for the parameters of a family, made from the family itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component

from ssm_metarl.analysis.names import choice_effect
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.ui.errors import handled
from ssm_metarl.ui.widgets import QUIET

ROOM = 0.25  # of the training range, on both sides, where a family has no shifted tasks


@dataclass(frozen=True)
class Sliders:
    """The inputs of all families, of which one group is seen.

    Attributes:
        groups: Family -> its group.
        inputs: Family -> parameter -> its input.
        notes: Family -> where to say that a task lies outside the training ranges.
    """

    groups: Mapping[str, gr.Column]
    inputs: Mapping[str, Mapping[str, Component]]
    notes: Mapping[str, gr.HTML]

    @classmethod
    def build(cls, shown: str) -> "Sliders":
        """Add them to the page; those of one family are visible."""
        groups, inputs, notes = {}, {}, {}
        for family in list_families():
            with gr.Column(visible=family.name == shown, elem_classes="sliders") as group:
                inputs[family.name] = {p.name: _input(family, p) for p in family.parameters}
                notes[family.name] = gr.HTML(outside(family, {}), elem_classes="note")
            groups[family.name] = group
        sliders = cls(groups, inputs, notes)
        for family in list_families():
            sliders._watch(family)
        return sliders

    @property
    def flat(self) -> list[Component]:
        """All inputs, in one order."""
        return [one for group in self.inputs.values() for one in group.values()]

    def show(self, family: str) -> list[Any]:
        """Return updates of all groups that show one family's."""
        return [gr.update(visible=name == family) for name in self.groups]

    def task(self, family: str, values: Sequence[Any]) -> dict[str, float]:
        """Return one family's parameters, from the values of all inputs."""
        names = [(group, name) for group, each in self.inputs.items() for name in each]
        parameters = {p.name: p for p in get_family(family).parameters}
        return {
            name: number(parameters[name], value)
            for (group, name), value in zip(names, values, strict=True)
            if group == family
        }

    def values(self, family: str, task: Mapping[str, float]) -> list[Any]:
        """Return values of all inputs that show one task.

        Not updates: Gradio keeps a component for each update of an input.
        """
        parameters = {p.name: p for p in get_family(family).parameters}
        return [
            setting(parameters[name], task[name]) if group == family else gr.skip()
            for group, each in self.inputs.items()
            for name in each
        ]

    def _watch(self, family: TaskFamily) -> None:
        """Say at once when a task leaves the training ranges."""
        names = list(self.inputs[family.name])

        def noted(*values: Any) -> str:
            return outside(family, dict(zip(names, values, strict=True)))

        inputs: list[Any] = list(self.inputs[family.name].values())
        changes = [one.change for one in inputs]
        gr.on(changes, handled(noted), inputs, self.notes[family.name], **QUIET)


def _input(family: TaskFamily, parameter: Parameter) -> Component:
    words = parameter.name.replace("_", " ")
    if parameter.choices:
        return gr.Checkbox(label=words, info=choice_effect(parameter), elem_classes="switch")
    low, high = reach(parameter)
    unit = f" {parameter.unit}" if parameter.unit else ""
    return gr.Slider(
        low,
        high,
        value=parameter.default,
        step=_step(low, high),
        label=words,
        info=f"trained on {parameter.range_text}{unit}",
        elem_id=element_id(family, parameter),
        elem_classes="ranged",
    )


def element_id(family: TaskFamily, parameter: Parameter) -> str:
    """Return the id of an input in the page."""
    return f"task-{family.name}-{parameter.name}".lower().replace("_", "-")


def reach(parameter: Parameter) -> tuple[float, float]:
    """Return how far a slider goes: beyond the training range, within what makes sense."""
    ends = [parameter.low, parameter.high, parameter.default]
    ends += [end for interval in parameter.shifted or () for end in interval]
    room = ROOM * (parameter.high - parameter.low)
    low = min(*ends, parameter.low - room)
    high = max(*ends, parameter.high + room)
    return max(low, parameter.bounds[0]), min(high, parameter.bounds[1])


def _step(low: float, high: float) -> float:
    return 10.0 ** np.floor(np.log10((high - low) / 100))


def number(parameter: Parameter, value: Any) -> Any:
    """Return what an input says; a switch that is on stands for the choice that is not usual."""
    if not parameter.choices:
        return value
    unusual = next(choice for choice in parameter.choices if choice != parameter.default)
    return unusual if value else parameter.default


def setting(parameter: Parameter, value: float) -> float | bool:
    """Return what an input shows for a value."""
    return value != parameter.default if parameter.choices else float(f"{value:.3g}")


def outside(family: TaskFamily, task: Mapping[str, Any]) -> str:
    """Say which parameters lie outside the training ranges."""
    beyond = [
        p.name.replace("_", " ")
        for p in family.parameters
        if not p.choices and p.name in task and not p.low <= task[p.name] <= p.high
    ]
    if not family.parameters:
        return "This family has one task only."
    if not beyond:
        return "<span class='inside'>Within the training ranges</span>"
    return f"<span class='outside'>Outside the training ranges: {', '.join(beyond)}</span>"


def range_marks() -> str:
    """Return the style sheet that marks each training range under its slider."""
    rules = []
    for family in list_families():
        for p in family.parameters:
            if p.choices:
                continue
            low, high = reach(p)
            start, end = ((edge - low) / (high - low) for edge in (p.low, p.high))
            ends = f"--trained-from: {start:.3f}; --trained-to: {end:.3f}"
            rules.append(f"#{element_id(family, p)} {{ {ends} }}")
    return "\n".join(rules)
