"""``ssm-metarl export``: an agent as a file that acts without this package."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ssm_metarl.commands.common import FAMILY_FLAG, RUN, TRUST, load_agent, made, naming_flag
from ssm_metarl.deployment.formats import FORMATS
from ssm_metarl.training.settings import check_settings, listed, setting


@dataclass(frozen=True)
class Export:
    """Write an agent into one file that acts without this package (docs/deployment.md).

    Adaptation by gradient steps is not exported: adapt first (ssm-metarl adapt --save), then
    export. Agents that adapt in context go on doing so in the file, and are the ones to deploy.
    """

    run: str = setting(**RUN)
    to: Path = setting(
        Path("policy.onnx"),
        f"The file, whose suffix says of what kind it is. {listed(FORMATS, ': ')}.",
        metavar="FILE",
    )
    sample: bool = setting(
        False, "Sample actions, from noise that is one more input; otherwise the most likely ones."
    )
    family: Path | None = setting(None, **FAMILY_FLAG)
    trust_env_code: bool = setting(False, TRUST)

    def __post_init__(self) -> None:
        check_settings(self)


def run(asked: Export, _: Collection[str]) -> int:
    """Export an agent; say where the file is and what it takes and gives; return 0."""
    from ssm_metarl.deployment.description import describe
    from ssm_metarl.deployment.export import check_destination, export
    from ssm_metarl.deployment.step import ActingStep

    with naming_flag("to"):
        check_destination(asked.to)
    agent = load_agent(asked.run, asked.family, asked.trust_env_code).agent
    with naming_flag("to"):
        made("policy", export(agent, asked.to, sample=asked.sample))
    facts = describe(ActingStep(agent, sample=asked.sample), agent.family)
    for name in ("inputs", "outputs", "action"):
        made(name, facts[name])
    return 0
