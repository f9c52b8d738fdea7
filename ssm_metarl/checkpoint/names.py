"""Names of runs: what a folder must be called for the web page to know it as a run."""

import re

LONGEST = 64
RUN_ID = re.compile(rf"[a-z0-9-]{{1,{LONGEST}}}")


def as_name(text: str, ending: str = "") -> str:
    """Return the valid name nearest to any text, cut where it and its valid ending are too long."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "run"
    return plain[: LONGEST - len(ending)] + ending
