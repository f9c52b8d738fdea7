"""The tables of a store: which trajectories it holds of which tasks, and where it stands.

A trajectory that is dropped stays in the file, hidden, as long as one of the last two tags may ask
for it back: each tag is followed by a checkpoint, and a kill may come before or after that.
"""

import json
import sqlite3
from collections.abc import Collection

import numpy as np
from jaxtyping import Int32

from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.experience.database import CHUNKS_PER_RECORD, intact_rows
from ssm_metarl.experience.layout import CHUNK_ROWS, Layout, to_chunks
from ssm_metarl.experience.records import HELD, Record, State, StoredTask, parse_parameters

MAX_STEPS = 10_000_000  # of one record; the chunks of more would not fit its keys
MAX_BYTES = 2 * 1024**3  # of one trajectory, padding included
_STATES = ("now", "newer", "older")
assert MAX_STEPS < CHUNK_ROWS * CHUNKS_PER_RECORD


def check_tables(database: sqlite3.Connection) -> list[int]:
    """Return the ids of records of impossible sizes; a ValueError says what is not a number."""
    kinds = {name: "real" if name == "return_sum" else "integer" for name in Record._fields}
    wrong = " OR ".join(f"typeof({name}) != '{kind}'" for name, kind in kinds.items())
    if database.execute(f"SELECT 1 FROM records WHERE {wrong} LIMIT 1").fetchone():
        raise ValueError("is damaged: its table of records cannot be read")
    load_states(database)
    impossible = f"transitions < 1 OR steps < transitions OR steps > {MAX_STEPS}"
    return [i for (i,) in database.execute(f"SELECT id FROM records WHERE {impossible}")]


def load_states(database: sqlite3.Connection) -> list[State]:
    """Return the present state, and those at the newer and the older tag if there are any."""
    rows = database.execute("SELECT * FROM states LIMIT 3").fetchall()
    states = {name: State(*numbers) for name, *numbers in rows}
    if "now" not in states or not all(type(n) is int for s in states.values() for n in s):
        raise ValueError("is damaged: its state cannot be read")
    return [states[name] for name in _STATES if name in states]


def save_states(database: sqlite3.Connection, now: State, *tags: State) -> None:
    """Replace the states, the newer tag first, and delete what no tag can ask for any more."""
    database.execute("DELETE FROM states")
    rows = zip(_STATES, (now, *tags), strict=False)
    database.executemany(
        "INSERT INTO states VALUES (?, ?, ?, ?, ?, ?)", [(name, *state) for name, state in rows]
    )
    delete_records(
        database,
        f"until < {HELD} AND NOT EXISTS (SELECT 1 FROM states "
        "WHERE name != 'now' AND records.label <= states.label AND records.until > states.label)",
    )


def insert(
    database: sqlite3.Connection,
    records: list[Record],
    rows: Int32[np.ndarray, "n T1 W"],
    tasks: Tasks,
    first_task: int,
) -> None:
    """Write records with their rows, and the tasks that they belong to, numbered from the first."""
    database.executemany(f"INSERT INTO records VALUES ({', '.join('?' * 10)})", records)
    for record, padded in zip(records, rows, strict=True):
        chunks = to_chunks(padded[: record.steps + 1], record.checksum)
        first = record.id * CHUNKS_PER_RECORD
        database.executemany(
            "INSERT INTO chunks VALUES (?, ?, ?)",
            ((key, crc, content) for key, (crc, content) in enumerate(chunks, first)),
        )
    labels = {record.task: record.label for record in records}
    for task, label in labels.items():
        k = task - first_task
        parameters = json.dumps(tasks.parameters(k), allow_nan=False)
        row = task, label, int(tasks.index[k]), parameters
        database.execute("INSERT INTO tasks VALUES (?, ?, ?, ?)", row)


def drop_oldest(database: sqlite3.Connection, capacity: int, label: int) -> None:
    """Drop the oldest records beyond a capacity in transitions, at a label."""
    held = f"FROM records WHERE until = {HELD}"
    (total,) = database.execute(f"SELECT total(transitions) {held}").fetchone()
    oldest_first = iter(database.execute(f"SELECT id, transitions {held} ORDER BY id"))
    dropped = []
    while total > capacity:
        record, transitions = next(oldest_first)
        dropped.append((label, record))
        total -= transitions
    database.executemany("UPDATE records SET until = ? WHERE id = ?", dropped)


