"""Buttons that start a heavy job, say that it waits, and stop it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from ssm_metarl.ui.errors import lasting
from ssm_metarl.ui.jobs import Job, Jobs
from ssm_metarl.ui.widgets import PRIVATE, QUEUED, QUIET, TO_RESULTS, heavy, message

STOPPING = "Stopping after this measurement ..."
STOPPED = "Stopped."
LATE = "This took too long; ask for less to see it to the end."


@dataclass(frozen=True)
class RunButton:
    """A kind of job that visitors start and stop.

    Attributes:
        jobs: Where its jobs are kept.
        kind: What it does, such as ``"adapting"``.
        seconds: How long it may take.
        work: Yields the values of the outputs, given the job and the inputs.
        outputs: The status line first.
        buttons: Those that are disabled while it runs, and last the one that stops it.
    """

    jobs: Jobs
    kind: str
    seconds: float
    work: Callable[..., Iterable[Any]]
    outputs: Sequence[Any]
    buttons: Sequence[gr.Button]

    def connect(self, starts: Iterable[Callable[..., Any]], inputs: Sequence[Any]) -> None:
        """Let events such as ``button.click`` start it, and the last button stop it."""
        status, buttons = self.outputs[0], list(self.buttons)
        # Read before waiting: by the time that their turn comes the inputs may say something else.
        asked, shown = gr.State([]), [status, *buttons]
        for start in starts:
            ran = start(
                self.enqueue, inputs, [asked, *shown], js=TO_RESULTS % status.elem_id, **QUIET
            ).success(self.run, asked, list(self.outputs), **heavy(status), **PRIVATE)
            ran.then(self.settle, None, buttons, **QUIET)
            ran.failure(self.settle, None, buttons, **QUIET)
        # Said first and done then, or a job that has ended would be called ending.
        self.buttons[-1].click(self.stopping, None, shown, queue=False, **PRIVATE).then(
            self.stop, None, None, queue=False, **PRIVATE, api_name=f"stop_{self.kind}"
        )

    def enabled(self, *, busy: bool) -> list[Any]:
        """Return updates of the buttons."""
        *others, _ = self.buttons
        return [gr.update(interactive=not busy) for _ in others] + [gr.update(interactive=busy)]

    def settle(self, request: gr.Request) -> list[Any]:
        """Return updates of the buttons once a job has ended, or was never begun."""
        return self.enabled(busy=self.jobs.is_active(request, self.kind))

    def enqueue(self, request: gr.Request, *inputs: Any) -> list[Any]:
        """Keep what is asked, and wait for a turn."""
        self.jobs.enqueue(request, self.kind)
        return [list(inputs), message(QUEUED, "working"), *self.enabled(busy=True)]

    def run(self, request: gr.Request, asked: list[Any]) -> Iterator[Any]:
        """Do what was asked; stream the outputs."""
        skipped = [gr.skip()] * len(self.outputs)  # or Gradio would empty what is shown
        if not self.jobs.is_queued(request, self.kind):  # the second of two clicks
            yield skipped
            return
        with self.jobs.run(request, self.kind, self.seconds) as job:
            if job.discarded or not asked:
                yield skipped
            else:
                yield from lasting(partial(self.work, job, *asked), len(skipped))

    def stopping(self, request: gr.Request) -> list[Any]:
        """Say that Stop was heard; a job that only waits is cancelled at once."""
        if self.jobs.cancel_waiting(request, self.kind):
            return [message(STOPPED, "working"), *self.enabled(busy=False)]
        *others, _ = self.buttons
        skipped = [gr.skip() for _ in others]
        return [message(STOPPING, "working"), *skipped, gr.update(interactive=False)]

    def stop(self, request: gr.Request) -> None:
        """Stop before the next measurement."""
        self.jobs.stop(request, self.kind)


def ending(job: Job) -> str:
    """Return why a job ended early, as HTML; empty if it did not."""
    return message(LATE if job.timed_out else STOPPED, "working") if job.should_stop else ""
