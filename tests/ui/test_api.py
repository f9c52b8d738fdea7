"""The page's endpoints, as its example uses them."""

import subprocess
import sys
from pathlib import Path

import pytest
from visiting import Site

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "page_client.py"


def test_the_example_lists_agents_and_adapts_one(site: Site) -> None:
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE), site.url], capture_output=True, text=True, check=True
    )
    lines = ran.stdout.splitlines()
    assert "cartpole: CartPole-v1, adapts by standard, hybrid, from_scratch" in lines
    assert any(line.startswith("Mean return ") and "after 1 episode" in line for line in lines)
    assert len([line for line in lines if line.startswith("hybrid ")]) == 3
