"""Inside: how long an agent's memory lasts, and what its hidden state does while it plays."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
import pandas as pd
from gradio.events import api as endpoint

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.analysis import linear_probe, spectrum
from ssm_metarl.analysis.linear_probe import LinearProbe
from ssm_metarl.analysis.names import choice_effect
from ssm_metarl.analysis.panels import panels
from ssm_metarl.analysis.traces import RecordedAgent, Trace
from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.evaluation.figures import eigenvalue_plot, trace_plot
from ssm_metarl.evaluation.report import MODES
from ssm_metarl.ui.clips import Clip, agent_after, player, record_clip
from ssm_metarl.ui.figures import svg
from ssm_metarl.ui.lazy_tab import fill, query_of, task_line
from ssm_metarl.ui.limits import EPISODES, SEED, STEPS
from ssm_metarl.ui.query import Query, Subject, able_modes
from ssm_metarl.ui.reproduce import copies, of_spectrum
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.theme import TRACES
from ssm_metarl.ui.widgets import ONE_SLOT, TABLE, cell_bar, message

WAITING = "This tab shows how long the agent remembers, and its hidden state while it plays."
WITHOUT = {
    "gru": "A GRU forgets as fast as its input tells it to, so it has no eigenvalues.",
    "mlp": "An MLP has no memory: no hidden state and no eigenvalues.",
}
DISC = (
    "Each point is an eigenvalue of the state transition. The nearer to the rim, the longer it "
    "remembers: the rings are time constants, the steps after which 37% is left. The angle is the "
    "phase per step. Circles: before adapting; dots: after."
)
HALF_OPEN = "The decay of this gated cell depends on its input; it is shown for half-open gates."
UNCHANGED = (
    "In context no weight changes: what the agent learns of a task is in its hidden state, which "
    "lasts from one episode to the next."
)
NOT_DRAWN = "How long the agent remembers, and what adapting changed."
Played = Sequence[tuple[Clip, Trace]]  # before and after
PREFERRED = ("in_context", "hybrid", "standard", "from_scratch")


def build(store: RunStore, run: gr.Dropdown, query: gr.State, place: gr.State) -> None:
    """Add the tab to the page: of the agent ``run`` and the last ``query``, when it is opened."""
    with gr.Column(elem_id="inside-screen"):
        outcome = gr.HTML(
            message(WAITING, "working"), elem_id="inside-sentence", elem_classes="sentence"
        )
        clips = player("Here the agent plays before and after adapting.", "inside-clips")
        traces = gr.HTML(elem_id="inside-traces", js_on_load=TRACES)
        disc = gr.HTML(elem_id="inside-spectrum")
        with gr.Accordion("All eigenvalues, the fastest first", open=False, visible=False) as every:
            values = gr.Dataframe(max_height=420, **TABLE)
        changed = gr.HTML()
        parts = gr.Dataframe(visible=False, **TABLE)
        again = copies("the Python")

    def show(run_id: str, last: dict) -> Iterator[Sequence[Any]]:
        asked, mine = query_of(store, run_id, last)
        subject = Subject.of(store, asked)
        looked = subject.measured(run_id, asked.plan_of(mode_shown(subject, asked)))
        for values in shown(subject, asked, mine=mine):
            yield *values, of_spectrum(store, looked)

    def inside(
        run: Any,
        task: Any = None,
        episodes: Any = EPISODES.default,
        steps: Any = STEPS.default,
        seed: Any = SEED.default,
    ) -> Any:
        """Return an agent's eigenvalues before and after it adapts, with time constants in steps.

        It adapts by the first of hybrid and standard that it can; the answer also has how much each
        part of its network changed.
        """
        asked = Query.asked(run, task or {}, ["hybrid", "standard"], episodes, steps, seed)
        subject = Subject.of(store, asked)
        mode = mode_shown(subject, asked)
        after = agent_after(subject, asked, mode)
        return {"mode": mode, **spectrum.as_numbers(subject.agent, after)}

    outputs = [outcome, clips, traces, disc, every, values, changed, parts, again]
    fill("Inside", place, [run, query], show, outputs)
    endpoint(inside, **ONE_SLOT)


def mode_shown(subject: Subject, query: Query) -> str:
    """Return the mode to look into: of those that were asked for, else of all, the preferred."""
    able = able_modes(subject.agent)
    asked = [mode for mode in able if mode in query.modes]
    return min(asked or able, key=PREFERRED.index)


def shown(subject: Subject, query: Query, *, mine: bool) -> Iterator[Sequence[Any]]:
    """Yield the values of the tab's outputs; ``mine`` is whether the visitor asked the query."""
    mode, before = mode_shown(subject, query), subject.agent
    line = task_line(subject.family, query, mine=mine)
    yield message("Recording ...", "working") + line, *[gr.skip()] * 7
    after = agent_after(subject, query, mode)
    words, clips, traces = message(NOT_DRAWN, "outcome"), [], ""
    probe, returns = None, {}
    if mode == "in_context":
        probe = linear_probe.train_probe(before, subject.family)
    else:
        returns = spectrum.ablated_returns(before, after, subject.family, subject.task, query.seed)
    try:
        played = record(subject, query, mode, after)
        words, clips = in_words(subject, played, probe), [vars(clip) for clip, _ in played]
        traces = traces_shown(subject, played, probe)
    except SsmMetaRLError as error:  # of an environment that cannot be drawn
        clips = f"There are no clips: {error}."
    yield (
        words + line,
        clips,
        traces,
        *spectrum_shown(before, after),
        *changes_shown(before, after, mode, returns),
    )


