"""The tab that shows what is on disk, hands it out, takes it in and throws it away."""

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ssm_metarl.checkpoint.names import as_name
from ssm_metarl.errors import UserError
from ssm_metarl.training.loop import METRICS
from ssm_metarl.ui.api import Json, endpoint
from ssm_metarl.ui.archive import pack, unpack
from ssm_metarl.ui.errors import field, handled
from ssm_metarl.ui.form import QUIET
from ssm_metarl.ui.jobs import Jobs
from ssm_metarl.ui.listing import headline, learning_curves, settings, table
from ssm_metarl.ui.records import read_records
from ssm_metarl.ui.store import RunStore, checked_id
from ssm_metarl.ui.summary import Summary, summaries

CHOICE = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("[data-run]");
  if (!row) return;
  for (const button of element.querySelectorAll("[aria-pressed]"))
    button.setAttribute("aria-pressed", row.contains(button));
  trigger("select", { run: row.dataset.run });
});
"""
FETCH = '() => document.querySelector("#parcel").click()'


def build(store: RunStore, jobs: Jobs, run: gr.Dropdown, tab: gr.Tab) -> None:
    """Add the tab to the page, and its endpoints.

    Args:
        store: Where runs are.
        jobs: Where visitors stop their work.
        run: Which agent; it stands above the tabs.
        tab: This tab, which reads the disk anew whenever it is opened.
    """
    listing, details, (experience, parcel), (sure, keep), (name, upload) = layout(store)
    chosen, *_, fetch, delete, asking = details
    look: dict[str, Any] = {
        "fn": handled(partial(shown, store)),
        "inputs": [chosen, run],
        "outputs": [listing, *details],
        **QUIET,
    }
    select = handled(partial(selected, store))

    def pick(event: gr.EventData) -> list[Any]:
        return shown(store, field(event, "run"))[1:]

    def download(run: str, with_experience: bool) -> str:
        """Return a run as a zip of safetensors and JSON, with its experience if asked."""
        folder = store.folder(run)
        jobs.check_free(folder.name)
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / f"{folder.name}.zip"
            pack(folder, made, with_experience=bool(with_experience))
            return str(parcel.move_resource_to_block_cache(made))

    def import_run(file: str, name: str) -> str:
        """Make a run of a zip as `download` gives; an empty name takes that of the file."""
        if not file:
            raise UserError("choose a zip to import")
        given = checked_id(name) if name else free_name(store, Path(file).stem)
        unpack(Path(file), store, jobs, given)
        return given

    def delete_run(run: str) -> None:
        """Delete a run of the page's own, for good."""
        folder = store.folder(run)
        with jobs.hold(folder.name):
            store.delete(run)

    tab.select(**look)
    listing.select(handled(pick), None, details, **QUIET)
    fetch.click(handled(download), [chosen, experience], parcel, api_name="download").success(
        None, None, None, js=FETCH
    )
    delete.click(handled(lambda: swap(True)), None, [delete, asking], **QUIET)
    keep.click(handled(lambda: swap(False)), None, [delete, asking], **QUIET)
    sure.click(handled(delete_run), chosen, None, api_name="delete_run").success(**look).then(
        select, run, run, **QUIET
    )
    upload.upload(handled(import_run), [upload, name], chosen, api_name="import_run").success(
        **look
    ).then(select, chosen, run, **QUIET)
    without_page(store)


def layout(store: RunStore) -> tuple[Any, ...]:
    """Lay out the list; the details of one run; how to take it away, delete it, and import one.

    What changes its height stands last, or where room is kept for it.
    """
    runs, _, title, curve, message, *_ = shown(store, store.first())  # nothing moves when it opens
    listing = gr.HTML(
        runs, js_on_load=CHOICE, apply_default_css=False, elem_id="runs", elem_classes="listing"
    )
    chosen = gr.Textbox(visible=False)
    with gr.Row(elem_classes="screen"):
        with gr.Column(scale=5, min_width=320, elem_classes="results-column"):
            title = gr.HTML(title, elem_classes="sentence", elem_id="run-title")
            curve = gr.HTML(curve, elem_id="run-curve")
        with gr.Column(scale=3, min_width=300, elem_classes="controls-column"):
            experience = gr.Checkbox(False, label="With its experience, for hybrid adaptation")
            fetch = gr.Button("Download as a zip", elem_id="download")
            parcel = gr.DownloadButton(visible="hidden", elem_id="parcel")
            delete = gr.Button("Delete ...", variant="stop", elem_id="delete")
            with gr.Row(visible=False) as asking:
                sure = gr.Button("Delete for good", variant="stop", elem_id="sure")
                keep = gr.Button("Keep", elem_id="keep")
            name = gr.Textbox(
                label="Import a run",
                info="its name here; empty for that of the file",
                max_length=64,
                elem_id="import-name",
            )
            upload = gr.UploadButton("Upload a zip", file_types=[".zip"], elem_id="upload")
            message = gr.HTML(message, apply_default_css=False, elem_id="run-settings")
    details = [chosen, title, curve, message, fetch, delete, asking]
    return listing, details, (experience, parcel), (sure, keep), (name, upload)


def without_page(store: RunStore) -> None:
    """Add the endpoints that tell what there is."""

    def runs() -> Json:
        """Return what is on disk: every run's family, learner, iterations, return and size."""
        return [dataclasses.asdict(run) for run in summaries(store)]

    def describe(run: Json) -> Json:
        """Return one run: its summary, its settings and its metrics."""
        return {
            **dataclasses.asdict(Summary.of(store, run)),
            "config": vars(store.config(run)),
            "metrics": read_records(store.folder(run) / METRICS),
        }

    endpoint(runs, queue=False)
    endpoint(describe, queue=False)


def shown(store: RunStore, choice: object, agent: object = None) -> list[Any]:
    """Return the list of runs, and the details of the chosen one; else of the agent, or any."""
    found = {run.name: run for run in summaries(store)}
    wanted = [name for name in (choice, agent) if isinstance(name, str) and name in found]
    run = found.get(next(iter([*wanted, *found]), ""))
    if run is None:
        return [table([], None), "", "", "", "", *buttons(own=False, there=False)]
    return [
        table(list(found.values()), run.name),
        run.name,
        headline(run),
        learning_curves(store, run),
        settings(store, run.name),
        *buttons(own=run.own, there=True),
    ]


def selected(store: RunStore, wanted: str | None) -> Any:
    """Return the agents there are, and the one that was wanted selected if it is among them."""
    found = store.trained()
    return gr.update(choices=found, value=wanted if wanted in found else next(iter(found), None))


def buttons(*, own: bool, there: bool) -> list[Any]:
    """Return updates of Download, Delete and its confirmation."""
    return [
        gr.update(interactive=there),
        gr.update(interactive=own, visible=True),
        gr.update(visible=False),
    ]


def swap(asking: bool) -> list[Any]:
    """Put the query whether to delete in the place of the button, or the button back."""
    return [gr.update(visible=not asking), gr.update(visible=asking)]


def free_name(store: RunStore, wanted: str) -> str:
    """Return an id that is free, as near to a file's name as can be."""
    taken = set(store.ids())
    endings = ("", *(f"-{number}" for number in range(2, len(taken) + 3)))
    return next(name for end in endings if (name := as_name(wanted, end)) not in taken)
