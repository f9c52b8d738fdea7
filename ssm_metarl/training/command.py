"""What makes a result again: as a command, and as Python."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it imports torch
    from ssm_metarl.evaluation.comparison import Measured

AS_COMMANDS = "torch.set_num_threads(1)  # as the commands do"
LOOP = """for one in {measured}:
    row = one.result
    print(row.mode, row.steps, row.shots, f"{{row.mean:.4g}}")"""


def train_command(settings: Mapping[str, object], family: Path | None) -> str:
    """Return the command that trains with these settings."""
    parts = ["ssm-metarl", "train"]
    for name, value in settings.items():
        if isinstance(value, bool):
            parts.append(f"--{name}" if value else f"--no_{name}")
        elif not (family and name == "env_name"):
            parts += [f"--{name}", str(value)]
    return shlex.join([*parts, *(["--family", str(family)] if family else [])])


def train_python(settings: Mapping[str, object], family: Path | None) -> str:
    """Return the Python that trains with these settings; ``family`` is a TOML file."""
    declared = [f"sm.register(sm.read_family({str(family)!r}))"] if family else []
    return "\n".join(
        [
            "import torch\n",
            "import ssm_metarl as sm\n",
            AS_COMMANDS,
            *declared,
            f"config = {_call('sm.TrainConfig', settings)}",
            f"for progress in sm.train(config, {'runs/again'!r}):",
            "    print(progress.to_record())",
        ]
    )


def evaluate_command(run: str, found: "Measured") -> str:
    """Return the command that measures what was ``found`` of a run."""
    plan, tasks = found.plan, ["--split", found.split, "--tasks", str(len(found.tasks))]
    if found.split == "chosen":
        pairs = task_of(found)
        tasks = ["--task", ",".join(f"{name}={value}" for name, value in pairs.items())]
        tasks = tasks if pairs else ["--task", "nominal"]
    flags = {
        "modes": ",".join(plan.modes or ()),
        "episodes": ",".join(map(str, plan.budgets)),
        "steps": plan.steps,
        "return_episodes": plan.return_episodes,
        "trial_episodes": plan.trial_episodes,
        "seed": plan.seed,
    }
    given = (part for name, value in flags.items() for part in (f"--{name}", str(value)))
    return shlex.join(["ssm-metarl", "evaluate", run, *tasks, *given])


def evaluate_python(run: str, found: "Measured", use: str = LOOP, imports: str = "") -> str:
    """Return the Python that measures what was ``found`` of a run.

    ``use`` is what it does with the measurements, which are ``{measured}`` there.
    """
    needed = [imports, "from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate"]
    memory = ""
    if "hybrid" in (found.plan.modes or ()):
        memory = ", Memory.of(agent)"
        needed.append("from ssm_metarl.adaptation.hybrid import Memory")
    tasks = f"family.{found.split}({len(found.tasks)})"
    if found.split == "chosen":
        tasks = task_python(task_of(found))
    lines = [
        f"tasks = {tasks}",
        f"plan = {_call('EvaluationPlan', vars(found.plan))}",
        use.format(measured=f"evaluate(agent, family, tasks, plan{memory})"),
    ]
    return agent_python(run, "\n".join(needed), "\n".join(lines))


def agent_python(run: str, imports: str, lines: str) -> str:
    """Return Python that loads an agent and its family, and goes on with ``lines``."""
    needed = sorted({*imports.split("\n"), "from ssm_metarl.training.loading import agent_family"})
    return "\n".join(
        [
            "import torch\n",
            "import ssm_metarl as sm",
            *filter(None, needed),
            f"\n{AS_COMMANDS}",
            f"agent = sm.load({run!r})",
            "family = agent_family(agent)",
            lines,
        ]
    )


def task_python(task: Mapping[str, str]) -> str:
    """Return the Python that builds a task, of which :func:`task_of` returns the values."""
    values = ", ".join(f"{name!r}: {value}" for name, value in task.items())
    return f"family.task(**{{{values}}})"


def task_of(found: "Measured") -> dict[str, str]:
    """Return the values of the one task that are not nominal, with all digits that matter."""
    values = found.tasks.parameters(0)
    varied = (p.name for p in found.family.parameters if values[p.name] != p.default)
    return {name: number_text(values[name]) for name in varied}


def number_text(value: float) -> str:
    """Return a number with the digits that it takes to read the same one again."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    given = "".join(f"    {key}={value!r},\n" for key, value in arguments.items())
    return f"{name}(\n{given})"
