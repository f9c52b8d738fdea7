"""A run as a zip: safetensors, JSON and the experience store, and nothing else.

Nothing in a zip is trusted: not its names, its sizes or its contents. It is a run only after all of
it has been read the way it will be used.
"""

import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import SsmMetaRLError, StoreError, UserError
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.experience.database import copy_database
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import CHECKPOINT, EXPERIENCE, METRICS
from ssm_metarl.training.metrics import PROGRESS, check_numbers, is_plain, read_records
from ssm_metarl.training.pace import iterations_of
from ssm_metarl.training.run_family import FAMILY
from ssm_metarl.training.saved import CONFIG, read_config

ALLOWED = re.compile(
    rf"{re.escape(CONFIG)}|{re.escape(METRICS)}|{CHECKPOINT}/checkpoint\.json"
    rf"|{CHECKPOINT}/state-[0-9]{{1,9}}\.safetensors|{re.escape(EXPERIENCE)}"
)
FOLDERS = {f"{CHECKPOINT}/", f"{Path(EXPERIENCE).parent}/"}
MOST_BYTES = 64 * 2**20  # of a zip, and of all that is in it
MOST_FILES = 64
CHUNK = 2**16
END = struct.Struct("<4s4H2LH")  # of a zip: signature, counts, size and place of its directory
DIRECTORY_BYTES = MOST_FILES * 1024
NOT_A_ZIP = "that file is not a zip that this page can read; upload one that it has made"
ENCRYPTED = RuntimeError  # what zipfile raises
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ENCRYPTED)
UNREADABLE += (UnicodeDecodeError, struct.error)


def pack(run: Path, archive: Path, *, with_experience: bool = False) -> None:
    """Write a run's settings, metrics and checkpoint, and its experience if asked, into a zip."""
    files = [run / CONFIG, run / METRICS, *sorted((run / CHECKPOINT).glob("*"))]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as sink:
        for file in files:
            name = file.relative_to(run).as_posix()
            if ALLOWED.fullmatch(name) and is_plain(file):
                sink.write(file, name)
        if with_experience and is_plain(run / EXPERIENCE):
            if (run / EXPERIENCE).stat().st_size > MOST_BYTES:  # and could not come back
                raise UserError(f"its experience is more than {MOST_BYTES // 10**6} MB")
            copied = archive.with_suffix(".sqlite")
            try:
                copy_database(run / EXPERIENCE, copied)
            except StoreError as error:  # whose line has a path
                raise SsmMetaRLError("its experience cannot be read") from error
            sink.write(copied, EXPERIENCE)
            copied.unlink()


def unzip(archive: Path, folder: Path) -> None:
    """Make a new folder of a zip, whose files are those of a run, by name.

    Raises:
        UserError: It is no zip of a run, or too large; what it has left is to be removed.
    """
    folder.mkdir()
    try:
        with archive.open("rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as source:
                _extract(source, folder)
    except UNREADABLE as error:
        raise UserError(NOT_A_ZIP) from error


def check_run(folder: Path) -> None:
    """Read all of a run the way it will be used.

    Raises:
        SsmMetaRLError: Its settings, checkpoint, metrics or experience are damaged.
    """
    config = read_config(folder)
    family = get_family(config.env_name)
    load(folder)
    meta, iterations = load_checkpoint(folder / CHECKPOINT).meta, iterations_of(config)
    check_numbers(meta, PROGRESS | {"iteration": (int, 0, iterations)}, folder / CHECKPOINT)
    last = (read_records(folder / METRICS) or [{"iterations": 0}])[-1]
    if last["iterations"] != iterations or last["iteration"] < meta["iteration"]:
        raise UserError(f"that zip's {METRICS} does not cover the whole training")
    if (folder / EXPERIENCE).exists():
        ExperienceStore.open(folder / EXPERIENCE, family).close()


def _check_directory(file: BinaryIO) -> None:
    """Bound the directory of a zip before it is parsed: millions of names would fill the memory."""
    size = file.seek(0, 2)
    if not END.size <= size <= MOST_BYTES:
        raise UserError(NOT_A_ZIP)
    file.seek(max(0, size - END.size - 20))
    tail = file.read()
    signature, *_, directory, place, comment = END.unpack(tail[-END.size :])
    plain = signature == b"PK\5\6" and comment == 0 and not tail.startswith(b"PK\6\7")  # zip64
    if not plain or directory > DIRECTORY_BYTES or place + directory + END.size != size:
        raise UserError(NOT_A_ZIP)


def _extract(archive: zipfile.ZipFile, folder: Path) -> None:
    """Unpack the files of a run, counting the bytes that come out: headers may lie."""
    entries = [entry for entry in archive.infolist() if entry.filename not in FOLDERS]
    if len(entries) > MOST_FILES:
        raise UserError(f"that zip has {len(entries)} entries, of at most {MOST_FILES}")
    names = {entry.filename for entry in entries}
    if FAMILY in names:
        raise UserError(
            f"that zip holds {FAMILY}, and the page takes no families from visitors: leave it out; "
            "whoever runs the page adds the family by ssm-metarl app --family FILE"
        )
    if len(names) < len(entries) or not all(map(ALLOWED.fullmatch, names)):
        raise UserError(
            f"that zip is not of a run: it may hold {CONFIG}, {METRICS}, {CHECKPOINT}/ and "
            f"{EXPERIENCE}, each once, and nothing else"
        )
    left = MOST_BYTES
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(NOT_A_ZIP)
        target = folder / entry.filename
        target.parent.mkdir(exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as sink:
            while chunk := source.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    most = MOST_BYTES // 10**6
                    raise UserError(f"that zip unpacks to more than {most} MB, the most allowed")
                sink.write(chunk)
