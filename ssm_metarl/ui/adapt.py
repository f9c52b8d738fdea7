"""The first screen: an agent meets a task it has never seen, and one watches it adapt."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.report import MODES, ModeResult, counted
from ssm_metarl.ui.charts import Axis, Line, chart
from ssm_metarl.ui.courtesy import courteous
from ssm_metarl.ui.desk import Desk, Work
from ssm_metarl.ui.film import clips
from ssm_metarl.ui.inputs import adaptation_inputs
from ssm_metarl.ui.limits import ADAPT_SECONDS, EPISODES
from ssm_metarl.ui.player import clips_value, player
from ssm_metarl.ui.question import Question, Subject, answers, ways
from ssm_metarl.ui.scales import reached, return_scale
from ssm_metarl.ui.shelf import Shelf
from ssm_metarl.ui.sliders import Sliders
from ssm_metarl.ui.words import ways_explained

HEAVY = "heavy"  # the one slot that training, adapting and evaluating wait for
ENOUGH = 0.95  # of the best return: from here on a way has adapted
STOPPED, LATE = "Stopped.", "This took too long; ask for less to see it to the end."
TO_RESULTS = """(...inputs) => {
  const results = document.querySelector("#sentence");
  if (window.innerWidth < 768) results.scrollIntoView({behavior: "smooth"});
  return inputs;
}"""
WAITING = "Press Adapt: the agent plays this task before and after adapting, here side by side."
INTRODUCTION = (
    "<p>This agent has trained on many CartPoles, each with its own physics, and on half of them "
    "<strong>left and right are swapped</strong>. It cannot know which one it is on until it has "
    "tried. Choose a task it has never met and see what a few episodes teach it.</p>"
)
State = dict[str, Any]


def build(shelf: Shelf, desk: Desk, run: gr.Dropdown, question: gr.State) -> None:
    """Add the tab to the page.

    Args:
        shelf: Where agents are.
        desk: Where visitors stop their work.
        run: Which agent; it stands above the tabs.
        question: The visitor's last question, for the other tabs.
    """
    first = shelf.first()
    agent, family = shelf.agent(first) if first else (None, get_family("CartPole-v1"))
    choices = ways(agent) if agent else []
    with gr.Row(elem_classes="screen"):
        with gr.Column(scale=2, min_width=300, elem_classes="controls-column"):
            with gr.Row(elem_classes="actions"):
                go = gr.Button("Adapt", variant="primary", elem_id="adapt")
                surprise = gr.Button("Surprise me", elem_id="surprise")
            modes = gr.CheckboxGroup(
                choices,
                value=[mode for _, mode in choices],
                label="Ways of adapting",
                elem_id="modes",
            )
            gr.HTML(ways_explained())
            gr.HTML("<h3>The task</h3>")
            sliders = Sliders.build(family.name)
            episodes, steps, seed = adaptation_inputs("the task")
        with gr.Column(scale=5, min_width=320, elem_classes="results-column"):
            sentence = gr.HTML(INTRODUCTION, elem_id="sentence", elem_classes="sentence")
            clips_shown = player(WAITING, "clips")
            curve = gr.HTML(empty_curve(family), elem_id="curve")
    task = gr.State({})  # what the sliders say

    def collect(run_id: Any, *values: Any) -> dict[str, float]:
        return sliders.task(shelf.config(run_id).env_name, values)

    def respond(
        run_id: str,
        task: dict,
        modes: list,
        episodes: float,
        steps: float,
        seed: float,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Adapt an agent to one task; stream the sentence, the clips and the curve."""
        asked = Question.asked(run_id, task, modes, episodes, steps, seed)
        yield from follow(shelf, asked, desk.begin(request, ADAPT_SECONDS))

    def choose(run_id: str) -> list[Any]:
        agent, family = shelf.agent(run_id)
        choices = ways(agent)
        return [
            gr.update(choices=choices, value=[mode for _, mode in choices]),
            empty_curve(family),
            [],
            introduction(family),
            *sliders.show(family.name),
        ]

    def invent(run_id: str) -> list[Any]:
        family = get_family(shelf.config(run_id).env_name)
        drawn = family.sample(1, np.random.SeedSequence())
        return sliders.values(family.name, drawn.parameters(0))

    shown = [sentence, clips_shown, curve, question]
    quiet: dict[str, Any] = {
        "concurrency_limit": None,  # queued, because only then are mistakes shown
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    asking = {
        "fn": courteous(respond),
        "inputs": [run, task, modes, episodes, steps, seed],
        "outputs": shown,
        "concurrency_id": HEAVY,
        "concurrency_limit": 1,
        "show_progress": "minimal",
        "show_progress_on": [sentence],
        "api_visibility": "private",
        "js": TO_RESULTS,
    }
    tasked = {"fn": courteous(collect), "inputs": [run, *sliders.flat], "outputs": task, **quiet}
    go.click(**tasked).success(**asking)
    surprised = surprise.click(courteous(invent), run, sliders.flat, **quiet)
    surprised.success(**tasked).success(**asking)
    run.change(
        courteous(choose),
        run,
        [modes, curve, clips_shown, sentence, *sliders.groups.values()],
        **quiet,
    )


def follow(shelf: Shelf, question: Question, work: Work) -> Iterator[tuple[Any, ...]]:
    """Answer a question; yield the sentence, the clips, the curve and the question as they come."""
    subject = Subject.of(shelf, question)
    rows: list[ModeResult] = []
    asked = vars(question)
    for row in answers(subject, question):
        rows.append(row)
        doing = f"Measured {MODES[row.mode]} after {counted(row.shots, 'episode')} ..."
        yield told(doing, "working"), [], curve_of(rows, subject.family, question), asked
        if work.stopped:
            yield (
                told(LATE if work.late else STOPPED, "working"),
                [],
                curve_of(rows, subject.family, question),
                asked,
            )
            return
    outcome, drawn = summary(rows, subject.family), curve_of(rows, subject.family, question)
    filmed = []
    for clip in clips(subject, question):
        filmed.append(clip)
        yield outcome + told(f"Filmed: {clip.name} ...", "working"), gr.skip(), drawn, asked
        if work.stopped:
            break
    yield outcome, clips_value(filmed), drawn, asked


def introduction(family: TaskFamily) -> str:
    """Say what a visitor is looking at."""
    if family.name == "CartPole-v1":
        return INTRODUCTION
    return (
        f"<p>This agent has trained on a family of tasks: {escape(family.description)}. Choose one "
        "that it has never met and see what a few episodes teach it.</p>"
    )


def told(text: str, kind: str) -> str:
    """Return a paragraph."""
    return f'<p class="{kind}" role="status">{escape(text)}</p>'


def best_of(rows: Sequence[ModeResult], mode: str) -> ModeResult:
    """Return the first result of a way from which on more data gains little; it may be a loss."""
    own = [row for row in rows if row.mode == mode]
    before = next(row.mean for row in rows if row.mode == "zero_shot")
    best = max(own, key=lambda row: row.mean)
    goal = before + ENOUGH * (best.mean - before)
    return next((row for row in own if row.mean >= goal), best)


def summary(rows: Sequence[ModeResult], family: TaskFamily) -> str:
    """Say in words what happened, for the page."""
    lead, *others = summary_text(rows, family)
    return told(lead, "outcome") + "".join(told(text, "others") for text in others)


def summary_text(rows: Sequence[ModeResult], family: TaskFamily) -> list[str]:
    """Say in words what happened: first of the best way, then of the others, if there are any."""
    before = next(row for row in rows if row.mode == "zero_shot")
    modes = list(dict.fromkeys(row.mode for row in rows if row.mode != "zero_shot"))
    if not modes:
        return [f"Without adapting, the agent {reached(before.mean, family)}."]
    found = {mode: best_of(rows, mode) for mode in modes}
    best = max(modes, key=lambda mode: (found[mode].mean, -found[mode].shots))
    row = found[best]
    lead = (
        f"After {counted(row.shots, 'episode')}, the {MODES[best]} agent "
        f"{reached(row.mean, family)}; before, {reached(before.mean, family, brief=True)}."
    )
    others = "; ".join(
        f"{MODES[mode]}: {reached(found[mode].mean, family, brief=True)} after "
        f"{counted(found[mode].shots, 'episode')}"
        for mode in modes
        if mode != best
    )
    return [lead, others] if others else [lead]


def curve_of(rows: Sequence[ModeResult], family: TaskFamily, question: Question) -> str:
    """Draw the return against the episodes used, a line for each way."""
    before = [row.mean for row in rows if row.mode == "zero_shot"]
    lines = []
    for mode in question.modes:
        points = [(float(row.shots), row.mean) for row in rows if row.mode == mode]
        if before and points and points[0][0] > 0:
            points = [(0.0, before[0]), *points]
        lines.append(Line(MODES[mode], mode, points))
    if before:
        lines.insert(0, Line("before adapting", "zero_shot", [(0.0, before[0])]))
    most = float(question.episodes * question.steps)
    alt = "; ".join(
        f"{line.name}: {line.points[-1][1]:.4g} after {counted(int(line.points[-1][0]), 'episode')}"
        for line in lines
        if line.points
    )
    return _curve(lines, family, most, f"Mean return against episodes used. {alt}")


def empty_curve(family: TaskFamily) -> str:
    """Draw the axes alone, so that nothing moves when the curve comes."""
    return _curve([], family, EPISODES.default, "No task has been met yet.")


def _curve(lines: Sequence[Line], family: TaskFamily, most: float, alt: str) -> str:
    y, rules = return_scale(family)
    return chart(lines, Axis("Episodes of the new task used", 0.0, most), y, alt, rules)
