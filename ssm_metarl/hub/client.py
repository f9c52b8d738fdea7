"""What a repository of the Hugging Face Hub is called, and what it answers, in one line each."""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ssm_metarl import __version__
from ssm_metarl.errors import SsmMetaRLError, UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ADDRESS = re.compile(r"hf:/+(?P<name>[^@]*)(@(?P<revision>[^@\s]+))?")
NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
LIBRARY = "ssm-metarl"
LOG_IN = "log in with hf auth login, or set HF_TOKEN"
NO_RIGHT = (401, 403)


def is_address(folder: object) -> bool:
    """Whether a name is of the Hub: ``hf://owner/name``, of which Path makes ``hf:/owner/name``."""
    return str(folder).startswith("hf:/")


def read_address(address: str) -> tuple[str, str | None]:
    """Return the name and the revision of ``hf://owner/name`` or ``hf://owner/name@revision``.

    Raises:
        UserError: It is neither.
    """
    found = ADDRESS.fullmatch(address)
    if not found or not NAME.fullmatch(found["name"]):
        raise UserError(
            f"{address} is not valid; a run on the Hugging Face Hub is hf://owner/name, or "
            "hf://owner/name@revision"
        )
    return found["name"], found["revision"]


def check_name(name: str) -> str:
    """Return the name of a repository.

    Raises:
        UserError: It is none.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name on the Hugging Face Hub; valid: owner/name")
    return name


def check_installed() -> None:
    """Refuse to go on without the Hub's package.

    Raises:
        UserError: Naming the extra.
    """
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the Hugging Face Hub needs an extra ({error.name} is missing): "
            "pip install 'ssm-metarl[hub]'"
        ) from error


@contextlib.contextmanager
def asking(name: str, revision: str | None = None) -> Iterator["HfApi"]:
    """Give the Hub's client for a block that is about one repository.

    Raises:
        UserError: The package is missing, there is no such repository or revision, or no right to
            do this.
        SsmMetaRLError: The Hub cannot be reached, or does not do it for another reason.
    """
    check_installed()
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  (httpx's in 1.x, httpx2's in 2.x)
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api = HfApi(library_name=LIBRARY, library_version=__version__)
    try:
        yield api
    except RevisionNotFoundError as error:
        raise UserError(
            f"hf://{name} has no revision {revision!r}; valid: a branch, a tag or a commit of it"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"hf://{name} does not exist, or is private and you may not read it; {LOG_IN}"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in NO_RIGHT:
            raise UserError(
                f"hf://{name}: the Hub does not allow you to do this ({status}); valid: a token "
                "that may write there"
            ) from error
        raise SsmMetaRLError(f"hf://{name}: {_reason(error)}") from error
    except ValueError as error:  # what the client checks by itself, such as the name
        raise UserError(f"hf://{name}: {_reason(error)}") from error
    except (HTTPError, OSError, RuntimeError) as error:  # the last where an upload broke off
        raise SsmMetaRLError(f"hf://{name}: the Hub cannot be reached: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
