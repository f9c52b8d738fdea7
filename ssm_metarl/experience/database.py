"""The file of an experience store: SQLite, opened so that a hostile or damaged one does no harm.

SQLite in WAL mode carries what a store must: a transaction is there whole or not at all, whatever
kills the writer, and readers in other processes are never in its way. Not on network file systems.
"""

import contextlib
import os
import secrets
import sqlite3
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ssm_metarl.errors import StoreError

APPLICATION_ID = 0x53534D45  # "SSME", in the file's header
VERSION = 1
PAGE_BYTES = 8192
PATIENCE = 10.0  # seconds to wait for another writer
_HEADER = struct.Struct(">16sH10xI28xI4xI28x")  # see https://www.sqlite.org/fileformat.html

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
    """Create the file of an empty store, and its folder; `meta` says what the store is.

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
                with transaction(database, durable=True):
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
            ):
                database.execute(f"PRAGMA {setting}").fetchall()
            _check_schema(database)
        except BaseException:
            database.close()
            raise
        return database


def copy_database(path: Path, target: Path) -> None:
    """Copy the file of a store, with what its write-ahead log still holds, into a new file.

    Raises:
        StoreError: It is missing, damaged, or not the file of a store; or there is no room.
    """
    with naming(path), contextlib.closing(open_database(path, writable=False)) as source:
        source.execute("VACUUM INTO ?", (str(target),))


@contextlib.contextmanager
def transaction(
    database: sqlite3.Connection, kind: str = "IMMEDIATE", *, durable: bool = False
) -> Iterator[None]:
    """Make all of the block's changes or none; its reads see one moment (`kind` DEFERRED).

    Only if `durable`, which is slow, the changes survive a power cut, and not only a kill.
    """
    database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
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


def intact_rows(database: sqlite3.Connection, query: str, values: Sequence[int]) -> list[tuple]:
    """Return the rows of a query; none if a page that they are on is damaged."""
    try:
        return database.execute(query, values).fetchall()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return []


def _check_header(path: Path) -> None:
    """Look at the file's first bytes, before SQLite does."""
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):  # a link may lead anywhere, and a pipe would block
        raise ValueError("is a symbolic link" if stat.S_ISLNK(mode) else "is not a regular file")
    magic, *_, version, application = _header(path)
    if magic != b"SQLite format 3\0" or application != APPLICATION_ID:
        raise ValueError("is not an experience store")
    if version != VERSION:
        raise ValueError(f"is of format version {version}; this program reads {VERSION}")
    # Looked at twice because an update may have ended between the looks at the file and its log.
    if _missing_bytes(path) and (missing := _missing_bytes(path)):
        raise ValueError(f"is cut short: {missing} bytes are missing at its end")


def _header(path: Path) -> tuple[bytes, int, int, int, int]:
    """Return the magic bytes, page size, number of pages, format version and application."""
    with path.open("rb") as file:
        return _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size, b"\0"))


def _missing_bytes(path: Path) -> int:
    """Return how much shorter a file is than its header says, unless an update is under way."""
    _, page, pages, *_ = _header(path)
    missing = pages * (65536 if page == 1 else page) - path.stat().st_size
    with contextlib.suppress(FileNotFoundError):
        if _wal(path).stat().st_size:
            return 0
    return max(missing, 0)


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _check_schema(database: sqlite3.Connection) -> None:
    """Refuse a schema that is not exactly ours: triggers and views are programs."""
    query = "SELECT iif(length(sql) < 1000, sql, '') FROM sqlite_master ORDER BY rowid LIMIT 10"
    if [sql for (sql,) in database.execute(query)] != list(SCHEMA):
        raise ValueError("is not an experience store: it has other tables")
