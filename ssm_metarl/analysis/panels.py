"""What goes on inside an agent while it plays: numbers at each step of episodes, to be drawn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from ssm_metarl.analysis.linear_probe import CONFIDENT, CONFIDENT_STEPS, LinearProbe
from ssm_metarl.analysis.names import action_names, choice_effect
from ssm_metarl.analysis.traces import Trace, principal_components
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.family import TaskFamily

PROBED_STEPS = 60  # at the start of an episode, where a probe learns what the task is


@dataclass(frozen=True)
class Panel:
    """One number at each step of each episode.

    Attributes:
        note: What it is.
        label: Of the vertical axis.
        values: Of each episode.
        steps: How many of them to draw.
        axis: Ends and reference of the axis, as ``trace_plot`` takes them.
    """

    note: str
    label: str
    values: Sequence[Float[np.ndarray, "_"]]
    steps: int
    axis: Mapping[str, Any] = field(default_factory=dict)


def panels(
    family: TaskFamily, spaces: Spaces, traces: Sequence[Trace], probe: LinearProbe | None
) -> Iterator[Panel]:
    """Yield what a probe reads, the action, and two components and the norm of the state."""
    steps = max(len(trace.action) for trace in traces)
    near = steps if probe is None else min(steps, PROBED_STEPS)
    if probe is not None:
        note = (
            f"Probability that the task {choice_effect(probe.parameter)}, from a linear probe of "
            f"the hidden state that is right at {probe.accuracy:.0%} of the steps of other tasks. "
            f"It knows the task when it is {CONFIDENT:.0%} sure for {CONFIDENT_STEPS} steps."
        )
        read = [probe.probability(trace.state) for trace in traces]
        axis = {"low": 0.0, "high": 1.0, "reference": (0.5, "unknown")}
        yield Panel(note, "probability", read, near, axis)
    yield _action(action_names(family, spaces.actions), spaces, traces, near)
    if traces[0].state.shape[1]:
        components, share = principal_components(traces)
        for number, which in enumerate(("First", "Second")[: len(share)]):
            share_of = f"{share[number]:.0%} of its variance"
            note = f"{which} principal component of the hidden state: {share_of}."
            yield Panel(note, "component", [one[:, number] for one in components], steps)
        norms = [trace.norm for trace in traces]
        yield Panel("Norm of the hidden state.", "norm", norms, steps, {"low": 0.0})


def _action(names: Sequence[str], spaces: Spaces, traces: Sequence[Trace], steps: int) -> Panel:
    if not spaces.discrete:
        return Panel(f"Mean {names[0]}.", "mean", [one.action[:, 0] for one in traces], steps)
    axis = {"low": 0.0, "high": 1.0, "reference": (1.0 / spaces.actions, "undecided")}
    if spaces.actions == 2:
        note, values = f"Probability of {names[1]}.", [one.action[:, 1] for one in traces]
    else:
        note, values = "Probability of the likeliest action.", [one.action.max(1) for one in traces]
    return Panel(note, "probability", values, steps, axis)
