"""The file of an experience store: SQLite, opened so that a hostile or damaged one does no harm.

SQLite in WAL mode carries what a store must: a transaction is there whole or not at all, whatever
kills the writer, and readers in other processes are never in its way. Not on network file systems.
"""

import contextlib
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ssm_metarl.errors import StoreError

APPLICATION_ID = 0x53534D45  # "SSME", in the file's header
VERSION = 1
PAGE_BYTES = 8192
PATIENCE = 10.0  # seconds to wait for another writer

CHUNKS_PER_RECORD = 2**20
"""The key of a chunk is its record's id times this, plus its number."""

# Its text, comments included, is what a store is recognised by; the columns `threshold` and
# `priority` are of version 0.1, and not used.
SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    """CREATE TABLE states (
    name TEXT PRIMARY KEY, -- 'now', and the marks 'newer' and 'older'
    label INTEGER NOT NULL, next_task INTEGER NOT NULL, next_record INTEGER NOT NULL,
    threshold INTEGER NOT NULL, -- lowest priority ever dropped
    changes INTEGER NOT NULL -- transactions so far
) WITHOUT ROWID""",
    """CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, label INTEGER NOT NULL, identity INTEGER NOT NULL,
    parameters TEXT NOT NULL -- JSON: name -> value
)""",
    """CREATE TABLE records (
    id INTEGER PRIMARY KEY, task INTEGER NOT NULL, label INTEGER NOT NULL,
    until INTEGER NOT NULL, -- label at which it was dropped, 2^63 - 1 if it was not
    steps INTEGER NOT NULL, transitions INTEGER NOT NULL,
    episodes INTEGER NOT NULL, return_sum REAL NOT NULL, -- of the complete episodes
    priority INTEGER NOT NULL, behaviour_known INTEGER NOT NULL
)""",
    """CREATE TABLE chunks (
    key INTEGER PRIMARY KEY, -- record * 2^20 + number
    crc INTEGER NOT NULL, content BLOB NOT NULL -- rows, see meta 'layout'
)""",
)


def create_database(path: Path, meta: Mapping[str, str | int]) -> None:
    """Create the file of an empty store, all of it or nothing.

    Args:
        path: Must not exist; its folder is created if missing.
        meta: What the store is.

    Raises:
        StoreError: The file exists, or cannot be written.
    """
    with naming(path, "cannot be created: "):
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            raise FileExistsError(None, "it exists")
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as database:
                for setting in (
                    f"page_size = {PAGE_BYTES}",  # first: it cannot be changed once there is one
                    f"application_id = {APPLICATION_ID}",
                    f"user_version = {VERSION}",
                ):
                    database.execute(f"PRAGMA {setting}")
                with transaction(database):
                    for statement in SCHEMA:
                        database.execute(statement)
                    database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
                    database.execute("INSERT INTO states VALUES ('now', 0, 0, 0, 0, 0)")
                database.execute("PRAGMA journal_mode = WAL")
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def open_database(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open the file of a store.

    Raises:
        StoreError: It is missing, cut short, or not the file of a store.
    """
    with naming(path):
        _check_header(path)
        mode = "rw" if writable else "ro"
        if not writable and not _wal(path).exists() and not os.access(path.parent, os.W_OK):
            mode = "ro&immutable=1"  # a folder without write access: nothing else works there
        # Generators that train may be advanced by one thread after the other, as web servers do.
        database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for setting in (
                "trusted_schema = OFF",
                "cell_size_check = ON",
                "mmap_size = 2147418112",
                "secure_delete = OFF",
                "busy_timeout = 10000",
            ):
                database.execute(f"PRAGMA {setting}").fetchall()
            set_durable(database, False)
            _check_schema(database)
        except BaseException:
            database.close()
            raise
        return database


def set_durable(database: sqlite3.Connection, durable: bool) -> None:
    """Say whether the next transactions survive a power cut, which is slow, or only kills."""
    database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")


def close_database(database: sqlite3.Connection, path: Path, *, writable: bool) -> None:
    """Close; after writing, everything is then in the one file, which can be copied.

    Raises:
        StoreError: The disk is full. Nothing is lost, but ``<file>-wal`` belongs to the store.
    """
    with naming(path, "cannot be merged into one file: "), contextlib.closing(database):
        if writable:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextlib.contextmanager
def transaction(database: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Make all of the block's changes or none; its reads see one moment (`kind` DEFERRED)."""
    database.execute(f"BEGIN {kind}")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # a full disk has already rolled back
            database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def naming(path: Path, what: str = "") -> Iterator[None]:
    """Turn what goes wrong into one line that names the file."""
    try:
        yield
    except (OSError, ValueError, sqlite3.Error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise StoreError(f"{path}: {what}{' '.join(reason.split())[:300]}") from error


def read_chunks(
    database: sqlite3.Connection, record: int, first: int, last: int, largest: int
) -> list[tuple[int, bytes]]:
    """Return the (CRC-32, content) of chunks `first` to `last` of a record; none if damaged.

    Args:
        database: An open store.
        record: Its id.
        first: Number of the first chunk.
        last: Of the last one, which is included.
        largest: Bytes that a chunk may have.
    """
    key = record * CHUNKS_PER_RECORD
    query = (
        "SELECT crc, content FROM chunks WHERE key BETWEEN ? AND ? AND typeof(crc) = 'integer' "
        "AND typeof(content) = 'blob' AND length(content) <= ? ORDER BY key"
    )
    try:
        found = database.execute(query, (key + first, key + last, largest)).fetchall()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:  # the page that it is on is damaged
        return []
    return found if len(found) == last - first + 1 else []


def _check_header(path: Path) -> None:
    """Look at the file's first bytes, before SQLite does."""
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):  # a link may lead anywhere, and a pipe would block
        raise ValueError("is a symbolic link" if stat.S_ISLNK(mode) else "is not a regular file")
    header = _header(path)
    if header[:16] != b"SQLite format 3\0" or _number(header, 68) != APPLICATION_ID:
        raise ValueError("is not an experience store")
    if (version := _number(header, 60)) != VERSION:
        raise ValueError(f"is of format version {version}; this program reads {VERSION}")
    # While a log is there, the file may be in the middle of an update; looked at twice because
    # the update may have ended between one look and the other.
    if all(_missing_bytes(path) and not _log_bytes(path) for _ in range(2)):
        raise ValueError(f"is cut short: {_missing_bytes(path)} bytes are missing at its end")


def _missing_bytes(path: Path) -> int:
    header = _header(path)
    page = int.from_bytes(header[16:18], "big")
    size = _number(header, 28) * (65536 if page == 1 else page)
    return max(size - path.stat().st_size, 0)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _number(header: bytes, at: int) -> int:
    return int.from_bytes(header[at : at + 4], "big")


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _log_bytes(path: Path) -> int:
    try:
        return _wal(path).stat().st_size
    except FileNotFoundError:
        return 0


def _check_schema(database: sqlite3.Connection) -> None:
    """Refuse a schema that is not exactly ours: triggers and views are programs."""
    query = "SELECT iif(length(sql) < 1000, sql, '') FROM sqlite_master ORDER BY rowid LIMIT 10"
    if [sql for (sql,) in database.execute(query)] != list(SCHEMA):
        raise ValueError("is not an experience store: it has other tables")