def restore(database: sqlite3.Connection, label: int) -> None:
    """Delete the records of later labels, and hold those again that were dropped at one."""
    delete_records(database, f"label > {label}")
    database.execute(f"UPDATE records SET until = {HELD} WHERE until > ?", (label,))


def delete_records(database: sqlite3.Connection, condition: str) -> None:
    """Delete records for good, and those of their tasks that no other record belongs to."""
    found = database.execute(f"SELECT id, task FROM records WHERE {condition}").fetchall()
    if not found:
        return
    ids, tasks = zip(*found, strict=True)
    ranges = [(i * CHUNKS_PER_RECORD, (i + 1) * CHUNKS_PER_RECORD) for i in ids]
    database.executemany("DELETE FROM chunks WHERE key >= ? AND key < ?", ranges)
    database.executemany("DELETE FROM records WHERE id = ?", [(i,) for i in ids])
    near = f"BETWEEN {min(tasks)} AND {max(tasks)}"
    used = f"SELECT task FROM records WHERE task {near}"
    database.execute(f"DELETE FROM tasks WHERE id {near} AND id NOT IN ({used})")


def held_records(
    database: sqlite3.Connection, damaged: Collection[int], only: str = "TRUE"
) -> list[Record]:
    """Return the records that are neither dropped nor damaged, by task."""
    rows = database.execute(
        f"SELECT * FROM records WHERE until = {HELD} AND {only} ORDER BY task, id"
    )
    return [record for record in map(Record._make, rows) if record.id not in damaged]


def read_records(
    database: sqlite3.Connection, records: list[Record], layout: Layout, allow_unknown: bool
) -> dict[int, Int32[np.ndarray, "_ W"] | None]:
    """Return the rows of some records by their ids, None for a damaged one.

    Raises:
        ValueError: Log-probabilities are not known, or the rows take too many bytes.
    """
    if not (allow_unknown or all(record.behaviour_known for record in records)):
        raise ValueError(
            "the log-probabilities of some of the actions are not known, as in imported data; "
            "allow_unknown_behaviour=True gives them as NaN"
        )
    longest = max((record.steps + 1 for record in records), default=0)
    if longest * len(records) * layout.row_bytes > MAX_BYTES:
        raise ValueError(f"{len(records)} trajectories take more than {MAX_BYTES} bytes")
    query = (
        "SELECT crc, content FROM chunks WHERE key BETWEEN ? AND ? AND typeof(crc) = 'integer' "
        "AND typeof(content) = 'blob' AND length(content) <= ? ORDER BY key"
    )
    found = {}
    for record in records:
        first = record.id * CHUNKS_PER_RECORD
        bounds = first, first + record.steps // CHUNK_ROWS, CHUNK_ROWS * layout.row_bytes
        chunks = intact_rows(database, query, bounds)
        found[record.id] = layout.from_chunks(chunks, record.steps, record.checksum)
    return found


def read_task(database: sqlite3.Connection, task: int, records: list[Record]) -> StoredTask | None:
    """Return what is known of a task that has some records; None if it is damaged."""
    query = "SELECT label, identity, parameters FROM tasks WHERE id = ?"
    found = intact_rows(database, f"{query} AND length(parameters) < 10000", (task,))
    label, identity, text = found[0] if found else (None, None, None)
    parameters = parse_parameters(text)
    if type(label) is not int or type(identity) is not int or parameters is None:
        return None
    episodes = sum(record.episodes for record in records)
    return StoredTask(
        id=task,
        label=label,
        identity=identity,
        parameters=parameters,
        trajectories=len(records),
        episodes=episodes,
        transitions=sum(record.transitions for record in records),
        mean_return=sum(record.return_sum for record in records) / episodes if episodes else None,
        behaviour_known=all(record.behaviour_known for record in records),
    )
