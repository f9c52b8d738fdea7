"""Tables, notes and numbers, as the tabs that look closer write them."""

from collections.abc import Iterable, Sequence
from html import escape


def table(heads: Sequence[str], rows: Iterable[str], name: str) -> str:
    """Return a table that scrolls by itself where it is too wide."""
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def percent(share: float) -> str:
    """Return a share in words, in which little is not nothing."""
    return "<1%" if 0.0 < share < 0.005 else f"{share:.0%}"


def note(text: str) -> str:
    """Return a paragraph that explains what stands beside it."""
    return f'<p class="note">{escape(text)}</p>'


def numbered(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return one value per step as points of a line."""
    return [(float(step), value) for step, value in enumerate(values)]
