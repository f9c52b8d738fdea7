"""Write docs/learners.md from the registries and the checks: ``python docs/learners.py``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.encoders import ENCODERS
from ssm_metarl.deployment.formats import FORMATS
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import ADAPTS, INNER_LOSSES, LEARNERS, LearnerSpec, used_by
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
- All agents can be adapted by `standard`; only learners that adapt by gradient steps train it
  ([which mode does what](adaptation.md)).

## Which method is which flag

All of these but RL² meta-train gradient steps, work with every cell and kind of action, and go
together: `--mode promp --adapts context --learn_inner_lr` is valid. The order is that of the
derivatives of the inner loss that the outer step takes. Time and memory are those of a meta-step
relative to MAML's, by `benchmarks/learners.py` ({settings};
other settings by default, one core, {rounds} rounds).

{methods}

- **ANIL** rests on the finding that features hardly change where all adapts (Raghu et al. 2020, in
  classification above all): compare both on your family.
- **CAVIA**: the context starts at zero on each task and is never trained; what it does to the
  policy is. Its rate is not that of weights: begin with an `--inner_lr` ten times as large.
  Exported files hold the context that the agent has adapted.
- **Reptile** takes `--inner_steps` steps and one more on the query data, so that k of its paper is
  one more, too. It does not learn what pays only after a step, such as where to look first.
- **MAML-TRPO** has neither an outer rate nor clipping: `--target_kl` bounds the mean divergence of
  the adapted policies from those that played. Every trial of its line search adapts again; where
  none is good, nothing changes.
- **ProMP** is what MAML is here (`lvc`, clipping, several epochs) and a penalty on what the epochs
  change *before* adapting. `--kl_coefficient` is its coefficient at first, which then follows the
  divergence, up and down, towards `--target_kl`.
- Which inner loss is biased, and which is noisy, is in [gradients](gradients.md).
"""
MEASURED = Path(__file__).parents[1] / "benchmarks" / "results" / "learners.json"


class Method(NamedTuple):
    """A published method: how to ask for it, what it does, and where it is from.

    ``measured`` is its name in the benchmark; empty where there is nothing to compare.
    """

    flags: str
    what: str
    order: str
    paper: str
    measured: str


METHODS: dict[str, Method] = {
    "MAML": Method(
        "`--mode meta_rl`", "differentiates through the inner step", "2", "1703.03400", "MAML"
    ),
    "FOMAML": Method(
        "`--first_order`", "takes the inner gradient for a constant", "1", "1703.03400", "FOMAML"
    ),
    "Meta-SGD": Method(
        "`--learn_inner_lr`", "also learns a rate per parameter", "2", "1707.09835", "Meta-SGD"
    ),
    "ANIL": Method("`--adapts heads`", "adapts the action head alone", "2", "1909.09157", "ANIL"),
    "CAVIA": Method(
        "`--adapts context`", "adapts a context vector alone", "2", "1810.03642", "CAVIA"
    ),
    "DiCE": Method(
        "`--surrogate dice`", "inner loss exact to any order", "2", "1802.05098", "DiCE"
    ),
    "loaded DiCE": Method(
        "`--surrogate loaded_dice`",
        "between `lvc` and DiCE, by `--dice_lambda`",
        "2",
        "1909.10549",
        "loaded DiCE",
    ),
    "E-MAML": Method(
        "`--surrogate emaml`",
        "credits the support data (sampling term)",
        "2",
        "1803.01118",
        "E-MAML",
    ),
    "ProMP": Method(
        "`--mode promp`", "MAML with penalties before the steps", "2", "1810.06784", "ProMP"
    ),
    "MAML-TRPO": Method(
        "`--mode maml_trpo`", "the MAML paper's outer step", "3", "1703.03400", "MAML-TRPO"
    ),
    "Reptile": Method(
        "`--mode reptile`", "moves towards the adapted parameters", "1", "1803.02999", "Reptile"
    ),
    "RL²": Method("`--mode rl2`", "adapts by its memory alone", "", "1611.02779", ""),
}


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
    "`--adapts`": lambda spec: names(ADAPTS) if spec.name in used_by("adapts") else "",
    "`--surrogate`, in adapting": lambda spec: names(INNER_LOSSES),
    "running normalisation (`--norm_obs`, `--norm_reward`)": uses("norm_obs"),
    "compiled rollouts (`--compile`)": uses("compile"),
    "one GPU (`--device cuda`)": uses("device"),
    "several processes, machines (`torchrun`)": lambda spec: yes(
        lambda: check_tasks_to_share(config(spec), 2)
    ),
    "`sweep`": lambda spec: yes(lambda: search_space(["inner_lr=1e-4..1e-2:log"], spec.name)),
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
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    sizes = measured["settings"]
    settings = f"{measured['family']}, {sizes['tasks_per_epoch']} tasks of "
    settings += f"{sizes['episodes_per_task']} episodes of {sizes['support_steps']} and as many of "
    settings += f"{sizes['query_steps']} steps"
    tail = TAIL.format(
        settings=settings, rounds=measured["rounds"], methods=methods_table(measured["methods"])
    )
    return HEAD + "\n".join([head, *rows]) + "\n" + tail


def methods_table(measured: dict[str, dict[str, float]]) -> str:
    """Return the table of methods with their cost."""
    lines = ["| method | flag | what it does | paper | order | time | memory |", "|---" * 7 + "|"]
    for name, one in METHODS.items():
        cost = measured.get(one.measured, {"time": "", "memory": ""})
        paper = f"[{one.paper}](https://arxiv.org/abs/{one.paper})"
        cells = [name, one.flags, one.what, paper, one.order, cost["time"], cost["memory"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
