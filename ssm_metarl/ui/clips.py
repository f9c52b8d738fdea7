"""Videos of the agents of an answer on one task, which play side by side and in step."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import gradio as gr

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.core.parameters import Params
from ssm_metarl.evaluation.evaluate import evaluate
from ssm_metarl.evaluation.report import MODES
from ssm_metarl.ui.limits import CLIP_STEPS
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.theme import PLAYER
from ssm_metarl.video.episode import RecordedEpisode, frames_per_second

TEMPLATE = """
<div class="stage"></div>
<div class="controls" hidden>
  <button type="button" class="toggle">Play</button>
  <input type="range" class="scrub" min="0" max="1000" value="0" aria-label="Time in the clips">
</div>
<p class="picture"></p>
"""


@dataclass(frozen=True)
class Clip:
    """One agent's episode, as a video; player.js reads its fields.

    Attributes:
        name: Whose it is, in words.
        style: Suffix of the CSS class that colours it.
        mp4: The video, in base64.
        steps: Of the episode.
        seconds_per_step: In the video.
        ending: What to write where it ends.
        picture: What one sees in it, where that is not plain.
    """

    name: str
    style: str
    mp4: str
    steps: int
    seconds_per_step: float
    ending: str
    picture: str


def player(waiting: str, elem_id: str) -> gr.HTML:
    """Return the component; its value is a list of ``vars(clip)``, or why there are none yet.

    Where the list is empty it shows the text ``waiting``.
    """
    return gr.HTML(
        value=[],
        html_template=TEMPLATE,
        js_on_load=PLAYER,
        elem_id=elem_id,
        elem_classes="player",
        waiting=waiting,
    )


def clips(subject: Subject, query: Query, adapted: Mapping[str, Params]) -> Iterator[Clip]:
    """Record an episode before adapting and one after, for every mode; all start alike.

    ``adapted`` has the parameters of each mode after adapting.
    """
    yield record_clip(subject, subject.agent, "before adapting", "zero_shot", query.seed, 0)
    for mode in query.modes:
        remembered = query.plan().trial_episodes - 1 if mode == "in_context" else 0
        agent = subject.agent.with_params(adapted[mode])
        yield record_clip(subject, agent, f"after: {MODES[mode]}", mode, query.seed, remembered)


def agent_after(subject: Subject, query: Query, mode: str) -> Agent:
    """Return the agent once it has adapted, exactly as its return was measured."""
    agent, plan = subject.agent, query.plan_of(mode)
    memory = Memory.of(agent) if mode == "hybrid" else None
    *_, last = evaluate(agent, subject.family, subject.task, plan, memory)
    return agent.with_params(last.params)


def record_clip(
    subject: Subject, agent: Agent, name: str, style: str, seed: int, remembered: int
) -> Clip:
    """Record one episode of an agent on the task of ``subject``.

    Before it the agent plays ``remembered`` others of the task, which stay in its memory.
    """
    family = subject.family
    fps = frames_per_second(family, subject.task)
    episode = RecordedEpisode(agent, family, subject.task, seed, remembered)
    mp4 = base64.b64encode(episode.encoded(fps, CLIP_STEPS)).decode()
    first = "" if episode.ended else "the first "
    ending = f"return {episode.total:.4g} after {first}{episode.steps} steps"
    return Clip(name, style, mp4, episode.steps, 1 / fps, ending, family.picture)
