"""What makes a result of the page again: a link, the command and the Python, to copy."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import is_registered
from ssm_metarl.evaluation.comparison import Measured
from ssm_metarl.training.command import (
    agent_python,
    evaluate_command,
    evaluate_python,
    task_of,
    task_python,
    train_command,
    train_python,
)
from ssm_metarl.training.run_family import FAMILY
from ssm_metarl.ui.store import RunStore, page_families

NOTHING = "Once there is a result, this makes it again."
CODE = (
    "{} is declared by code: name its file by `--family FILE.py --trust_env_code`, and run it "
    "before the Python."
)
RETRIEVED = """found = retrieval.retrieve(agent, family, {task}, episodes={episodes}, seed={seed})
print(retrieval.as_numbers(found, retrieval.stored_tasks(agent)))"""
SPECTRUM = """*_, last = {measured}
print(spectrum.as_numbers(agent, agent.with_params(last.params)))"""


def copies(what: str = "the command or the Python") -> gr.Markdown:
    """Add, folded away, what the functions below return; its blocks have buttons that copy."""
    with gr.Accordion(f"Copy {what} that makes this", open=False):
        return gr.Markdown(NOTHING, elem_classes="copies")


def of_evaluation(store: RunStore, found: Sequence[Measured], link: str = "") -> str:
    """Return what measures again what was found of some runs."""
    runs = [store.address(one.run) for one in found]
    commands = map(evaluate_command, runs, found)
    python = map(evaluate_python, runs, found)
    blocks = _block("bash", "\n".join(commands)), _block("python", "\n\n".join(python))
    families = {one.family.name: one.family for one in found}
    shared = [f"A link to this agent and task:\n{_block('text', link)}"] if link else []
    return "\n".join([*shared, *map(_declared, families.values()), *blocks])


def of_training(store: RunStore, run: str | None) -> str:
    """Return what trains a run again; ``run`` is None where there is none."""
    families = {family.name: family for family in page_families()}
    config = store.config(run) if run else None
    if config is None or config.env_name not in families:
        return NOTHING
    family, source = families[config.env_name], None
    if family.source:
        source = Path(store.address(run), FAMILY)
    always = {"mode": config.mode, "env_name": config.env_name, "seed": config.seed}
    settings = always | config.changed(family)
    blocks = (
        _block("bash", train_command(settings, source)),
        _block("python", train_python(settings, source)),
    )
    return "\n".join([_declared(family), *blocks])


def of_retrieval(store: RunStore, found: Measured, episodes: int) -> str:
    """Return the Python that retrieves the same for the task of ``found``."""
    lines = RETRIEVED.format(
        task=task_python(task_of(found)), episodes=episodes, seed=found.plan.seed
    )
    imports = "from ssm_metarl.analysis import retrieval"
    return _declared(found.family) + _block(
        "python", agent_python(store.address(found.run), imports, lines)
    )


def of_spectrum(store: RunStore, found: Measured) -> str:
    """Return the Python that looks for the same inside the agent, after the plan of ``found``."""
    imports = "from ssm_metarl.analysis import spectrum"
    python = evaluate_python(store.address(found.run), found, SPECTRUM, imports)
    return _declared(found.family) + _block("python", python)


def _declared(family: TaskFamily) -> str:
    code = is_registered(family.name) and not family.source
    return CODE.format(family.name) + "\n" if code else ""


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