def record(subject: Subject, query: Query, mode: str, after: Agent) -> Played:
    """Play an episode before and one after adapting."""
    remembered = query.plan().trial_episodes - 1 if mode == "in_context" else 0
    names = ("before adapting", f"after: {MODES[mode]}")
    if remembered:
        names = ("episode 1", f"episode {remembered + 1}")
    played = []
    for agent, name, style, earlier in (
        (subject.agent, names[0], "zero_shot", 0),
        (after, names[1], mode, remembered),
    ):
        recorded = RecordedAgent.of(agent)
        clip = record_clip(subject, recorded, name, style, query.seed, earlier)
        played.append((clip, recorded.last_episode(clip.steps)))
    return played


def in_words(subject: Subject, played: Played, probe: LinearProbe | None) -> str:
    """Return how the episodes ended and, where it is known, what the agent knew when, as HTML."""
    ends = (f"{c.name.removeprefix('after: ').capitalize()}: {c.ending}." for c, _ in played)
    line = ""
    if probe is not None:
        parameter = probe.parameter
        label, when = bool(subject.task.values[parameter.name][0] != parameter.default), []
        for _, trace in played:
            step = linear_probe.first_confident_step(probe.probability(trace.state), label=label)
            when.append("at no step" if step is None else f"from step {step} on")
        line = (
            f"The hidden state tells whether the task {choice_effect(parameter)}: {when[0]} "
            f"in the first episode, {when[1]} in the last."
        )
    elif subject.agent.policy.spaces.discrete:
        sure = [float(trace.action.max(1).mean()) for _, trace in played]
        line = (
            f"Mean probability of the likeliest action: {sure[0]:.0%} before, {sure[1]:.0%} after."
        )
    return message(" ".join(ends), "outcome") + (message(line, "others") if line else "")


