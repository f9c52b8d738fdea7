"""The blocks of code in the README, the docs and the examples, and what runs them."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from ssm_metarl.cli import COMMANDS
from ssm_metarl.parsing import parse

ROOT = Path(__file__).parent.parent
FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "examples/*.md",
    "examples/browser/*.md",
    "examples/*.ipynb",
)
NAMES = sorted(str(path.relative_to(ROOT)) for files in FILES for path in ROOT.glob(files))
FENCE = re.compile(r"^```(\S*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELLS = ("bash", "sh", "console")
OTHERS = {"cc", "cd", "command", "curl", "docker", "git", "hf", "npm", "npx", "pre-commit"}
"""Programs that are not ours; nothing is known of what they take."""


def blocks(name: str, *languages: str) -> list[str]:
    """Return the blocks of a file, a page or a notebook, that are in one of some languages."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".ipynb"):
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        return ["".join(cell["source"]) for cell in cells] if "python" in languages else []
    return [code for language, code in FENCE.findall(text) if language in languages]


def commands(name: str) -> Iterator[list[str]]:
    """Yield each command of a file's blocks as words, without the variables set before it."""
    for block in blocks(name, *SHELLS):
        known: dict[str, str] = {}
        for line in block.replace("\\\n", " ").splitlines():
            for key, value in known.items():
                line = line.replace(f"${key}", value)
            words = shlex.split(line.strip("$ "), comments=True)
            words = words[words[:1] == ["export"] :]
            while words and re.match(r"\w+=", words[0]):
                key, _, known[key] = words.pop(0).partition("=")
            if words:
                yield words


def check(words: list[str]) -> None:
    """Check that a command is one that there is, with flags and values that it takes."""
    program, *rest = words[0].removeprefix(".venv/bin/"), *words[1:]
    if "ssm_metarl" in rest or program == "torchrun":
        program, *rest = "ssm-metarl", *rest[rest.index("ssm_metarl") + 1 :]
    if program == "python" and rest[0] == "main.py":
        program, rest = "ssm-metarl", ["train", *rest[1:]]
    if program == "ssm-metarl":
        command, *flags = rest
        if command != "--help":
            parse(COMMANDS[command][0], command, flags)
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= {*targets}, words
    elif program == "pip":
        for extra in re.findall(r"ssm-metarl\[(.*)\]", " ".join(rest)):
            project = (ROOT / "pyproject.toml").read_text()
            assert all(f"\n{one} = [" in project for one in extra.split(",")), words
    elif program in ("python", "bash") and rest[0] == "-m":
        module = rest[1].replace(".", "/")
        assert module == "venv" or list(ROOT.glob(f"{module}*")), words
    elif program in ("python", "bash"):
        assert (ROOT / rest[0]).exists(), words
    else:
        assert program in OTHERS, words
