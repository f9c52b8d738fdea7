"""Runs: what is on disk, with download, import and deletion."""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api as endpoint

from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.evaluation.figures import learning_curve
from ssm_metarl.evaluation.report import counted
from ssm_metarl.training.archive import pack
from ssm_metarl.training.summary import RunSummary
from ssm_metarl.ui.errors import field
from ssm_metarl.ui.figures import svg
from ssm_metarl.ui.query import able_modes
from ssm_metarl.ui.reproduce import NOTHING, copies, of_training
from ssm_metarl.ui.store import RunStore, checked_id, page_families
from ssm_metarl.ui.widgets import FOLLOWING, TABLE, message

HEADERS = ["Run", "Family", "Learner", "Iterations", "Best return", "Size", "Changed"]
AGES = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))
HIDDEN = gr.update(visible=False)
FETCH = '() => document.querySelector("#zip").click()'


def build(store: RunStore, run: gr.Dropdown, tab: gr.Tab) -> None:
    """Add the tab to the page, which reads the disk whenever ``tab`` is opened."""
    runs = gr.Dataframe(headers=HEADERS, elem_id="runs", max_height=360, **TABLE)
    chosen = gr.Textbox(visible=False)
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            title = gr.HTML(elem_classes="sentence", elem_id="run-title")
            curve = gr.HTML(elem_id="run-curve")
        with gr.Column(scale=3, min_width=300):
            experience = gr.Checkbox(False, label="With its experience, for hybrid adaptation")
            fetch = gr.Button("Download as a zip", elem_id="download")
            zipped = gr.DownloadButton(visible="hidden", elem_id="zip")
            delete = gr.Button("Delete ...", variant="stop", elem_id="delete")
            with gr.Row(visible=False) as confirm:
                sure = gr.Button("Delete for good", variant="stop", elem_id="sure")
                keep = gr.Button("Keep")
            name, upload = import_inputs()
            settings, every = settings_tables()
            again = copies()

    details = [chosen, title, curve, settings, every, again, fetch, delete, confirm]
    refresh: dict[str, Any] = {
        "fn": partial(shown, store),
        "inputs": [chosen, run],
        "outputs": [runs, *details],
        **FOLLOWING,
    }
    select = partial(selected, store)
    actions = Actions(store, zipped)
    tab.select(**refresh)
    runs.select(actions.pick, None, details, **FOLLOWING)
    fetch.click(actions.download, [chosen, experience], zipped, api_name="download").success(
        None, None, None, js=FETCH
    )
    for button, asking in ((delete, True), (keep, False)):
        button.click(partial(confirming, asking), None, [delete, confirm], **FOLLOWING)
    sure.click(actions.delete_run, chosen, None, api_name="delete_run").success(**refresh).then(
        select, run, run, **FOLLOWING
    )
    upload.upload(actions.import_run, [upload, name], chosen, api_name="import_run").success(
        **refresh
    ).then(select, chosen, run, **FOLLOWING)
    for action in (actions.list_agents, actions.runs, actions.describe):
        endpoint(action, queue=False)


def import_inputs() -> tuple[gr.Textbox, gr.UploadButton]:
    """Add the name and the file of a run to import."""
    name = gr.Textbox(
        label="Import a run",
        info="its name here; empty for that of the file",
        max_length=64,
        elem_id="import-name",
    )
    return name, gr.UploadButton("Upload a zip", file_types=[".zip"], elem_id="upload")


def settings_tables() -> tuple[gr.Dataframe, gr.Dataframe]:
    """Add the tables of the settings that were changed, and, folded away, of all."""
    headers = ["Setting", "Value"]
    changed = gr.Dataframe(headers=headers, elem_id="settings", **TABLE)
    with gr.Accordion("All settings", open=False):
        return changed, gr.Dataframe(headers=headers, max_height=400, **TABLE)


