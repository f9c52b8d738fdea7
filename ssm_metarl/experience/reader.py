"""Reading records as trajectories."""

import sqlite3

import numpy as np
from jaxtyping import Int32

from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.experience.database import read_chunks
from ssm_metarl.experience.index import Index
from ssm_metarl.experience.layout import CHUNK_ROWS, Layout
from ssm_metarl.experience.records import Record, checksum_of

MAX_BYTES = 2 * 1024**3  # of one trajectory, padding included


class Reader:
    """Reads what a index knows of; the caller wraps each use in a transaction."""

    def __init__(self, database: sqlite3.Connection, layout: Layout, index: Index) -> None:
        self._database, self.layout, self.index = database, layout, index

    def trajectory(self, task: int, *, allow_unknown_behaviour: bool = False) -> Trajectory | None:
        """Return what is intact of a task as ``[T, 1, E]``; None if nothing is.

        Raises:
            ValueError: Its behaviour is not known, or it takes too many bytes.
        """
        held = self.index.held()
        records = held[held["task"] == task]
        check_behaviour(records, allow_unknown_behaviour)
        longest = int(records["steps"].max(initial=0)) + 1
        if longest * len(records) * self.layout.row_bytes > MAX_BYTES:
            raise ValueError(f"{len(records)} trajectories take more than {MAX_BYTES} bytes")
        found = [
            self.rows(record, 0, record.steps) for record in map(Record._make, records.tolist())
        ]
        intact = [rows for rows in found if rows is not None]
        if not intact:
            return None
        shape = max(map(len, intact)), len(intact), self.layout.row_words
        block = np.zeros(shape, dtype=np.int32)
        for lane, rows in enumerate(intact):
            block[: len(rows), lane] = rows
        fields = self.layout.unpack(block)
        return Trajectory(**{name: f.unsqueeze(1).contiguous() for name, f in fields.items()})

    def rows(self, record: Record, first: int, stop: int) -> Int32[np.ndarray, "n W"] | None:
        """Return rows `first` to `stop`, both included, of a record; None if they are damaged."""
        begin, end = first // CHUNK_ROWS, stop // CHUNK_ROWS
        largest = CHUNK_ROWS * self.layout.row_bytes
        chunks = read_chunks(self._database, record.id, begin, end, largest)
        rows = self.layout.rows(chunks, begin, record.steps + 1, checksum_of(record))
        if rows is None:
            self.index.leave_out(record.id)
            return None
        return rows[first - begin * CHUNK_ROWS : stop + 1 - begin * CHUNK_ROWS]


def check_behaviour(records: np.ndarray, allow_unknown: bool) -> None:
    """Refuse log-probabilities that are not known to whoever does not expect them.

    Raises:
        ValueError: One of the records `[N]` has them.
    """
    if not allow_unknown and not records["behaviour_known"].all():
        raise ValueError(
            "the log-probabilities of some of the actions are not known, as in imported data; "
            "allow_unknown_behaviour=True gives them as NaN"
        )
