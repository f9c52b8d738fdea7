"""Entries of the registries of cells and encoders."""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A class that is imported when it is first needed, so that listing names needs no torch.

    Attributes:
        help: One line for the command line and the page.
        module: Module of the class.
        name: Name of the class.
    """

    help: str
    module: str
    name: str

    def load(self) -> Any:  # noqa: ANN401 (a class that follows one of core/protocols.py)
        """Import the class."""
        return getattr(importlib.import_module(self.module), self.name)
