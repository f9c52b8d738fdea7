"""Videos of several agents on one task, side by side and in step."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ssm_metarl.ui.theme import PLAYER

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
    """One agent's episode, as a video.

    Attributes:
        name: Whose it is, in words.
        style: Suffix of the CSS class that colours it.
        mp4: The video.
        steps: Of the episode.
        seconds_per_step: In the video.
        ending: What to write where it ends.
        picture: What one sees in it, where that is not plain.
    """

    name: str
    style: str
    mp4: bytes
    steps: int
    seconds_per_step: float
    ending: str
    picture: str = ""

    def value(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        return {
            "name": self.name,
            "style": self.style,
            "mp4": base64.b64encode(self.mp4).decode(),
            "steps": self.steps,
            "seconds_per_step": self.seconds_per_step,
            "ending": self.ending,
            "picture": self.picture,
            "alt": f"Video of one episode, {self.name}: {self.ending}",
        }


def player(waiting: str, elem_id: str) -> gr.HTML:
    """Return the component; its value is that of :func:`clips_value`, or why there are none yet.

    Args:
        waiting: What to say where there are no clips yet.
        elem_id: Id in the page.
    """
    return gr.HTML(
        value=[],
        html_template=TEMPLATE,
        js_on_load=PLAYER,
        elem_id=elem_id,
        elem_classes="player",
        waiting=waiting,
    )


def clips_value(clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """Return the value of a player."""
    return [clip.value() for clip in clips]
