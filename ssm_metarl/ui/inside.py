"""The state space made visible: what the agent remembers, for how long, and when it understood."""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.evaluation.report import MODES
from ssm_metarl.runs.recording import encoded
from ssm_metarl.runs.showcase import choose_task, frames_per_second
from ssm_metarl.ui.charts import Axis, Line, chart
from ssm_metarl.ui.courtesy import courteous
from ssm_metarl.ui.film import agent_after, ending_of, shrunk
from ssm_metarl.ui.limits import FILM_STEPS
from ssm_metarl.ui.player import Clip, clips_value, player
from ssm_metarl.ui.question import Question, Subject, ways
from ssm_metarl.ui.shelf import Shelf
from ssm_metarl.ui.spectrum import Eigenvalue, disc, eigenvalues, table
from ssm_metarl.ui.watched import Watched

CLOCK = "inside"  # of the player, which the charts follow
EVERY = 2  # steps per picture
WAITING = "The agent is being filmed with its state laid open ..."
NO_STATE = (
    "<p>This agent has no linear state space ({cell}): there are no eigenvalues to show, but its "
    "memory along an episode is below.</p>"
)


def build(shelf: Shelf, run: gr.Dropdown, question: gr.State, tab: gr.Tab) -> None:
    """Add the tab to the page.

    Args:
        shelf: Where agents are.
        run: Which agent.
        question: The visitor's last question; without one, a task that is unlike the usual one.
        tab: Which fills when it is opened.
    """
    seen = gr.State()
    told = gr.HTML(elem_classes="sentence", elem_id="inside-words")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            plane = gr.HTML(elem_id="spectrum")
        with gr.Column(scale=5, min_width=320):
            clips = player(WAITING, "inside-clips", clock=CLOCK)
            traces = gr.HTML(elem_id="traces")

    def open_tab(run_id: str, asked: dict[str, Any], last: Any) -> Any:
        """Show what is inside an agent, before and after it has adapted."""
        current = question_for(shelf, run_id, asked)
        if vars(current) == last:
            return [gr.skip()] * 5
        return [*inside(Subject.of(shelf, current), current), vars(current)]

    tab.select(
        courteous(open_tab),
        [run, question, seen],
        [told, plane, clips, traces, seen],
        show_progress="minimal",
        show_progress_on=[told],
        concurrency_id="look",
        concurrency_limit=1,
        api_visibility="private",
    )


def question_for(shelf: Shelf, run: str, asked: dict[str, Any]) -> Question:
    """Return the visitor's last question about this agent, or one that is worth asking."""
    if asked and asked.get("run") == run:
        return Question(**asked)
    agent, family = shelf.agent(run)
    tasks = family.validation(20)
    task = tasks.parameters(choose_task(family, tasks))
    return Question(run, task, [mode for _, mode in ways(agent)], 20, 1)


def inside(subject: Subject, question: Question) -> tuple[str, str, list[dict[str, Any]], str]:
    """Return the words, the eigenvalues, the clips and the traces."""
    mode = next((m for m in ("hybrid", "standard") if m in question.modes), "in_context")
    mode = "in_context" if "in_context" in question.modes else mode
    adapted = agent_after(subject, question, mode)
    before, after = eigenvalues(subject.agent), eigenvalues(adapted)
    pictures = [
        _watch(subject, subject.agent, "before adapting", "zero_shot", question.seed, 0),
        _watch(
            subject, adapted, f"after: {MODES[mode]}", mode, question.seed, _known(question, mode)
        ),
    ]
    words = words_of(before, after, mode, subject.agent)
    cell = subject.agent.policy.config.cell
    plane = (
        disc(before, after, words) + table(before, after) if before else NO_STATE.format(cell=cell)
    )
    clips = clips_value([clip for _, clip in pictures])
    order = np.argsort([e.time_constant for e in before]) if before else None
    return (
        words,
        plane,
        clips,
        traces_of([seen for seen, _ in pictures], order, subject.family, mode),
    )


def _known(question: Question, mode: str) -> int:
    return question.plan().trial_episodes - 1 if mode == "in_context" else 0


def _watch(
    subject: Subject, agent: Agent, name: str, style: str, seed: int, remembered: int
) -> tuple[Watched, Clip]:
    family, task, seen = subject.family, subject.task, Watched()
    speed = frames_per_second(family, task)
    pictures = seen.play(agent, family, task, seed, remembered, FILM_STEPS)
    mp4 = encoded((shrunk(p) for n, p in enumerate(pictures) if n % EVERY == 0), speed / EVERY)
    return seen, Clip(
        name, style, mp4, seen.steps, 1 / speed, ending_of(family, seen.steps, seen.total)
    )


def words_of(
    before: Sequence[Eigenvalue], after: Sequence[Eigenvalue], mode: str, agent: Agent
) -> str:
    """Say what one sees."""
    if not before:
        return "<p>What this agent remembers along an episode.</p>"
    longest = max(e.time_constant for e in before)
    moved = max(abs(a.value - b.value) for a, b in zip(before, after, strict=True))
    lead = (
        f"The agent's memory is {len(before)} complex numbers. Each step multiplies them by their "
        f"eigenvalue and adds what is new: the nearer to the rim, the longer it remembers, up to "
        f"{longest:.0f} steps here."
    )
    if mode == "in_context":
        rest = "Adapting in context changes no weight: only what these numbers hold."
    else:
        rest = (
            f"Adapting by {MODES[mode]} gradient steps moved them by {moved:.2g} at most; most of "
            "what it learned is in how the state is read."
        )
    return f"<p>{escape(lead)} {escape(rest)}</p>"


def traces_of(
    seen: Sequence[Watched], order: np.ndarray | None, family: TaskFamily, mode: str
) -> str:
    """Draw the hidden state and the intentions along both episodes, under a common clock."""
    longest = max(one.steps for one in seen)
    names = ("before adapting", f"after: {MODES[mode]}")
    heats = "".join(
        _heat(one, name, order, longest)
        for one, name in zip(seen, names, strict=True)
        if one.states[0].size
    )
    lines = [
        Line(
            name,
            style,
            [(float(step), value) for step, value in enumerate(one.intentions)],
            dots=False,
        )
        for one, name, style in zip(seen, names, ("zero_shot", mode), strict=True)
    ]
    discrete = not family.action_space.shape
    label = "Probability of the last action" if discrete else "Mean action (of -1 to 1)"
    what = f"{label} at each step, before and after adapting."
    y = Axis(label, 0.0, 1.0) if discrete else Axis(label)
    drawn = chart(lines, Axis("Step of the episode", 0.0, float(longest)), y, what)
    return f'<div class="traces" style="--steps: {longest}">{heats}{_followed(drawn)}</div>'


def _heat(seen: Watched, name: str, order: np.ndarray | None, longest: int) -> str:
    order = np.arange(seen.states[0].size) if order is None else order
    alt = f"Size of each number of the hidden state at each step, {name}."
    share = 100 * seen.steps / longest
    return (
        f'<figure class="heat"><figcaption>Hidden state, {escape(name)}: one row per number, from '
        f"quick (top) to slow</figcaption>"
        + _followed(f'<img src="{seen.heat(order)}" alt="{alt}" style="width: {share:.1f}%">')
        + "</figure>"
    )


def _followed(picture: str) -> str:
    return f'<div class="followed">{picture}<div class="cursor" aria-hidden="true"></div></div>'
