"""Plain words for what has a name: ways of adapting, families, learners and agents."""

from html import escape

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.evaluation.modes import EXPLAINED
from ssm_metarl.evaluation.report import MODES
from ssm_metarl.ui.store import RunStore

TRAINED = {
    "meta_rl": "meta-trained to adapt by a gradient step on a few episodes (MAML)",
    "rl2": "trained to work out each task in its memory while it plays (RL²)",
    "policy_gradient": "trained on the one ordinary task, and never to adapt (PPO)",
}
BOTH = "meta-trained to adapt in its memory while it plays, and by a gradient step (MAML)"
MEMORIES = {
    "ssm": "its memory is a state space",
    "gated": "its memory is a gated state space",
    "gru": "its memory is a GRU",
    "mlp": "it has no memory",
}
BEFORE = "before adapting"


def ways_explained() -> str:
    """Return a folded list of the ways of adapting and what an agent does in each."""
    ways = "".join(
        f"<dt>{escape(BEFORE if mode == 'zero_shot' else MODES[mode])}</dt><dd>{escape(words)}</dd>"
        for mode, words in EXPLAINED.items()
    )
    return f'<details class="ways"><summary>What are these?</summary><dl>{ways}</dl></details>'


def in_short(family: TaskFamily) -> str:
    """Return what a family is about in a few words: ``balance poles of different physics``."""
    return family.description.partition(";")[0]


def family_choices() -> list[tuple[str, str]]:
    """Return the families as people choose them: name and a few words, and the name."""
    return [(f"{family.name}: {in_short(family)}", family.name) for family in list_families()]


def about(store: RunStore, run: object) -> str:
    """Say in a line what an agent is: how it was trained, on what, and what it remembers with.

    Empty where there is no such run or its settings cannot be read; whoever uses it hears of that.
    """
    try:
        config = store.config(run)
        family = get_family(config.env_name)
    except SsmMetaRLError:
        return ""
    trained = BOTH if config.adapts_both_ways else TRAINED[config.mode]
    memory = MEMORIES[config.cell]
    return f"{family.name}: {in_short(family)}. The agent was {trained}; {memory}."
