"""Train: a visitor trains an agent and watches it learn to adapt."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.checkpoint.names import as_name
from ssm_metarl.errors import UserError
from ssm_metarl.training import loop
from ssm_metarl.ui.errors import lasting
from ssm_metarl.ui.form import Form, choices_of
from ssm_metarl.ui.jobs import Job, Jobs
from ssm_metarl.ui.limits import TRAIN_SECONDS, TRAINING
from ssm_metarl.ui.monitor import Monitor
from ssm_metarl.ui.reproduce import copies, of_training
from ssm_metarl.ui.store import RunStore, check_family
from ssm_metarl.ui.train_settings import train_settings
from ssm_metarl.ui.widgets import FOLLOWING, QUEUED, QUIET, TO_RESULTS, heavy, message

KIND = "training"
BETWEEN = 0.4  # seconds between updates of the page, at least
INTRODUCTION = (
    '<p class="outcome">Train an agent of your own.</p><p class="working">It meets many tasks of '
    "one family and learns to adapt to those it has not met. Its mean returns before and after "
    "adapting appear here as it learns.</p>"
)
UNBEGUN = "Stopped before it began; nothing was trained."
NOTHING = (gr.skip(), gr.skip(), None)
Stream = Generator[loop.Progress, None, None]
Begun = tuple[Monitor, Callable[[], Stream]]  # what is shown of a training, and what starts it
Shown = tuple[Any, Any, str | None]  # the status, the curves, the run once it has ended


def build(store: RunStore, jobs: Jobs, run: gr.Dropdown) -> None:
    """Add the tab to the page; what was trained is selected as the agent ``run``."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            form = Form()
        with gr.Column(scale=5, min_width=320):
            status = gr.HTML(INTRODUCTION, elem_id="training", elem_classes="training")
            first = train_settings(*(one.value for one in form.settings[:4]))
            curve = Monitor(first).plot(elem_id="learning-curve")
            trained, again = gr.State(None), copies()
    form.connect(store)
    connect(Trainings(store, jobs), form, run, [status, curve, trained])
    trained.change(partial(of_training, store), trained, again, **QUIET)


def connect(trainings: "Trainings", form: Form, run: gr.Dropdown, shown: list[Any]) -> None:
    """Let Train and Resume check, then train, then settle; let Stop stop.

    ``shown`` are the status, the curves, and the name of the run that was trained.
    """
    asked, pressed = [form.name, *form.settings], [form.go, form.stop, form.resume]
    waiting, checking = [*shown, *pressed], {"js": TO_RESULTS % "training", **QUIET}
    new = form.go.click(trainings.ready, asked, [*waiting, form.name], **checking).success(
        trainings.train, asked, shown, **heavy(shown[0]), api_name="train"
    )
    again = form.resume.click(trainings.ready_again, form.waiting, waiting, **checking).success(
        trainings.resume, form.waiting, shown, **heavy(shown[0]), api_name="resume"
    )
    for ended in (new.then, new.failure, again.then, again.failure):
        ended(
            trainings.settle,
            [shown[-1], run, form.family, form.learner],
            [run, form.waiting, form.name, *pressed],
            **FOLLOWING,
        )
    form.stop.click(trainings.stopping, None, [shown[0], *pressed], **FOLLOWING).then(
        trainings.stop, None, None, queue=False, api_name="stop"
    )


