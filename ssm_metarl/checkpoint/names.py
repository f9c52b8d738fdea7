"""Names of runs: what a folder must be called for the web page to know it as a run."""

import re

LONGEST = 64
RUN_ID = re.compile(rf"[a-z0-9-]{{1,{LONGEST}}}")


def as_name(text: str, ending: str = "") -> str:
    """Return the valid name that is nearest to a text, cut where it and its ending are too long.

    Args:
        text: Anything, such as the id of an environment.
        ending: What follows it; valid already, and kept whole.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "run"
    return plain[: LONGEST - len(ending)] + ending
