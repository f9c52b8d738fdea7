"""Which lines and dots of a chart lie on each other, so that none has to hide another."""

import itertools
import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]
Place = tuple[float, ...]  # coordinates, in pixels: of a dot, or of both ends of a stretch
SAME = 2.0  # pixels: what is nearer cannot be told apart
DASH = 14  # pixels of each colour where lines share a stretch
FEW = 40  # points of a line: more are too close to each other for dashes and dots


def together(marks: Sequence[Sequence[Place]]) -> list[list[list[int]]]:
    """Return, for every mark of every line, which lines have one at its place."""
    places: dict[tuple[int, ...], list[int]] = {}
    found: list[list[list[int]]] = []
    for line, own in enumerate(marks):
        found.append([])
        for mark in own:
            cell = tuple(math.floor(value / SAME) for value in mark)
            around = itertools.product(*((here, here - 1, here + 1) for here in cell))
            lines = places.setdefault(next((near for near in around if near in places), cell), [])
            if line not in lines:
                lines.append(line)
            found[-1].append(lines)
    return found


def cut(points: Sequence[Point], at: Iterable[float]) -> list[Point]:
    """Return a line with more points on it: wherever one of `at` falls between two of its own."""
    cuts, result = sorted(set(at)), list(points[:1])
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        result += [(x, y1 + (y2 - y1) * (x - x1) / (x2 - x1)) for x in cuts if x1 < x < x2]
        result.append((x2, y2))
    return result


def stretches(lines: Sequence[Sequence[Point]]) -> list[list[tuple[list[int], list[Point]]]]:
    """Part every line where the lines change that it shares its place with.

    Args:
        lines: Points in pixels, cut at each other's.

    Returns:
        For every line its parts: which lines run there, and the points.
    """
    pieces = [[(*one, *other) for one, other in itertools.pairwise(line)] for line in lines]
    parted = []
    for own, sharing in zip(lines, together(pieces), strict=True):
        ends = zip(itertools.pairwise(own), sharing, strict=True)
        groups = [(which, list(pairs)) for which, pairs in itertools.groupby(ends, lambda e: e[1])]
        parted.append(
            [(which, [pairs[0][0][0], *(end for (_, end), _ in pairs)]) for which, pairs in groups]
        )
    return parted


def dashes(line: int, sharing: Sequence[int]) -> str:
    """Return the SVG attribute with which a line leaves room for those it shares a stretch with."""
    if len(sharing) < 2:
        return ""
    gap, start = DASH * (len(sharing) - 1), DASH * sharing.index(line)
    return f' style="stroke-dasharray:{DASH} {gap};stroke-dashoffset:{-start}"'


def radius(line: int, sharing: Sequence[int]) -> float:
    """Return how large a dot is: those drawn first show as rings around those that follow."""
    return 4 + 2.5 * (len(sharing) - 1 - sharing.index(line))
