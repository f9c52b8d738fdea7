"""An agent's inside, as the page shows it: traces of an episode, and the state space."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.analysis.linear_probe import (
    CONFIDENT,
    CONFIDENT_STEPS,
    LinearProbe,
    first_confident_step,
)
from ssm_metarl.analysis.names import action_names, choice_effect
from ssm_metarl.analysis.spectrum import (
    EPISODES,
    PARTS,
    PARTS_OF_CELLS,
    Eigenvalue,
    eigenvalues,
    parameter_changes,
)
from ssm_metarl.analysis.traces import Trace, principal_components
from ssm_metarl.evaluation.report import MODES
from ssm_metarl.ui.adapt_shown import message
from ssm_metarl.ui.charts import Axis, Line, Rule, chart
from ssm_metarl.ui.eigenvalue_plot import described, discs
from ssm_metarl.ui.player import Clip
from ssm_metarl.ui.query import Subject
from ssm_metarl.ui.tables import note, numbered, table

CELLS = {
    "gru": "This agent's memory is a GRU: what it forgets depends on what it sees, so there are no "
    "eigenvalues to show. Its hidden state is traced above.",
    "mlp": "This agent has no memory at all: what it does follows from the last observation alone. "
    "So there is no hidden state to trace, and there are no eigenvalues.",
}
HALF_OPEN = (
    "This agent's memory is gated: how fast it forgets depends on what it sees. Shown is how fast "
    "it does with its gates half open."
)
DIRECTIONS = (
    "Its hidden state, along the direction in which it moves most.",
    "Its hidden state, along the next direction.",
)
MOMENT_STEPS = 60  # at the start of an episode, in which it is understood
SIZE = "How much is in its memory: the length of the hidden state."


def traces_shown(
    subject: Subject,
    mode: str,
    clips: Sequence[Clip],
    seen: Sequence[Trace],
    reader: LinearProbe | None,
) -> tuple[str, str]:
    """Draw what goes on during the episodes of two clips, under which it stands.

    Args:
        subject: The agent and the task.
        mode: How the agent adapted.
        clips: One before, one after.
        seen: Their traces.
        reader: Of what the hidden state knows of the task, where that is how the agent adapts.

    Returns:
        What one sees in words, and the charts.
    """
    styles = [(clip.name, clip.style) for clip in clips]
    steps = Axis("Step of the episode", 0.0, float(max(clip.steps for clip in clips)))
    actions = [_action(subject, trace) for trace in seen]
    label, low, high, rule = _action_axis(subject)
    text = f"{label}, at each step."
    axis = Axis("Chance" if high else "Mean", low, high)
    near = steps if reader is None else Axis(steps.label, 0.0, float(MOMENT_STEPS))
    drawn = [_trace(styles, actions, near, axis, text, [rule])]
    if seen[0].state.shape[1]:
        parts, share = principal_components(seen)
        for number, which in enumerate(("First", "Second")[: len(share)]):
            axis = Axis(f"{which} component")
            values = [part[:, number] for part in parts]
            text = f"{DIRECTIONS[number]} It carries {share[number]:.0%} of what moves."
            drawn.append(_trace(styles, values, steps, axis, text))
        sizes = [trace.norm for trace in seen]
        drawn.append(_trace(styles, sizes, steps, Axis("Size of the state", 0.0), SIZE))
    words = _in_words(subject, mode, seen, clips)
    if reader is not None:
        told_knowledge, chart_of_it = knowledge_shown(subject, reader, styles, seen)
        words, drawn = told_knowledge + words, [chart_of_it, *drawn]
    rate = 1.0 / clips[0].seconds_per_step
    charts = f'<div class="pair fine" data-rate="{rate:g}">{"".join(drawn)}</div>'
    head = "<h3>What goes on inside</h3>" + note("The upright line moves with the clips.")
    return words, head + charts


def _action(subject: Subject, trace: Trace) -> np.ndarray:
    """Return the one number to draw of the actions at each step."""
    spaces = subject.agent.policy.spaces
    if not spaces.discrete:
        return trace.action[:, 0]
    return trace.action[:, 1] if spaces.actions == 2 else trace.action.max(1)


def _action_axis(subject: Subject) -> tuple[str, float | None, float | None, Rule]:
    spaces = subject.agent.policy.spaces
    names = action_names(subject.family, spaces.actions)
    if not spaces.discrete:
        return f"Mean {names[0]}", None, None, Rule(0.0, "nothing")
    even = Rule(1.0 / spaces.actions, "undecided")
    if spaces.actions == 2:
        return f"Chance of {names[1]}", 0.0, 1.0, even
    return "Chance of the likeliest action", 0.0, 1.0, even


def _trace(
    styles: Sequence[tuple[str, str]],
    values: Sequence[np.ndarray],
    steps: Axis,
    axis: Axis,
    text: str,
    rules: Sequence[Rule] = (),
) -> str:
    assert steps.high is not None
    shown = int(steps.high) + 1
    lines = [
        Line(name, style, numbered(one[:shown].tolist()), dots=False)
        for (name, style), one in zip(styles, values, strict=True)
    ]
    lines.reverse()  # the shorter one, of before, lies on top
    alt = f"{axis.label} against steps. " + "; ".join(
        f"{line.name}: from {min(value for _, value in line.points):.3g} to "
        f"{max(value for _, value in line.points):.3g}"
        for line in lines
    )
    drawn = chart(lines, steps, axis, alt, rules, short=True, cursor=True)
    return f"<div>{note(text)}{drawn}</div>"


def knowledge_shown(
    subject: Subject, reader: LinearProbe, styles: Sequence[tuple[str, str]], seen: Sequence[Trace]
) -> tuple[str, str]:
    """Show when the hidden state has understood the task, in words and as a chart."""
    name = reader.parameter.name
    surprise = bool(subject.task.values[name][0] != reader.parameter.default)
    beliefs = [reader.probability(trace.state) for trace in seen]
    moments = [first_confident_step(belief, label=surprise) for belief in beliefs]
    fact = f"this task {'' if surprise else 'never '}{choice_effect(reader.parameter)}"
    first, later = moments
    if first is None:
        words = f"In its first episode, the agent's memory never makes sure whether {fact}."
    elif first == 0:
        words = f"From the very first step, the agent's memory tells that {fact}."
    else:
        words = (
            f"At step {first} of its first episode the agent has understood: from then on, its "
            f"memory tells that {fact}."
        )
    if later is not None:
        words += (
            " In the later episode it remembers that from the start."
            if later == 0
            else f" In the later episode, it does from step {later} on."
        )
    text = (
        f"What its memory tells: how likely it is that this task "
        f"{choice_effect(reader.parameter)}, judged by a "
        "linear reader of the hidden state. On tasks that it was not trained on, it is right at "
        f"{reader.accuracy:.0%} of the steps. Understood: it is {CONFIDENT:.0%} sure, "
        f"for {CONFIDENT_STEPS} steps."
    )
    reach = float(max(MOMENT_STEPS, 3 * (first or 0)))
    axis = Axis("Step of the episode", 0.0, reach)
    rule = Rule(0.5, "cannot tell")
    drawn = _trace(styles, beliefs, axis, Axis("Chance", 0.0, 1.0), text, [rule])
    return message(words, "outcome"), drawn


def _in_words(subject: Subject, mode: str, seen: Sequence[Trace], clips: Sequence[Clip]) -> str:
    """Say how sure the agent is of what it does, before and after."""
    before, after = (clip.name.removeprefix("after: ") for clip in clips)
    ends = f"{before.capitalize()}: {clips[0].ending}. {after.capitalize()}: {clips[1].ending}."
    if not subject.agent.policy.spaces.discrete:
        return message(ends, "outcome")
    sure = [float(trace.action.max(1).mean()) for trace in seen]
    if mode == "in_context":
        return message(ends, "others")
    lead = (
        f"Before adapting, the agent gives its likeliest action a chance of {sure[0]:.0%} on "
        f"average; after ({MODES[mode]}), {sure[1]:.0%}."
    )
    return message(ends, "outcome") + message(lead, "others")


def spectrum_shown(
    before: Agent, after: Agent, mode: str, effect: Mapping[str, float] | None = None
) -> str:
    """Show how long the memory lasts, before and after, and where the network changed.

    Args:
        before: The agent as it was trained.
        after: Once it has adapted.
        mode: How.
        effect: What each change does alone, from :func:`ablated_returns`.
    """
    cell = before.policy.config.cell
    changed = _changes_shown(before, after, mode, effect or {})
    head = "<h3>How long it remembers</h3>"
    if cell in CELLS:
        return head + note(CELLS[cell]) + changed
    old, new = eigenvalues(before), eigenvalues(after)
    text = (
        "Every point is one cell of the memory. The nearer to the rim, the longer it remembers: "
        "the rings are named by time constants, the steps after which 37% is left. The further "
        "round, the faster it swings. Rings: before adapting; dots: after."
    )
    if cell == "gated":
        text = f"{HALF_OPEN} {text}"
    return (
        f'{head}{note(text)}<div class="pair top">{discs(old, new)}</div>'
        f"{_moved(old, new)}{_eigenvalue_table(old, new)}{changed}"
    )


def _moved(old: Sequence[Eigenvalue], new: Sequence[Eigenvalue]) -> str:
    """Say how far adapting moved the time constants."""
    most = max(abs(b.time_constant / a.time_constant - 1.0) for a, b in zip(old, new, strict=True))
    fastest = min(one.time_constant for one in new)
    slowest = max(one.time_constant for one in new)
    spans = f"This memory has time constants from {fastest:.2g} to {slowest:.3g} steps."
    if not most:
        return note(f"{spans} Adapting left them as they were.")
    return note(f"{spans} Adapting changed none by more than {most:.1%}.")


def _eigenvalue_table(old: Sequence[Eigenvalue], new: Sequence[Eigenvalue]) -> str:
    pairs = sorted(zip(old, new, strict=True), key=lambda pair: pair[1].time_constant)
    heads = ["Eigenvalue", "Time constant before (steps)", "after (steps)", "Period (steps)"]
    rows = [
        f'<tr title="{escape(described(b))}"><th scope="row">block {a.block + 1}, '
        f"{a.number + 1}</th><td>{a.time_constant:.4g}</td><td>{b.time_constant:.4g}</td>"
        f"<td>{_period(b)}</td></tr>"
        for a, b in pairs
    ]
    return (
        f"<details><summary>All {len(rows)}, the quickest to forget first</summary>"
        f"{table(heads, rows, 'Eigenvalues')}</details>"
    )


def _period(one: Eigenvalue) -> str:
    return f"{one.period:.4g}" if math.isfinite(one.period) else "never turns"


def _changes_shown(before: Agent, after: Agent, mode: str, effect: Mapping[str, float]) -> str:
    """Show which parts of the network adaptation changed, and what each change does alone."""
    found = parameter_changes(before, after)
    head = "<h3>What adapting changed</h3>"
    if not found:
        text = (
            "In context, nothing in the network changes: all that the agent learns of a task is in "
            "its hidden state, which lasts from one episode to the next."
        )
        return head + note(text)
    names = PARTS | PARTS_OF_CELLS.get(before.policy.config.cell, {})
    found.sort(key=lambda change: -change.share)
    text = "How large a change is does not say what it does: that is measured in the last column."
    if effect:
        best = max(found, key=lambda change: effect[change.part])
        text = (
            f"The return before was {effect['before']:.4g}, after {effect['after']:.4g}. With one "
            f"change alone it is highest, {effect[best.part]:.4g}, for {names[best.part]} (mean of "
            f"{EPISODES} episodes of this task). {text}"
        )
    rows = [
        f'<tr class="mark-{mode}"><th scope="row">{names[change.part]}</th><td class="share">'
        f'<span class="bar"><span style="width: {100 * change.share:.1f}%"></span></span>'
        f"<b>{change.share:.1%}</b></td><td>{_relative(change.relative)}</td>"
        f"<td>{_known(effect, change.part)}</td></tr>"
        for change in found
    ]
    heads = [
        "Part of the network",
        "Share of the change (squared)",
        "Change, of its own size",
        "Return with it alone",
    ]
    return head + note(text) + table(heads, rows, "What adapting changed")


def _known(effect: Mapping[str, float], part: str) -> str:
    return f"{effect[part]:.4g}" if part in effect else ""


def _relative(change: float) -> str:
    return f"{change:.1f} times" if change >= 1.0 else f"{change:.2%}"
