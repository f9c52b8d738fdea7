"""How runs look: a list to choose from, and one run in detail."""

import contextlib
import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.evaluation.report import counted
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import METRICS
from ssm_metarl.ui.monitor import curves, paragraph
from ssm_metarl.ui.records import read_records
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.summary import Summary

FIRST = ("mode", "env_name")  # settings that always come first
HEADS = ("Run", "Family", "Learner", "Iterations", "Best return", "Size", "Changed")
AGES = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))
UNSET = "what suits the family"
NONE = "There are no runs yet: train one, or import one below."


def table(runs: Sequence[Summary], chosen: str | None) -> str:
    """Return the list of runs; the chosen one is marked."""
    if not runs:
        return paragraph(NONE, "waiting")
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    rows = "".join(_row(run, run.name == chosen) for run in runs)
    return (
        f'<table class="runs"><caption>Runs; choose one for its details</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(run: Summary, chosen: bool) -> str:
    best = "–" if run.best_return is None else f"{run.best_return:.4g}"
    cells = (
        run.family or "cannot be read",
        run.learner,
        f"{run.done} of {run.iterations or '…'}",
        best,
        megabytes(run.bytes),
        ago(run.changed) if run.own else "built in",
    )
    name = (
        f'<th scope="row"><button type="button" aria-pressed="{str(chosen).lower()}">'
        f"{escape(run.name)}</button></th>"
    )
    data = "".join(
        f'<td data-head="{head}">{escape(cell)}</td>'
        for head, cell in zip(HEADS[1:], cells, strict=True)
    )
    return f'<tr data-run="{escape(run.name)}">{name}{data}</tr>'


def headline(run: Summary) -> str:
    """Say in words what a run is."""
    if not run.family:
        return paragraph(run.name, "outcome") + paragraph(
            "Its settings or its metrics cannot be read; it can still be deleted.", "others"
        )
    left = "" if not run.unfinished else "; it can be continued under Train" if run.own else ""
    best = "" if run.best_return is None else f", best return {run.best_return:.4g}"
    told = (
        f"{run.learner} on {run.family}: {run.done} of {run.iterations or '…'} iterations"
        f"{best}{left}."
    )
    return paragraph(run.name, "outcome") + paragraph(told, "others")


def learning_curves(store: RunStore, run: Summary) -> str:
    """Draw what a run has learned so far, if that can be read."""
    if not run.family:
        return ""
    known = run.family in {family.name for family in list_families()}
    family = get_family(run.family) if known else None
    try:
        records = read_records(store.folder(run.name) / METRICS)
    except SsmMetaRLError:  # a line before the last, which the list looks at
        return paragraph("Its metrics cannot be read.", "others")
    return curves(store.config(run.name), family, max(run.iterations, 1), records)


def settings(store: RunStore, run: str) -> str:
    """Return the settings of a run as a table: first those that differ from the defaults."""
    try:
        config = store.config(run)
    except SsmMetaRLError:
        return ""
    told = differing(config)
    rest = {name: value for name, value in vars(config).items() if name not in told}
    return (
        f'<table class="settings"><caption>Settings</caption>{_settings(told.items())}</table>'
        f"<details><summary>{counted(len(rest), 'setting')} as usual</summary>"
        f'<table class="settings">{_settings(rest.items())}</table></details>'
    )


def differing(config: TrainConfig) -> dict[str, Any]:
    """Return the learner, the family, and what is not at its default."""
    chosen = {name: getattr(config, name) for name in FIRST}
    with contextlib.suppress(SsmMetaRLError):  # a family that is not known here
        chosen |= config.changed(get_family(config.env_name))
    return chosen


def _settings(values: Iterable[tuple[str, Any]]) -> str:
    rows = (
        f'<tr><th scope="row">{escape(name.replace("_", " "))}</th>'
        f"<td>{escape(_said(value))}</td></tr>"
        for name, value in values
    )
    return f"<tbody>{''.join(rows)}</tbody>"


def _said(value: object) -> str:
    if value is None:
        return UNSET
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def megabytes(size: int) -> str:
    """Say a size on disk."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{max(1, round(size / 1e3))} kB"


def ago(moment: float) -> str:
    """Say how long ago something was."""
    passed = time.time() - moment
    for seconds, unit in AGES:
        if passed >= seconds:
            return f"{counted(int(passed / seconds), unit)} ago"
    return "just now"
