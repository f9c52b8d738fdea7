"""SECURITY.md keeps what it promises: each line of its threat model names a test that exists."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LINES = [
    line
    for line in (TESTS.parent / "SECURITY.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| A stranger's", "| ---"))
]


@pytest.mark.parametrize("line", LINES)
def test_every_line_of_the_threat_model_has_a_test(line: str) -> None:
    named = re.search(r"`([\w/]+\.py)::(\w+)` \|$", line)
    assert named is not None, "a line without a test"
    functions = ast.walk(ast.parse((TESTS / named[1]).read_text()))
    assert named[2] in {f.name for f in functions if isinstance(f, ast.FunctionDef)}


def test_there_is_a_threat_model() -> None:
    assert len(LINES) > 20
