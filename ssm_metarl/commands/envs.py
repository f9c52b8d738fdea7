"""``ssm-metarl envs``: the list of families."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ssm_metarl.commands.common import FAMILY_FLAG, plain_table, register_file
from ssm_metarl.console import show
from ssm_metarl.evaluation.report import counted
from ssm_metarl.training.settings import check_settings, setting


@dataclass(frozen=True)
class Envs:
    """List the families of tasks, their parameters and ranges."""

    family: Path | None = setting(None, **FAMILY_FLAG)
    trust_env_code: bool = setting(False, "Allow a family whose environment or file is code.")

    def __post_init__(self) -> None:
        check_settings(self)


def run(asked: Envs, _: Collection[str]) -> int:
    """List the families with their parameters and ranges; return the exit code."""
    from ssm_metarl.env_runner.registry import list_families

    register_file(asked.family, trust_env_code=asked.trust_env_code)
    for family in list_families(extras=True):
        table = plain_table(
            f"[bold]{family.name}[/]: {family.description}",
            f"  Episodes of {counted(family.max_episode_steps, 'step')}.\n",
        )
        for name in ("parameter", "training", "shifted test", "nominal", "unit", "what it is"):
            table.add_column(name, no_wrap=name == "parameter")
        for parameter in family.parameters:
            table.add_row(
                parameter.name,
                parameter.range_text,
                parameter.shifted_text,
                f"{parameter.default:g}",
                parameter.unit,
                parameter.description,
            )
        show(table)
    print("Meta-World's ML1-reach-v3 (or another of its tasks), ML10 and ML45 are families too,")
    print("with the extra [metaworld]. Any other Gymnasium id works, as a family of one task.")
    return 0
