"""A training as one watches it: what is happening, how fast, how long still, and the curves."""

import time
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import gradio as gr
import pandas as pd

from ssm_metarl.evaluation.figures.style import COLOURS, FAINT
from ssm_metarl.meta_rl.registry import LEARNERS, RETURNS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.pace import duration, expected_seconds, iterations_of
from ssm_metarl.ui.figures import line_plot, lines_of
from ssm_metarl.ui.store import page_families
from ssm_metarl.ui.widgets import message, tiles

Record = Mapping[str, Any]
WINDOW = 8  # iterations that the speed is measured over
SHORTEST_AXIS = 20  # iterations; a shorter axis would be labelled in fractions of them
KEYS = ("return_before", "return_after")
BEST = "max"
COLOUR_MAP = {
    **{name: COLOURS[mode] for names in RETURNS.values() for name, mode in names.items()},
    BEST: FAINT,
}


class Monitor:
    """What one training has shown so far."""

    def __init__(self, config: TrainConfig, records: Iterable[Record] = ()) -> None:
        self.config, self.phase, self.iterations = config, "", iterations_of(config)
        self._records = list(records)
        self._started = time.monotonic()  # of the iteration that is going on
        own = (family for family in page_families() if family.name == config.env_name)
        self._best = next((family.best_return for family in own), None)

    @property
    def done(self) -> int:
        """Iterations done."""
        return self._records[-1]["iteration"] if self._records else 0

    def add(self, record: Record) -> None:
        """Take in an iteration."""
        self._started = time.monotonic()
        self._records.append(record)

    def enter(self, phase: str) -> None:
        """Take in that a phase of an iteration begins; called by the training's own thread."""
        self.phase = phase

    def plot(self, **how: Any) -> gr.LinePlot:
        """Return the plot of :attr:`curves`, with its axes."""
        return line_plot(
            value=self.curves,
            x_title="Iteration",
            y_title=f"Mean return (best possible: {self._best:g})" if self._best else "Mean return",
            x_lim=[0, self._axis],
            y_lim=[0, 1.05 * self._best] if self._best else [None, None],
            color_map=COLOUR_MAP,
            colors_in_legend=[*LEARNERS[self.config.mode].returns],
            **how,
        )

    @property
    def curves(self) -> pd.DataFrame:
        """The returns against the iterations.

        Other learners' lines are there, too, without a point: Gradio (6.31) draws no line that a
        plot did not have when it was made.
        """
        return lines_of({**dict.fromkeys(COLOUR_MAP, ()), **self._lines})

    @property
    def _lines(self) -> dict[str, list[tuple[float, float]]]:
        best = self._best
        lines = {BEST: [(0.0, best), (float(self.iterations), best)]} if best else {}
        for key, name in zip(KEYS, LEARNERS[self.config.mode].returns, strict=False):
            shown = (record for record in self._records if record[key] is not None)
            lines[name] = [(float(one["iteration"]), float(one[key])) for one in shown]
        return lines

    @property
    def _axis(self) -> int:
        return max(self.iterations, SHORTEST_AXIS)

    def status(self) -> str:
        """Return what is happening, as HTML; its height does not change."""
        spent, steps, iterations = self._pace()
        expected = expected_seconds(self.config)
        each = expected and expected / self.iterations
        each = spent / iterations if iterations else each
        passed = time.monotonic() - self._started
        within = min(passed / each, 1.0) if self.phase and each else 0.0
        reached = min(self.done + within, float(self.iterations))
        best = self._records[-1]["best_return"] if self._records else None
        values = {
            "Iteration": f"{self.done} of {self.iterations}",
            "Time left": duration(each * (self.iterations - reached)) if each else "…",
            "Speed": f"{steps / max(spent, 1e-9):,.0f} steps/s" if iterations else "…",
            "Best return": "…" if best is None else f"{best:.4g}",
        }
        if self._success:
            values["Solved"] = self._success
        phases = "".join(
            f"<li{' class=now' * (phase == self.phase)}>{escape(words)}</li>"
            for phase, words in LEARNERS[self.config.mode].phases.items()
        )
        return (
            f'{message("Each iteration:", "working")}<ol class="phases">{phases}</ol>'
            f'<progress value="{reached:.2f}" max="{self.iterations}" aria-label="Training">'
            f"</progress>{tiles(values)}"
        )

    @property
    def _success(self) -> str:
        """The success rates of the last iteration's episodes; empty if nothing is said of it."""
        last = self._records[-1] if self._records else {}
        rates = (value for name, value in last.items() if name.endswith("success"))
        return " → ".join(f"{rate:.0%}" for rate in rates if rate is not None)

    def _pace(self) -> tuple[float, int, int]:
        """Return the seconds, environment steps and number of the recent iterations."""
        recent = self._records[-WINDOW:]
        if len(recent) < 2:
            return 0.0, 0, 0
        keys = ("seconds", "environment_steps", "iteration")
        seconds, steps, iterations = (recent[-1][key] - recent[0][key] for key in keys)
        return seconds, steps, iterations

    def outcome(self, name: str, *, timed_out: bool) -> str:
        """Return how a training ended: the returns, and how far it came."""
        names = ", ".join(LEARNERS[self.config.mode].returns)
        looks = [record for record in self._records if record["return_before"] is not None]
        last = [looks[-1][key] for key in KEYS] if looks else []
        number = " → ".join(f"{value:.4g}" for value in last if value is not None)
        text = f"Mean return: {names}." if looks else ""
        text += f" Solved in {self._success} of the last episodes." if self._success else ""
        end = f"Finished all {self.iterations} iterations"
        if self.done < self.iterations:
            why = "The time allowed is over" if timed_out else "Stopped"
            end = f"{why} after {self.done} of {self.iterations} iterations; it can be resumed"
        lead = message(f"{name}: {number}" if number else name, "outcome")
        after = "Its agent can be chosen above." if self.done else ""
        return lead + message(text, "others") + message(f"{end}. {after}", "others")