@dataclasses.dataclass(frozen=True)
class Actions:
    """What the buttons and the endpoints of the tab do."""

    store: RunStore
    zipped: gr.DownloadButton

    def pick(self, event: gr.EventData) -> list[Any]:
        """Show the run of the row that was selected."""
        row = field(event, "row_value")
        return shown(self.store, row[0] if isinstance(row, list) and row else None)[1:]

    def download(self, run: str, with_experience: bool) -> str:
        """Return a run as a zip of safetensors and JSON, with its experience if asked."""
        folder = self.store.folder(run)
        if self.store.is_own(run):
            RunLock(folder).release()  # not one that is being trained: its files are of two moments
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / f"{folder.name}.zip"
            pack(folder, made, with_experience=bool(with_experience))
            return str(self.zipped.move_resource_to_block_cache(made))

    def import_run(self, file: str, name: str) -> str:
        """Make a run of a zip as `download` gives; an empty name takes that of the file."""
        if not file:
            raise UserError("choose a zip to import")
        given = checked_id(name) if name else self.store.free_name(Path(file).stem)
        self.store.import_zip(Path(file), given)
        return given

    def delete_run(self, run: str) -> None:
        """Delete one of the page's own runs, for good."""
        self.store.delete(run)

    def runs(self) -> Any:
        """Return what is on disk: every run's family, learner, iterations, return and size."""
        return [dataclasses.asdict(run) for run in self.store.summaries()]

    def list_agents(self) -> Any:
        """List the agents, their families and the modes in which each can adapt."""
        found = []
        for run in self.store.trained():
            with contextlib.suppress(SsmMetaRLError):  # damaged: whoever asks for it hears how
                agent, family = self.store.agent(run)
                found.append({"run": run, "family": family.name, "modes": able_modes(agent)})
        return found

    def describe(self, run: Any) -> Any:
        """Return one run: its summary, its settings and its metrics."""
        return {
            **dataclasses.asdict(self.store.summary(run)),
            "config": vars(self.store.config(run)),
            "metrics": self.store.metrics(run),
        }


def shown(store: RunStore, choice: object, agent: object = None) -> list[Any]:
    """Return the list of runs and the details of one: the choice, else the agent, else the first.

    In the order of the tab's outputs.
    """
    found = {run.name: run for run in store.summaries()}
    wanted = (one for one in (choice, agent, *found) if isinstance(one, str) and one in found)
    rows, run = [row(one) for one in found.values()], found.get(next(wanted, ""))
    own = gr.update(interactive=run is not None and run.own, visible=True)
    if run is None:
        empty = message("There are no runs yet.", "others")
        unusable = gr.update(interactive=False)
        return [rows, "", empty, "", [], [], NOTHING, unusable, own, HIDDEN]
    curve, settings = curve_of(store, run), settings_of(store, run)
    usable = gr.update(interactive=True)
    again = of_training(store, run.name if run.family else None)
    return [rows, run.name, headline(run), curve, *settings, again, usable, own, HIDDEN]


def row(run: RunSummary) -> list[str]:
    """Return a run as a row of the list."""
    return [
        run.name,
        run.family or "cannot be read",
        run.learner,
        f"{run.done} of {run.iterations or '…'}",
        "–" if run.best_return is None else f"{run.best_return:.4g}",
        f"{run.bytes / 1e6:.1f} MB",
        ago(run.changed) if run.own else "built in",
    ]


def headline(run: RunSummary) -> str:
    """Return the name of a run and one line about it, as HTML."""
    line = "Its settings or its metrics cannot be read; it can still be deleted."
    if run.family:
        line = f"{run.learner} on {run.family}: {run.done} of {run.iterations or '…'} iterations"
        line += "" if run.best_return is None else f", best return {run.best_return:.4g}"
        line += "; it can be resumed under Train." if run.own and run.unfinished else "."
    return message(run.name, "outcome") + message(line, "others")


def curve_of(store: RunStore, run: RunSummary) -> str:
    """Draw the returns of a run, where its metrics can be read and have any."""
    family, named = _family(run), {"family": run.family, "learner": run.learner}
    try:
        best = family and family.best_return
        figure = learning_curve(store.metrics(run.name), **named, best=best)
    except SsmMetaRLError:
        return ""
    figure.axes[0].set_title("", loc="left")  # the run's name is above
    return svg(figure, f"{run.name}: return during training")


def _family(run: RunSummary) -> TaskFamily | None:
    return next((family for family in page_families() if family.name == run.family), None)


def settings_of(store: RunStore, run: RunSummary) -> tuple[list[list[str]], list[list[str]]]:
    """Return the settings of a run that differ from the defaults, and all of them."""
    if not run.family:
        return [], []
    config = store.config(run.name)
    family = _family(run)
    changed = {} if family is None else config.changed(family)
    differ = {"mode": config.mode, "env_name": config.env_name, **changed}
    return as_rows(differ), as_rows(vars(config))


def as_rows(settings: Mapping[str, Any]) -> list[list[str]]:
    """Return settings as rows of a table."""
    return [[name, "" if value is None else str(value)] for name, value in settings.items()]


def confirming(asking: bool) -> list[Any]:
    """Replace Delete by its confirmation, or the other way round."""
    return [gr.update(visible=not asking), gr.update(visible=asking)]


def selected(store: RunStore, wanted: str | None) -> Any:
    """Return the agents there are, with the wanted one selected if it is among them."""
    found = store.trained()
    return gr.update(choices=found, value=wanted if wanted in found else next(iter(found), None))


def ago(moment: float) -> str:
    """Return how long ago something was: ``3 hours ago``."""
    passed = time.time() - moment
    for seconds, unit in AGES:
        if passed >= seconds:
            return f"{counted(int(passed / seconds), unit)} ago"
    return "just now"
