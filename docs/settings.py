"""Write docs/settings.md from the settings themselves: ``python docs/settings.py``."""

import re
from pathlib import Path

from ssm_metarl.meta_rl.registry import LEARNERS, used_by
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.defaults import default_text
from ssm_metarl.training.settings import settings_of

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Every setting of a training

Flags of `ssm-metarl train`, fields of `TrainConfig`, keys of `config.json`. This page is written
by `python docs/settings.py` from `ssm_metarl/training/config.py` and the registry of learners.

| setting | learners | default | valid | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the page."""
    rows = []
    for name, one in settings_of(TrainConfig).items():
        users = "all" if len(used_by(name)) == len(LEARNERS) else ", ".join(used_by(name))
        rows.append(f"| `{name}` | {users} | {default_text(one)} | {one.valid} | {one.help} |\n")
    return HEAD + re.sub(r"(?<!`)--\w+", r"`\g<0>`", "".join(rows))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
