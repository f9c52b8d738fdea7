"""From files to one commit on the Hub, after it has been said what will be in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ssm_metarl.errors import UserError
from ssm_metarl.hub.client import LOG_IN, asking, check_installed
from ssm_metarl.hub.download import is_ours

KEPT = (".gitattributes", "README.md")  # what a new repository holds


@dataclass(frozen=True)
class Upload:
    """What a push is going to do.

    Attributes:
        name: ``owner/name``.
        files: Their contents, by their names in the repository.
        private: Whether the repository is, or is going to be.
        there: The sizes of its files; None if it does not exist yet.
        commit: The newest commit of it, which the new one comes after.
    """

    name: str
    files: Mapping[str, Path | bytes]
    private: bool
    there: Mapping[str, int] | None
    commit: str | None = None

    @property
    def removed(self) -> list[str]:
        """Files of an earlier push that are not among the new ones."""
        return sorted(self.there.keys() - self.files.keys() - {*KEPT}) if self.there else []

    def describe(self) -> Iterator[str]:
        """Yield lines that say where files go, which, how large they are, and what is removed."""
        state = "private" if self.private else "public"
        whose = "a new repository" if self.there is None else "the repository that is there"
        yield f"hf://{self.name}: {state}, {whose}"
        yield from listed(self.files)
        yield from (f"  {'removed':>11}  {name}" for name in self.removed)


def listed(files: Mapping[str, Path | bytes]) -> Iterator[str]:
    """Yield a line for each file, and one for all."""
    sizes = {
        name: len(data) if isinstance(data, bytes) else data.stat().st_size
        for name, data in files.items()
    }
    yield from (f"  {size:>11,}  {name}" for name, size in sizes.items())
    yield f"  {sum(sizes.values()):>11,}  bytes in all"


def plan(name: str, files: Mapping[str, Path | bytes], *, private: bool) -> Upload:
    """Ask the Hub what is there, and return what a push would do; nothing is changed yet.

    Raises:
        UserError: Nobody is logged in, something else has that name, or the repository is public
            and a private one was asked for.
        SsmMetaRLError: The Hub cannot be reached.
    """
    check_installed()
    from huggingface_hub import get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if get_token() is None:
        raise UserError(f"you are not logged in at the Hugging Face Hub; {LOG_IN}")
    with asking(name) as api:
        try:
            info = api.model_info(name, files_metadata=True)
        except RepositoryNotFoundError:
            return Upload(name, files, private, None)
    there = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if not is_ours(there) and there.keys() - {*KEPT}:
        raise UserError(
            f"hf://{name} holds something else, such as {min(there.keys() - {*KEPT})}; choose "
            "another name"
        )
    if private and not info.private:
        raise UserError(
            f"hf://{name} exists and is public; --public pushes to it all the same, or make it "
            "private in its settings on the Hub"
        )
    return Upload(name, files, bool(info.private), there, info.sha)


def carry_out(upload: Upload) -> str:
    """Make the repository, if it is new, and one commit with all files; return the commit.

    Raises:
        UserError: There is no right to do so.
        SsmMetaRLError: The Hub cannot be reached, or somebody else has pushed meanwhile.
    """
    check_installed()
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    with asking(upload.name) as api:
        if upload.there is None:
            api.create_repo(upload.name, private=upload.private)
        done = api.create_commit(
            upload.name,
            [
                *(CommitOperationAdd(name, data) for name, data in upload.files.items()),
                *(CommitOperationDelete(name) for name in upload.removed),
            ],
            commit_message="Push by ssm-metarl",
            parent_commit=upload.commit,
        )
    return done.oid
