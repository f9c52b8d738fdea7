"""``ssm-metarl push``: a run or an agent on the Hugging Face Hub."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ssm_metarl.commands.common import FAMILY_FLAG, RUN, TRUST, load_agent
from ssm_metarl.errors import UserError
from ssm_metarl.hub.client import check_name, is_address
from ssm_metarl.training.settings import check_settings, setting


@dataclass(frozen=True)
class Push:
    """Upload a run or a saved agent to the Hugging Face Hub, with a model card (docs/hub.md).

    Evaluate first: the card has the numbers of evaluation.json. What will be uploaded is said
    before it is.
    """

    run: str = setting(**{**RUN, "help": "The folder of a run or of a saved agent."})
    name: str = setting(
        help="The repository, as owner/name; it is made if there is none.",
        positional=True,
        metavar="NAME",
    )
    public: bool = setting(False, "Let everybody see it.", negatable=False)
    with_experience: bool = setting(
        False, "Also upload the episodes of training, for hybrid adaptation.", negatable=False
    )
    license: str = setting("mit", "Licence of the agent, by the Hub's identifier of it.")
    dry_run: bool = setting(
        False, "Show the card and what would be uploaded, and upload nothing.", negatable=False
    )
    family: Path | None = setting(None, **FAMILY_FLAG)
    trust_env_code: bool = setting(False, TRUST)

    def __post_init__(self) -> None:
        check_settings(self)
        if is_address(self.run):
            raise UserError(f"{self.run} is on the Hub already; name a folder")
        check_name(self.name)


def run(asked: Push, _: Collection[str]) -> int:
    """Say what is uploaded, upload it, say where it is; return 0."""
    from ssm_metarl.hub.upload import listed
    from ssm_metarl.training.publish import gathered, push_to_hub

    load_agent(asked.run, asked.family, asked.trust_env_code)  # whose checks know the flags
    options = {
        "with_experience": asked.with_experience,
        "license": asked.license,
        "trust_env_code": asked.trust_env_code,
    }
    if asked.dry_run:
        with gathered(asked.run, asked.name, **options) as files:
            print(bytes(files["README.md"]).decode())
            print(*listed(files), sep="\n")
        return 0
    print(push_to_hub(asked.run, asked.name, private=not asked.public, **options))
    return 0
