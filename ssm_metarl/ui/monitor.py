"""A training as one watches it: what is happening, how fast, how long still, and the curves."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr
import pandas as pd

from ssm_metarl.commands.common import best_return
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.evaluation.figures.style import COLOURS, FAINT
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.ui.figures import line_plot, lines_of
from ssm_metarl.ui.train_settings import duration, expected_seconds, iterations_of
from ssm_metarl.ui.widgets import message, tiles

Record = Mapping[str, Any]
WINDOW = 8  # iterations that the speed is measured over
LINES = {  # by what a learner's validation measures: name and colour of each return
    "adaptation": {
        "return_before": ("before adapting", "zero_shot"),
        "return_after": ("after adapting", "standard"),
    },
    "trials": {
        "return_before": ("first episode", "zero_shot"),
        "return_after": ("last episode", "in_context"),
    },
    "training": {"return_before": ("training episodes", "standard")},
}
BEST = "best possible"
COLOUR_MAP = {
    **{name: COLOURS[mode] for lines in LINES.values() for name, mode in lines.values()},
    BEST: FAINT,
}


class Monitor:
    """What one training has shown so far."""

    def __init__(self, config: TrainConfig, records: Iterable[Record] = ()) -> None:
        self.config = config
        self.iterations = iterations_of(config)
        self.phase = ""
        self._expected = expected_seconds(config) / self.iterations
        self._records: list[Record] = list(records)
        self._recent: deque[Record] = deque(maxlen=WINDOW)
        self._started = time.monotonic()  # of the iteration that is going on

    @property
    def done(self) -> int:
        """Iterations done."""
        return self._records[-1]["iteration"] if self._records else 0

    def add(self, record: Record) -> None:
        """Take in an iteration."""
        self._started = time.monotonic()
        self._recent.append(record)
        self._records.append(record)

    def enter(self, phase: str) -> None:
        """Take in that a phase of an iteration begins; called by the training's own thread."""
        self.phase = phase

    @property
    def plot(self) -> gr.LinePlot:
        """The plot of :attr:`curves`, with its axes."""
        return curves_plot(self.config, self.iterations, self._records)

    @property
    def curves(self) -> pd.DataFrame:
        """The returns so far, as the value of :attr:`plot`."""
        return curves(self.config, self.iterations, self._records)

    def status(self) -> str:
        """Return what is happening, as HTML; its height does not change."""
        spent, steps, iterations = self._pace()
        each = spent / iterations if iterations else self._expected
        within = min((time.monotonic() - self._started) / each, 1.0) if self.phase else 0.0
        reached = min(self.done + within, float(self.iterations))
        best = next((one["best_return"] for one in self._records[::-1]), None)
        values = {
            "Iteration": f"{self.done} of {self.iterations}",
            "Time left": duration(each * (self.iterations - reached)),
            "Speed": f"{steps / max(spent, 1e-9):,.0f} steps/s" if iterations else "…",
            "Best return": "…" if best is None else f"{best:.4g}",
        }
        phases = "".join(
            f"<li{' class=now' * (phase == self.phase)}>{escape(words)}</li>"
            for phase, words in LEARNERS[self.config.mode].phases.items()
        )
        return (
            f'{message("Each iteration:", "working")}<ol class="phases">{phases}</ol>'
            f'<progress value="{reached:.2f}" max="{self.iterations}" aria-label="Training">'
            f"</progress>{tiles(values)}"
        )

    def _pace(self) -> tuple[float, int, int]:
        """Return the seconds, environment steps and number of the recent iterations."""
        if len(self._recent) < 2:
            return 0.0, 0, 0
        first, last = self._recent[0], self._recent[-1]
        keys = ("seconds", "environment_steps", "iteration")
        seconds, steps, iterations = (last[key] - first[key] for key in keys)
        return seconds, steps, iterations

    def outcome(self, name: str, *, timed_out: bool) -> str:
        """Return how a training ended: the returns, and how far it came."""
        looks = [record for record in self._records if record["return_before"] is not None]
        lines = LINES[LEARNERS[self.config.mode].validation]
        pairs = [(looks[-1][key], line) for key, (line, _) in lines.items()] if looks else []
        number = " → ".join(f"{value:.4g}" for value, _ in pairs if value is not None)
        text = f"Mean return: {', '.join(line for _, line in pairs)}." if pairs else ""
        end = f"Finished all {self.iterations} iterations"
        if self.done < self.iterations:
            why = "The time allowed is over" if timed_out else "Stopped"
            end = f"{why} after {self.done} of {self.iterations} iterations; it can be resumed"
        lead = message(f"{name}: {number}", "outcome") if number else message(name, "outcome")
        after = "Its agent can be chosen above." if self.done else ""
        return lead + message(text, "others") + message(f"{end}. {after}", "others")


def curves_plot(
    config: TrainConfig, iterations: int, records: Sequence[Record] = (), **how: Any
) -> gr.LinePlot:
    """Return the plot of a training's returns, with the axes of that run."""
    best = best_of(config)
    return line_plot(
        value=curves(config, iterations, records),
        x_title="Iteration",
        y_title="Mean return",
        x_lim=[0, iterations],
        y_lim=[0, 1.05 * best] if best else [None, None],
        color_map=COLOUR_MAP,
        **how,
    )


def curves(config: TrainConfig, iterations: int, records: Sequence[Record]) -> pd.DataFrame:
    """Return the returns before and after adaptation against the iterations."""
    best = best_of(config)
    lines = {BEST: [(0.0, best), (float(iterations), best)]} if best else {}
    for key, (name, _) in LINES[LEARNERS[config.mode].validation].items():
        shown = [r for r in records if r[key] is not None]
        lines[name] = [(float(r["iteration"]), float(r[key])) for r in shown]
    return lines_of(lines)


def best_of(config: TrainConfig) -> float | None:
    """Return the best possible return, where the family is of this package and it is known."""
    known = config.env_name in {family.name for family in list_families()}
    return best_return(get_family(config.env_name)) if known else None