@dataclass(frozen=True)
class Trainings:
    """What happens when the buttons are pressed."""

    store: RunStore
    jobs: Jobs

    def ready(self, request: gr.Request, name: str, *settings: Any) -> Iterator[list[Any]]:
        """Make sure that a new run can be trained, before it waits for its turn."""

        def check() -> Iterator[list[Any]]:
            self._check_idle(request)
            monitor, wanted = Monitor(train_settings(*settings)), "{}-{}".format(*settings)
            suggested = name.rstrip("0123456789") == as_name(wanted, "-")
            promised, given = self.jobs.runs, name
            if not name or (suggested and name in {*self.store.ids(), *promised}):  # offered twice
                given = self.store.free_name(wanted, "-1", promised)
            if self.store.new_folder(given).name in promised:
                raise UserError(f"somebody is about to train {given!r}; choose another name")
            yield [*self._waiting(monitor, request, given), given]

        yield from lasting(check, 7)

    def ready_again(self, request: gr.Request, name: str | None) -> Iterator[list[Any]]:
        """Make sure that a run can be continued, before it waits for its turn."""

        def check() -> Iterator[list[Any]]:
            self._check_idle(request)
            if not name:
                raise UserError("there is no unfinished run to continue")
            folder, monitor = continued(self.store, name)
            RunLock(folder).release()  # it is free now, and is asked again when its turn comes
            yield self._waiting(monitor, request, name)

        yield from lasting(check, 6)

    def _check_idle(self, request: gr.Request) -> None:
        if self.jobs.is_active(request, KIND):  # they have pressed twice
            raise UserError("your training has begun; stop it before you begin another")

    def _waiting(self, monitor: Monitor, request: gr.Request, name: str) -> list[Any]:
        self.jobs.enqueue(request, KIND, name)
        return [message(QUEUED, "working"), monitor.plot(), None, *buttons(busy=True)]

    def train(
        self,
        name: str,
        family: str,
        learner: str,
        iterations: float,
        episodes: float,
        inner_lr: float | None,
        outer_lr: float | None,
        tasks_per_epoch: float | None,
        width: float | None,
        state_size: float | None,
        cell: str,
        seed: float,
        adapts: str,
        surrogate: str,
        request: gr.Request,
    ) -> Iterator[Shown]:
        """Train a new run; stream what is happening, and its curves, as it learns.

        `episodes` is the budget of policy_gradient, `iterations` that of all others. What is left
        empty is chosen to suit the family and the learner, which may not use all of it.
        """
        advanced = inner_lr, outer_lr, tasks_per_epoch, width, state_size
        advanced = *advanced, cell, seed, adapts, surrogate

        def begin() -> Begun:
            config = train_settings(family, learner, iterations, episodes, *advanced)
            folder, monitor = self.store.new_folder(name), Monitor(config)
            return monitor, partial(loop.train, config, folder, on_phase=monitor.enter)

        yield from lasting(partial(self._run, request, name, begin), len(NOTHING))

    def resume(self, name: str, request: gr.Request) -> Iterator[Shown]:
        """Continue a run where it stopped, to the same end as if it never had."""

        def begin() -> Begun:
            folder, monitor = continued(self.store, name)
            return monitor, partial(loop.resume, folder, on_phase=monitor.enter)

        yield from lasting(partial(self._run, request, name, begin), len(NOTHING))

    def _run(self, request: gr.Request, name: str, begin: Callable[[], Begun]) -> Iterator[Shown]:
        with self.jobs.run(request, KIND, TRAIN_SECONDS) as job:
            monitor, start = begin()
            yield from [NOTHING] if job.should_stop else follow(start(), monitor, job, name)

    def settle(
        self, request: gr.Request, name: str | None, agent: str, family: str, learner: str
    ) -> list[Any]:
        """Select the agent that was trained, and offer what is next.

        Who waits for something else by now, such as another agent's answer, keeps theirs.
        """
        found = self.store.unfinished()
        chosen = agent if self.jobs.is_active(request) else name or agent
        return [
            gr.update(choices=self.store.trained(), value=chosen),
            choices_of(found),
            self.store.free_name(f"{family}-{learner}", "-1"),
            *buttons(busy=False, unfinished=bool(found)),
        ]

    def stopping(self, request: gr.Request) -> list[Any]:
        """Say that stopping has been heard: the iteration ends first, but nobody need wait."""
        if self.jobs.cancel_waiting(request, KIND):
            found = bool(self.store.unfinished())
            return [message(UNBEGUN, "outcome"), *buttons(busy=False, unfinished=found)]
        return [gr.skip(), gr.skip(), gr.update(interactive=False, value="Stopping …"), gr.skip()]

    def stop(self, request: gr.Request) -> None:
        """Stop your training after the iteration it is in; everything so far is saved."""
        self.jobs.stop(request, KIND)


def follow(stream: Stream, monitor: Monitor, job: Job, name: str) -> Iterator[Shown]:
    """Train to the end, or until the visitor stops or leaves; yield what the page shows.

    Training runs beside this. However this ends, it goes on to the end of its iteration and closes
    the stream, and so that iteration is on disk.
    """

    def train() -> None:
        with contextlib.closing(stream):
            for progress in stream:
                monitor.add(progress.to_record())
                if job.should_stop:
                    break

    with ThreadPoolExecutor(1) as beside:
        training = beside.submit(train)
        try:
            while not training.done():
                yield monitor.status(), monitor.curves, None
                wait([training], BETWEEN)
            training.result()
        finally:
            job.stopped = True
    yield monitor.outcome(name, timed_out=job.timed_out), monitor.curves, name


def continued(store: RunStore, name: object) -> tuple[Path, Monitor]:
    """Return the folder of a run that may be continued, and what it has shown so far.

    Raises:
        UserError: There is no such run, it comes with the package, or, as runs may come from
            anywhere, is larger than the page trains.
    """
    if not store.is_own(name):
        raise UserError(f"{name} comes with the page and cannot be continued; train a new one")
    config = store.config(name)
    check_family(config.env_name)
    for setting, most in TRAINING.items():
        value = getattr(config, setting)
        if value is not None and value > most:
            raise UserError(
                f"{setting} of that run is {value}; the page trains with at most {most}, "
                "the command line with more"
            )
    if config.device != "cpu":
        raise UserError(f"that run was trained on {config.device}; the page trains on the cpu")
    return store.folder(name), Monitor(config, store.metrics(name))


def buttons(*, busy: bool, unfinished: bool = False) -> list[Any]:
    """Return updates of Train, Stop and Resume, which needs an unfinished run."""
    return [
        gr.update(interactive=not busy),
        gr.update(interactive=busy, value="Stop"),
        gr.update(interactive=unfinished and not busy),
    ]
