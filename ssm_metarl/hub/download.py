"""From a repository of the Hub to a folder like any other, of one commit."""

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.hub.client import asking

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CHECKPOINT_FILE = r"(checkpoint\.json|state-[0-9]{1,18}\.safetensors)"
NEEDED = re.compile(rf"config\.json|family\.toml|(checkpoint|agent)/{CHECKPOINT_FILE}")
EXPERIENCE = "experience/store.sqlite"
COMMIT = re.compile(r"[0-9a-f]{40}")
MAX_BYTES = 4 * 1024**3


def fetch(name: str, revision: str | None = None) -> Path:
    """Download what belongs to a run or an agent, and nothing else, as plain files.

    Each commit has a folder of its own, which is there whole or not at all: files of two commits
    never mix. (`local_dir` of huggingface_hub keeps files that a newer commit has no more, and is
    returned as it is, with a line in the log, where the Hub cannot be asked.) It is not the shared
    cache, which is made of links: checkpoints refuse those.

    Args:
        name: ``owner/name``.
        revision: A branch, tag or commit; None for the newest. A commit that has been downloaded
            before needs no connection.

    Returns:
        The folder.

    Raises:
        UserError: There is no such repository or revision, or it holds nothing of ours, or too
            much.
        SsmMetaRLError: The Hub cannot be reached.
    """
    place = Path.home() / ".cache" / "ssm-metarl" / name.replace("/", "--")
    if revision and COMMIT.fullmatch(revision) and (place / revision).is_dir():
        return place / revision
    with asking(name, revision) as api:
        info = api.model_info(name, revision=revision, files_metadata=True)
        commit = str(info.sha)
        if not COMMIT.fullmatch(commit):
            raise SsmMetaRLError(f"hf://{name}: the Hub names no commit, but {commit!r}")
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        files = wanted(sizes, name)
        total = sum(sizes[file] for file in files)
        if total > MAX_BYTES:
            raise UserError(
                f"hf://{name} holds {total:,} bytes; at most {MAX_BYTES:,} are downloaded"
            )
        if not (place / commit).is_dir():
            _download(api, name, commit, files, place)
    return place / commit


def wanted(files: dict[str, int], name: str) -> list[str]:
    """Return those files of a repository that belong to a run or an agent.

    Raises:
        UserError: There is neither.
    """
    if not is_ours(files):
        raise UserError(
            f"hf://{name} holds no run or agent of ssm-metarl: there is no checkpoint.json in "
            "checkpoint or agent"
        )
    return [file for file in sorted(files) if NEEDED.fullmatch(file) or file == EXPERIENCE]


def is_ours(files: dict[str, int]) -> bool:
    """Whether a repository's files are those of a run or an agent."""
    run = {"config.json", "checkpoint/checkpoint.json"} <= files.keys()
    return run or "agent/checkpoint.json" in files


def _download(api: "HfApi", name: str, commit: str, files: list[str], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=place) as new:
        folder = Path(new) / commit
        for file in files:
            api.hf_hub_download(name, file, revision=commit, local_dir=folder)
        with contextlib.suppress(FileExistsError, OSError):  # another process was first
            os.rename(folder, place / commit)
    if not (place / commit).is_dir():
        raise SsmMetaRLError(f"{place / commit} cannot be written")
