"""Files that are whole or not there, for their owner only; and what a full disk or a bad folder looks like.

Standard library only: set-up uses it too.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.progress import print_line
from pipeline.units import quantity

# Left free for everything else that writes to the same disk.
DISK_RESERVE = 64 << 20

_SECONDS_TO_BE_QUIET = 1

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_BROKEN = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.EUCLEAN, errno.ESTALE, errno.EREMOTEIO, errno.ETIMEDOUT}


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, or None when there is none that can be read."""
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return declared if isinstance(declared, dict) else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object as `write_private` does."""
    write_private(path, json.dumps(content, indent=1).encode() + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a run after a crash, sees the old one or the new one, both whole."""
    temporary = path.with_name(path.name + ".tmp")
    with io.BufferedWriter(open_private(temporary)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def open_private(path: Path) -> Any:
    """Open a new, empty file for writing that only its owner may read, in place of whatever has that name."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)


@contextmanager
def new_file(path: Path) -> Iterator[io.BufferedWriter]:
    """Open a file that is not there, as the umask has it, and bring it to the disk when it is written."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner only."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def private_folder(folder: Path) -> Path:
    """Make a folder, as `make_private_folder` does, and close one that is there to others; give it back."""
    make_private_folder(folder)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def sync_folder(folder: Path) -> None:
    """Bring renames in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_free_disk(folder: Path, needed: int, what: str) -> None:
    """Check that a file will fit before it is begun.

    Args:
        folder: where it goes.
        needed: bytes still to be written.
        what: the file, as the message names it.

    Raises:
        PipelineError: it will not fit.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + DISK_RESERVE:
        raise PipelineError(
            f"the disk of {folder} is too small for {what}: it needs {quantity(needed + DISK_RESERVE, 'B')} and"
            f" {quantity(free, 'B')} are free: make room, or set folders in pipeline.yml to another disk"
        )


@contextmanager
def disk_errors(path: Path, *, elsewhere: str = "set folders in pipeline.yml to another disk") -> Iterator[None]:
    """Turn what the file system raises into one line that names the path and what to do.

    Args:
        path: the one file or folder that is read or written, which an error of reading or writing does not name.
        elsewhere: how a person has it written to another disk.
    """
    try:
        yield
    except ConnectionError:
        raise  # of a pipe or a network, and of no file
    except OSError as error:
        named = error.filename or path
        if error.errno in _DISK_FULL:
            raise PipelineError(
                f"the disk is full while writing {named}: make room, or {elsewhere}, and run the same command again"
            ) from error
        remedy = (
            "check that disk, and run the same command again" if error.errno in _DISK_BROKEN else "check the folder"
        )
        raise PipelineError(f"{named}: {error.strerror or error}: {remedy}") from error


@contextmanager
def hold_lock(path: Path, what: str | PipelineError, *, wait_seconds: float = 0, waiting: str = "") -> Iterator[int]:
    """Hold the right to do something that only one process may do; the system takes it back when the process ends.

    Args:
        path: the lock, whose folder is made if it is missing.
        what: what another process that holds it is doing, as the message says it; or what is raised instead.
        wait_seconds: how long to wait for the other one.
        waiting: what a person is told who waits.

    Yields:
        The descriptor of the lock, for a child that is to hold it too.

    Raises:
        PipelineError: another process holds it.
    """
    with disk_errors(path):
        make_private_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _is_locked(descriptor, wait_seconds, waiting):
            if isinstance(what, PipelineError):
                raise what
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise PipelineError(f"{what} (process {holder}): wait until it ends")
        with suppress(OSError):  # a full disk keeps no one from stopping a server
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield descriptor
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int, wait_seconds: float, waiting: str) -> bool:
    begun, is_told = time.monotonic(), False
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        waited = time.monotonic() - begun
        if waited >= wait_seconds:
            return False
        if waited > _SECONDS_TO_BE_QUIET and not is_told:
            print_line(waiting, sys.stderr)
            is_told = True
        time.sleep(0.1)