def traces_shown(subject: Subject, played: Played, probe: LinearProbe | None) -> str:
    """Draw what goes on during two episodes, as HTML in which traces.js moves the cursors."""
    clips, traces = zip(*played, strict=True)
    drawn = ""
    for panel in panels(subject.family, subject.agent.policy.spaces, traces, probe):
        lines = [(c.name, c.style, v) for c, v in zip(clips, panel.values, strict=True)]
        alt = "; ".join(f"{name}: {v.min():.3g} to {v.max():.3g}" for name, _, v in lines)
        figure = trace_plot(lines, panel.label, steps=panel.steps, **panel.axis)
        drawn += (
            f'<div>{message(panel.note, "note")}<div class="trace" data-steps="{panel.steps}">'
            f"{svg(figure, f'{panel.label}. {alt}', None)}<i></i></div></div>"
        )
    head = "<h3>What goes on inside</h3>" + message("The line moves with the clips.", "note")
    rate = 1.0 / clips[0].seconds_per_step
    return f'{head}<div class="pair" data-rate="{rate:g}">{drawn}</div>'


def spectrum_shown(before: Agent, after: Agent) -> tuple[str, Any, Any]:
    """Return the eigenvalues before and after: drawn, whether there are any, and as a table."""
    cell, head = before.policy.config.cell, "<h3>How long it remembers</h3>"
    old, new = spectrum.eigenvalues(before), spectrum.eigenvalues(after)
    if not new:
        note = WITHOUT.get(cell, "This cell has no eigenvalues.")
        return head + message(note, "note"), gr.update(visible=False), gr.skip()
    pairs = sorted(zip(old, new, strict=True), key=lambda pair: pair[1].time_constant)
    moved = max(abs(b.time_constant / a.time_constant - 1.0) for a, b in pairs)
    line = (
        f"Time constants from {pairs[0][1].time_constant:.3g} to {pairs[-1][1].time_constant:.3g} "
        f"steps; adapting changed {f'them by up to {moved:.1%}' if moved else 'none of them'}."
    )
    note = f"{HALF_OPEN} {DISC}" if cell == "gated" else DISC
    values = [one.value for one in old], [one.value for one in new]
    discs = [svg(eigenvalue_plot(*values, close=close), line, None) for close in (False, True)]
    columns = {
        "Eigenvalue": [f"block {a.block + 1}, {a.number + 1}" for a, _ in pairs],
        "Time constant before (steps)": [f"{a.time_constant:.4g}" for a, _ in pairs],
        "after (steps)": [f"{b.time_constant:.4g}" for _, b in pairs],
        "Period (steps)": [f"{b.period:.4g}" for _, b in pairs],
    }
    drawn = f'<div class="pair">{"".join(discs)}</div>'
    drawn = head + message(note, "note") + drawn + message(line, "note")
    return drawn, gr.update(visible=True), pd.DataFrame(columns)


def changes_shown(
    before: Agent, after: Agent, mode: str, returns: Mapping[str, float]
) -> tuple[str, Any]:
    """Return which parts of the network adaptation changed: in a line, and as a table.

    The table has the return with the change of each part alone, of ``returns``.
    """
    found = sorted(spectrum.parameter_changes(before, after), key=lambda change: -change.share)
    head = "<h3>What adapting changed</h3>"
    if not found:
        return head + message(UNCHANGED, "note"), gr.update(visible=False)
    line = (
        f"Mean return over {spectrum.EPISODES} episodes of this task: {returns['before']:.4g} "
        f"before, {returns['after']:.4g} after. Share: of the squared change of all parts. "
        "Relative: to the part before. Alone: the return with no other change."
    )
    names = spectrum.PARTS | spectrum.PARTS_OF_CELLS.get(before.policy.config.cell, {})
    rows = [(names[one.part], one.share, one.relative, returns[one.part]) for one in found]
    share, relative, alone = "Share", "Relative", "Alone"  # short, for phones
    table = pd.DataFrame(rows, columns=["Change of", share, relative, alone])
    bars = [cell_bar(one.share, f"var(--mode-{mode})") for one in found]
    formats: dict[Any, Any] = {share: "{:.1%}", relative: "{:.2g}", alone: "{:.4g}"}
    styled = table.style.apply(lambda _: bars, subset=[share]).format(formats, na_rep="")
    return head + message(line, "note"), gr.update(value=styled, visible=True)
