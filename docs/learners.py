"""Write docs/learners.md from the registries and the checks: ``python docs/learners.py``."""

from collections.abc import Callable
from pathlib import Path

from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.encoders import ENCODERS
from ssm_metarl.deployment.formats import FORMATS
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import INNER_LOSSES, LEARNERS, LearnerSpec, used_by
from ssm_metarl.training.checks import check_tasks_to_share
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.search_space import search_space

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Can I use it with ...?

A learner is a value of `train --mode`. This page is written by `python docs/learners.py` from
the registries and from what the checks of a training accept.

"""
ACTIONS = ("Discrete", "MultiDiscrete", "MultiBinary", "Box")
TAIL = """
- **Actions**: a `Box` may have any shape and bounds; choices may start at any number.
- **Observations**: numbers, choices, `Dict`, `Tuple`, and one image
  ([details](families.md#what-an-agent-can-see)).
- **Exported** files act. Those of agents that adapt in context go on adapting; gradient steps
  need this package ([deployment](deployment.md)). There is no C code for the encoder `cnn`.
- **Compiled** rollouts are for the families from `CartPole-v1` to `GridWorld-v0`
  ([details](scaling.md#compiled-rollouts)).
- All agents can be adapted by `standard`; only `meta_rl` was trained for it
  ([which mode does what](adaptation.md)).
"""


def config(spec: LearnerSpec, **settings: object) -> TrainConfig:
    """Return the resolved settings of a training on CartPoles."""
    return TrainConfig(mode=spec.name, **settings).resolve(get_family("CartPole-v1"))  # pyright: ignore


def yes(accepted: Callable[[], object]) -> str:
    """Return whether the checks accept something."""
    try:
        accepted()
    except UserError:
        return "no"
    return "yes"


def memory(spec: LearnerSpec) -> str:
    """Return what a learner's memory lasts, the default first."""
    usual = str(config(spec).memory)
    other = "trial" if usual == "episode" else "episode"
    return f"{usual}, or `--memory {config(spec, memory=other).memory}`"


def names(entries: dict) -> str:
    """Return the names of a registry, the default first."""
    return ", ".join(f"`{name}`" for name in entries)


def uses(setting: str) -> Callable[[LearnerSpec], str]:
    """Return what says whether a learner uses a setting."""
    return lambda spec: "yes" if spec.name in used_by(setting) else "no"


ROWS: dict[str, Callable[[LearnerSpec], str]] = {
    "what it is": lambda spec: spec.help,
    "how it adapts": lambda spec: {
        "adaptation": "by gradient steps (`standard`, `hybrid`)",
        "trials": "by its memory (`in_context`)",
        "training": "not trained to",
    }[spec.validation],
    "its memory lasts an": memory,
    "`hybrid`, from experience that it keeps": uses("experience"),
    "actions": lambda spec: ", ".join(f"`{name}`" for name in ACTIONS),
    "images": lambda spec: yes(lambda: config(spec, encoder="cnn")),
    "own environment, class or TOML": lambda spec: (
        "yes" if spec.counts_iterations else "its nominal task"
    ),
    "`--cell`": lambda spec: names(CELLS),
    "`--encoder`": lambda spec: names(ENCODERS),
    "`--surrogate`, in adapting": lambda spec: names(INNER_LOSSES),
    "running normalisation (`--norm_obs`, `--norm_reward`)": uses("norm_obs"),
    "compiled rollouts (`--compile`)": uses("compile"),
    "one GPU (`--device cuda`)": uses("device"),
    "several processes, machines (`torchrun`)": lambda spec: yes(
        lambda: check_tasks_to_share(config(spec), 2)
    ),
    "`sweep`": lambda spec: yes(lambda: search_space(["outer_lr=1e-4..1e-2:log"], spec.name)),
    "`train --resume`, bit for bit": lambda spec: "yes",
    "`export`": lambda spec: names(FORMATS),
    "the Hub": lambda spec: "yes",
}


def page() -> str:
    """Return the page."""
    head = (
        "| | " + " | ".join(f"`{name}`" for name in LEARNERS) + " |\n|---|" + "---|" * len(LEARNERS)
    )
    rows = [
        f"| {what} | " + " | ".join(said(spec) for spec in LEARNERS.values()) + " |"
        for what, said in ROWS.items()
    ]
    return HEAD + "\n".join([head, *rows]) + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
