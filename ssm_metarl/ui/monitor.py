"""A training as one watches it: what is happening, how fast, how long still, and the curves."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.report import counted
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.ui.charts import Axis, Line, chart
from ssm_metarl.ui.overlap import FEW
from ssm_metarl.ui.scales import reached, return_scale
from ssm_metarl.ui.train_settings import duration, expected_seconds, iterations_of, tasks_of

Record = Mapping[str, Any]
WINDOW = 8  # iterations that the speed is measured over
STEADY = 0.5  # seconds: an iteration that takes longer moves its bar meanwhile
PHASES = {
    "meta_rl": {
        "support": "play new tasks",
        "query": "adapt and play on",
        "update": "improve",
        "validation": "look at validation tasks",
    },
    "rl2": {"play": "play trials", "update": "improve", "validation": "look at validation tasks"},
    "policy_gradient": {"play": "play", "update": "improve"},
}
LINES = {
    "meta_rl": {
        "return_before": ("before adapting", "zero_shot"),
        "return_after": ("after one gradient step", "standard"),
    },
    "rl2": {
        "return_before": ("first episode of a trial", "zero_shot"),
        "return_after": ("last episode", "in_context"),
    },
    "policy_gradient": {"return_before": ("on the one task, while training", "standard")},
}


class Monitor:
    """What one training has shown so far."""

    def __init__(self, config: TrainConfig, records: Iterable[Record] = ()) -> None:
        self.config = config
        self.family = get_family(config.env_name)
        self.iterations = iterations_of(config)
        self._expected = expected_seconds(config) / self.iterations
        self._shown: list[Record] = []
        self._recent: deque[Record] = deque(maxlen=WINDOW)
        self.done = 0
        self.phase = ""
        self._since = time.monotonic()  # when the iteration began that is going on
        for record in records:
            self._keep(record)
        self._drawn = ""

    def add(self, record: Record) -> None:
        """Take in an iteration."""
        self._since = time.monotonic()
        self._recent.append(record)
        self._keep(record)

    def _keep(self, record: Record) -> None:
        self.done = record["iteration"]
        if record["return_before"] is not None:
            self._shown.append(record)
            self._drawn = ""

    @property
    def drawn(self) -> str:
        """The curves, drawn only when they are looked at: iterations may come faster."""
        self._drawn = self._drawn or curves(self.config, self.family, self.iterations, self._shown)
        return self._drawn

    @property
    def seconds_each(self) -> float:
        """About how long an iteration takes, as measured here once there are two."""
        if len(self._recent) < 2:
            return self._expected
        first, last = self._recent[0], self._recent[-1]
        return (last["seconds"] - first["seconds"]) / (last["iteration"] - first["iteration"])

    @property
    def steps_per_second(self) -> float | None:
        """Environment steps per second, once there are two iterations."""
        if len(self._recent) < 2:
            return None
        first, last = self._recent[0], self._recent[-1]
        spent = last["seconds"] - first["seconds"]
        return (last["environment_steps"] - first["environment_steps"]) / max(spent, 1e-9)

    def status(self) -> str:
        """Return what is happening, as HTML; its height does not change."""
        speed, best = self.steps_per_second, self._shown[-1]["best_return"] if self._shown else None
        left = self.seconds_each * (self.iterations - self._reached)
        tiles = {
            "Iteration": f"{self.done} of {self.iterations}",
            "Time left": duration(left),
            "Speed": "…" if speed is None else f"{speed:,.0f} steps/s",
            "Best return": "…" if best is None else reached(best, self.family, brief=True),
        }
        told = paragraph(doing(self.config), "working")
        return told + self._bar() + self._phases() + tiled(tiles)

    @property
    def _reached(self) -> float:
        """Iterations done, and about how much of the one that is going on."""
        if not self._moving:
            return float(self.done)
        within = (time.monotonic() - self._since) / self.seconds_each
        return min(self.done + min(within, 1.0), float(self.iterations))

    @property
    def _moving(self) -> bool:
        return bool(self.phase) and self.seconds_each > STEADY

    def _bar(self) -> str:
        here = self._reached
        end = min(self.done + 1, self.iterations) if self._moving else here
        start, to = (100 * n / self.iterations for n in (here, end))
        spent = self.seconds_each * (end - here)
        return (
            f'<div class="progress" role="progressbar" aria-label="Training" aria-valuemin="0" '
            f'aria-valuemax="{self.iterations}" aria-valuenow="{self.done}">'
            f'<span style="--from:{start:.2f}%;--to:{to:.2f}%;--for:{spent:.2f}s"></span></div>'
        )

    def _phases(self) -> str:
        """Name the parts of an iteration, and mark the one that is going on."""
        parts = "".join(
            f"<li{' class=now' * (phase == self.phase)}>{words}</li>"
            for phase, words in PHASES[self.config.mode].items()
        )
        return f'<ol class="phases">{parts}</ol>'

    def enter(self, phase: str) -> None:
        """Hear which part of an iteration begins."""
        self.phase = phase

    def stopped(self, *, late: bool) -> str:
        """Say how far a training came that was stopped."""
        why = "The time allowed is over" if late else "Stopped"
        return paragraph(f"{why} after {self.done} of {self.iterations} iterations.", "outcome") + (
            paragraph(
                "Everything so far is saved, and it is one of the agents now; Resume goes on to "
                "the same end.",
                "others",
            )
        )

    def outcome(self, name: str) -> str:
        """Say how a finished training ended."""
        last = self._shown[-1]
        before, after = last["return_before"], last["return_after"]
        if after is None:
            told = f"Trained: {name} {reached(last['best_return'], self.family)}."
        else:
            said = {"meta_rl": "After one gradient step", "rl2": "In the last episode of a trial"}
            ago = {"meta_rl": "before", "rl2": "in the first"}
            told = (
                f"{said[self.config.mode]} {name} {reached(after, self.family)}; "
                f"{ago[self.config.mode]}, {reached(before, self.family, brief=True)}."
            )
        return paragraph(told, "outcome") + paragraph(
            "It is one of the agents now: watch it under Adapt.", "others"
        )


def doing(config: TrainConfig) -> str:
    """Say in words what an iteration does."""
    if config.mode == "policy_gradient":
        return "Each iteration plays ten episodes of the one task; what went well gets more likely."
    tasks = counted(tasks_of(config), "new task")
    if config.mode == "rl2":
        return (
            f"Each iteration plays {counted(config.episodes_per_trial, 'episode')} in a row of "
            f"each of {tasks}; the memory learns to use what the first ones showed."
        )
    return (
        f"Each iteration adapts to {tasks} by one gradient step, plays on, and moves the shared "
        "weights to where adapting helps more."
    )


def curves(
    config: TrainConfig, family: TaskFamily | None, iterations: int, records: Sequence[Record]
) -> str:
    """Draw the returns before and after adaptation against the iterations."""
    lines = []
    for key, (name, style) in LINES[config.mode].items():
        points = [(float(r["iteration"]), r[key]) for r in records if r[key] is not None]
        lines.append(Line(name, style, points, dots=len(points) <= FEW))
    y, rules = return_scale(family)
    told = [f"{line.name}: {line.points[-1][1]:.4g}" for line in lines if line.points]
    where = "the training task" if config.mode == "policy_gradient" else "validation tasks"
    alt = f"Mean return on {where} against iterations. {'; '.join(told) or 'Nothing yet.'}"
    return chart(lines, Axis("Iteration", 0.0, float(iterations)), y, alt, rules)


def tiled(values: Mapping[str, str]) -> str:
    """Return a few labelled values, side by side."""
    tiles = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in values.items()
    )
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def paragraph(text: str, kind: str) -> str:
    """Return a paragraph."""
    return f'<p class="{kind}">{escape(text)}</p>'
