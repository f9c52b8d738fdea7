"""``ssm-metarl evaluate RUN --protocol metaworld``: by Meta-World's own rules."""

import dataclasses
import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from ssm_metarl.checkpoint.files import check_writable, write_text_atomically
from ssm_metarl.commands.common import load_agent, made, naming_flag, plain_table
from ssm_metarl.console import Bar, show
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.report import MODES, counted

if TYPE_CHECKING:  # they import torch
    from ssm_metarl.adaptation.agent import Agent
    from ssm_metarl.commands.evaluate import Evaluate
    from ssm_metarl.evaluation.metaworld import MetaWorldResult

UNUSED = ("task", "episodes", "return_episodes", "trial_episodes", "guard", "split", "video")
FILE = "metaworld.json"


def run(asked: "Evaluate", given: Collection[str]) -> int:
    """Measure an agent as Meta-World does; show and write the results; return 0."""
    from ssm_metarl.env_runner.metaworld import SEED, VARIATIONS, versions
    from ssm_metarl.evaluation.metaworld import check_family, evaluate_metaworld

    flags = [f"--{name}" for name in UNUSED if name in given]
    if flags:
        raise UserError(f"--protocol metaworld has no use for {', '.join(flags)}; leave it out")
    if "tasks" in given and asked.tasks > VARIATIONS:
        raise UserError(
            f"--tasks is {asked.tasks}; --protocol metaworld has {VARIATIONS} of each class"
        )
    agent, place, family = load_agent(asked.run, asked.family, asked.trust_env_code)
    with naming_flag("protocol"):
        check_family(family)
    folder = asked.out or place
    check_writable(folder)
    modes, variations = _modes(agent, asked.mode_names), min(asked.tasks, VARIATIONS)
    steps = asked.steps if "steps" in given else 1
    rows = []
    with Bar(f"evaluate {family.name}") as bar:
        measured = evaluate_metaworld(
            agent, family, modes, variations=variations, steps=steps, seed=asked.seed
        )
        for row in measured:
            rows.append(row)
            bar.update(len(rows), len(modes), f"{MODES[row.mode]}: {row.success_rate:.0%}")
    show(_table(family.name, variations, rows), whole=True)
    text = json.dumps(
        {
            "family": family.name,
            "benchmark_seed": SEED,
            **versions(),
            "variations": variations,
            "steps": steps,
            "seed": asked.seed,
            "results": [dataclasses.asdict(row) for row in rows],
        },
        indent=1,
    )
    for path in filter(None, (folder / FILE, asked.json)):
        write_text_atomically(path, f"{text}\n")
        made("numbers", path)
    return 0


def _modes(agent: "Agent", named: Sequence[str] | None) -> tuple[str, ...]:
    """Return the modes that were asked for, or all that the agent can do."""
    from ssm_metarl.evaluation.evaluate import EvaluationPlan, modes_of

    modes = modes_of(agent, EvaluationPlan(named))
    if named and "from_scratch" in named:
        raise UserError("--modes: from_scratch is no mode of --protocol metaworld; leave it out")
    return tuple(mode for mode in modes if mode != "from_scratch")


def _table(name: str, variations: int, rows: Sequence["MetaWorldResult"]) -> Table:
    """Lay out the results, a row per mode and a column per class."""
    table = plain_table(
        f"[bold]{name}[/]: Meta-World's evaluation",
        "Success: of the 3 episodes after 10\nto adapt from, of "
        f"{counted(variations, 'variation')} of\neach class. They end at success.",
    )
    table.add_column("Mode")
    for title in ("Success", "Mean return"):
        table.add_column(title, justify="right")
    classes = list(rows[0].per_class) if rows and len(rows[0].per_class) > 1 else []
    for title in classes:
        table.add_column(title.removesuffix("-v3").replace("-", "\n"), justify="right")
    for row in rows:
        each = (f"{row.per_class[name]:.0%}" for name in classes)
        table.add_row(MODES[row.mode], f"{row.success_rate:.1%}", f"{row.mean_return:.1f}", *each)
    return table
