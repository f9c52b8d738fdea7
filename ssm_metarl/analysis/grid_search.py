"""The best way to search the hidden goal of GridWorld-v0, computed exactly.

Until the goal is found nothing that is seen tells more than which cells it is not in, so a policy
is one path; from then on it is known. A path's return is a sum over the cells of what it is worth
to find the goal there at that time, weighted by their chances. So the best path follows by dynamic
programming over where one is and which cells have been visited.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ssm_metarl.env_runner.simulators.grid_world import (
    ELSEWHERE,
    EPISODE_STEPS,
    FOUND,
    GOALS,
    MOVES,
    SIDE,
)

CELLS = [(x, y) for x in range(SIDE) for y in range(SIDE)]
NUMBER = {cell: CELLS.index(cell) for cell in CELLS}
_GOAL_CELLS = np.array([NUMBER[goal] for goal in GOALS])
BEAM = 300  # partial paths that the first, inexact search keeps: its return is the bound to beat


class Search(NamedTuple):
    """A path, and what it brings."""

    cells: Int[np.ndarray, "steps"]
    """After each step, if the goal has not been found."""
    returns: Float[np.ndarray, "episodes"]
    """Mean over all goals of each episode's return."""


def best_search(episodes: int, steps: int = EPISODE_STEPS) -> Search:
    """Return what maximises the expected return of a trial: the Bayes-optimal policy."""
    problem = _Problem(episodes, steps)
    path = problem.solve(problem.solve(None, BEAM)[0])[1]
    return Search(path, returns_of_path(path, episodes))


def returns_with_known_goal(steps: int = EPISODE_STEPS) -> float:
    """Return the mean return of an episode of who knows the goal."""
    return float(_after_finding(steps).mean())


def returns_of_path(path: Int[np.ndarray, "steps"], episodes: int) -> Float[np.ndarray, "episodes"]:
    """Return each episode's mean return of a path that is left once the goal is found."""
    steps, total = len(path) // episodes, np.zeros(episodes)
    known = _after_finding(steps)
    for goal, afterwards in zip(_GOAL_CELLS, known, strict=True):
        found = False
        for episode, part in enumerate(path.reshape(episodes, steps)):
            if found:
                total[episode] += afterwards
                continue
            for cell in part:
                found = found or cell == goal
                total[episode] += FOUND if found else ELSEWHERE
    return total / len(GOALS)


def _after_finding(steps: int) -> Float[np.ndarray, "goals"]:
    """Return an episode's return for each goal, if it is known."""
    way = np.array(GOALS).sum(1) - 1  # steps that do not yet lead to it
    return ELSEWHERE * way.clip(0, steps) + FOUND * (steps - way).clip(0)


class _Problem:
    """Paths through some episodes, step by step."""

    def __init__(self, episodes: int, steps: int) -> None:
        self.episodes, self.steps = episodes, steps
        place = np.array(CELLS)
        moved = (place[:, None] + np.array(MOVES)).clip(0, SIDE - 1)
        self.moves = moved @ np.array([SIDE, 1])  # [cells, actions]
        self.distance = np.abs(place[:, None] - place[_GOAL_CELLS]).sum(-1)  # [cells, goals]
        self.worth = self._worth()

    def _worth(self) -> Float[np.ndarray, "steps goals"]:
        """Return what it adds to the return to find a goal at step 1, 2, ...; last, at none."""
        number = np.arange(self.episodes * self.steps)
        left = self.steps - number % self.steps  # of the episode, this step included
        later = self.episodes - 1 - number // self.steps
        known = _after_finding(self.steps)
        unknown = ELSEWHERE * self.steps
        gain = ((FOUND - ELSEWHERE) * left)[:, None] + later[:, None] * (known - unknown)
        return np.vstack([gain, np.zeros_like(known)]) / len(GOALS)

    def solve(self, least: float | None, keep: int | None = None) -> tuple[float, np.ndarray]:
        """Return the most that can be gained, and the path.

        Args:
            least: What some path gains: those that cannot gain as much are left out. None: nothing.
            keep: Paths that are kept at every step, the most promising ones; None for all.
        """
        cell, visited = np.zeros(1, np.int64), np.zeros(1, np.int64)
        gained, path = np.zeros(1), np.zeros((1, 0), np.int8)
        for number in range(self.episodes * self.steps):
            if number % self.steps == 0:
                cell = np.zeros_like(cell)
            origin = np.repeat(np.arange(len(cell)), len(MOVES))
            cell = self.moves[cell].ravel()
            visited, gained = self._visit(number, cell, visited[origin], gained[origin])
            best = _best_of_each(cell + len(CELLS) * visited, gained)
            most = gained[best] + self._bound(number + 1, cell[best], visited[best])
            if least is not None:
                best = best[most >= least - 1e-9]
            elif keep:
                best = best[np.argsort(-most)[:keep]]
            path = np.column_stack([path[origin[best]], cell[best].astype(np.int8)])
            cell, visited, gained = cell[best], visited[best], gained[best]
        winner = gained.argmax()
        return float(gained[winner]), path[winner].astype(np.int64)

    def _visit(
        self, number: int, cell: np.ndarray, visited: np.ndarray, gained: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the cells that have been visited, as bits, and the gain, after a step."""
        goal = np.full(len(CELLS), -1)
        goal[_GOAL_CELLS] = np.arange(len(GOALS))
        here = goal[cell]
        bit = np.where(here >= 0, 1 << here.clip(0), 0)
        new = (visited & bit) != bit
        return visited | bit, gained + np.where(new, self.worth[number, here], 0.0)

    def _bound(
        self, number: int, cell: np.ndarray, visited: np.ndarray
    ) -> Float[np.ndarray, "paths"]:
        """Return at least what can still be gained: every cell as soon as it could be reached."""
        start = -(-number // self.steps) * self.steps  # of the next episode
        soon = number + self.distance[cell].clip(1) - 1
        home = start + self.distance[0] - 1
        soon = np.where(soon < start, soon, home)
        left = (visited[:, None] >> np.arange(len(GOALS))) & 1 == 0
        soon = np.where(left, soon, len(self.worth) - 1).clip(max=len(self.worth) - 1)
        return self.worth[soon, np.arange(len(GOALS))].sum(1)


def _best_of_each(key: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Return the rows that have gained most among those of the same key."""
    order = np.lexsort((-gained, key))
    return order[np.concatenate([[True], np.diff(key[order]) != 0])]
