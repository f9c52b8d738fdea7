"""From an agent to a file that acts without this package."""

from pathlib import Path

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.checkpoint.files import check_writable, write_bytes_atomically
from ssm_metarl.core.torch_state import in_usual_torch
from ssm_metarl.deployment.formats import FORMATS
from ssm_metarl.errors import UserError, nearest


@in_usual_torch
def export(agent: Agent, path: str | Path, *, sample: bool = False) -> Path:
    """Write one acting step of an agent, with its memory as an input and an output, into one file.

    The file acts as :meth:`Agent.predict` does; docs/deployment.md says how it is used. It does not
    learn: an agent that adapts by gradient steps is adapted first, one that adapts in context goes
    on doing so.

    Args:
        agent: Any agent, as trained or adapted.
        path: Its suffix chooses the format: ``.onnx``, ``.pt2`` or ``.c``. A file that is there is
            replaced.
        sample: Let it sample its actions, from noise that is one more input, rather than take the
            most likely ones.

    Returns:
        The path.

    Raises:
        UserError: The suffix is of no format, an extra is missing, a part of the network cannot be
            exported, or the folder cannot be written.
    """
    if not isinstance(agent, Agent):
        raise UserError(f"{type(agent).__name__} is not an agent; pass one, such as sm.load(RUN)")
    path = check_destination(path)
    write_bytes_atomically(path, FORMATS[path.suffix].load()(agent, sample=sample))
    return path


def check_destination(path: str | Path) -> Path:
    """Return where a file goes, if it can go there.

    Raises:
        UserError: Its suffix is of no format, it is a folder, or its folder cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise UserError(f"{path} ends in no known suffix; {nearest(path.suffix, FORMATS)}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    check_writable(path.parent)
    return path
