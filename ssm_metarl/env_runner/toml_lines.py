"""Where a key stands in the text of a TOML file, which Python's reader does not tell."""

import re

KeyPath = tuple[str | int, ...]
"""Where something is in a file: names of tables and keys, and numbers in lists."""


def line_of(text: str, path: KeyPath) -> int:
    """Return the number of the line in which a key of a TOML text stands, or what holds it."""
    best, depth, table, counts = 1, 0, (), {}
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[\[?)([^\[\]]+)\]", line)
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if header:
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
        elif not key:
            continue
        here = table if header else (*table, *_parts(key[1] if key else ""))
        if path[: len(here)] == here and len(here) > depth:
            best, depth = number, len(here)
    return best


def _parts(dotted: str) -> KeyPath:
    return tuple(part.strip(" \t\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", dotted))
