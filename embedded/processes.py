"""Server processes: started apart from their caller, found again by the folder that they work in, and stopped.

No process file is kept, so none can be stale: the kernel's table of processes is asked. A server is known by its
program's name and its working folder, which is its data folder and belongs to it alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.errors import ServiceError
from pipeline.files import hold_lock, private_folder
from pipeline.units import quantity

_LARGEST_LOG = 10_000_000
_PROC = Path("/proc")
# What this process has started and not yet seen end, kept so that none is reaped behind its user's back.
_STARTED: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Process:
    """A running process.

    Attributes:
        pid: its number.
        arguments: its command line.
    """

    pid: int
    arguments: tuple[str, ...]


def lock(path: Path, purpose: str, *, wait_seconds: float = 600) -> AbstractContextManager[int]:
    """Hold a lock on a file, so that two commands do not do the same work at once.

    Args:
        path: the file.
        purpose: what the holder is doing, for those who wait: "setting up".
        wait_seconds: how long to wait for another holder.

    Returns:
        What yields the descriptor of the lock, for a child that is to hold it too.

    Raises:
        ServiceError: another process has held it for too long.
    """
    private_folder(path.parent)
    path.touch(mode=0o600)  # what the file system refuses, the caller explains
    return hold_lock(
        path,
        ServiceError(f"another command has been {purpose} for too long ({path} is locked)"),
        wait_seconds=wait_seconds,
        waiting=f"waiting for another command that is {purpose}",
    )


def find_process(folder: Path, program: str, *, is_removed: bool = False) -> Process | None:
    """Find the process that runs a program in a folder.

    Args:
        folder: its working folder.
        program: the name of one of its first arguments; a loader may stand before the program.
        is_removed: look for one whose folder has been removed under it instead.
    """
    # The kernel names a removed folder so.
    wanted = os.path.realpath(folder) + (" (deleted)" if is_removed else "")
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and _working_folder(entry) == wanted:
            arguments = _arguments(entry)
            if any(Path(argument).name == program for argument in arguments[:4]):
                return Process(int(entry.name), arguments)
    return None


def start_detached(
    command: Sequence[str], *, folder: Path, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in its own session, so that it outlives this process and its terminal.

    Args:
        command: the program and its arguments, which every user of the machine can read.
        folder: its working folder.
        log: the file that its output is appended to.
        environment: the whole environment; this process's own by default.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - a server program that was looked up, not built from input
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    _STARTED.append(process)
    return process


def stop_process(folder: Path, program: str, *, patience_seconds: float, is_removed: bool = False) -> bool:
    """Ask the process that runs a program in a folder to end, and end it if it does not.

    Args:
        folder: its working folder.
        program: the name of its program.
        patience_seconds: how long it may take after SIGTERM before SIGKILL follows.
        is_removed: stop one whose folder has been removed under it instead.

    Returns:
        whether there was one.

    Raises:
        ServiceError: it is still there after SIGKILL.
    """
    process = find_process(folder, program, is_removed=is_removed)
    if process is None:
        return False
    with contextlib.suppress(ProcessLookupError), _descriptor(process.pid) as descriptor:
        # The number could have passed to another process between the look and the descriptor.
        if find_process(folder, program, is_removed=is_removed) != process:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not _has_ended(descriptor, patience_seconds):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not _has_ended(descriptor, 30):
                raise ServiceError(f"process {process.pid} ({program}) does not end, even by SIGKILL")
    for started in list(_STARTED):
        if started.poll() is not None:
            _STARTED.remove(started)
    return True


def started_at(pid: int) -> datetime:
    """Give the time when a process was started, in UTC."""
    # Field 22 of stat; the second field, the name, may hold blanks, so count from its closing bracket.
    fields = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    uptime = float((_PROC / "uptime").read_text(encoding="ascii").split()[0])
    age = uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return datetime.now(UTC) - timedelta(seconds=age)


def open_log(log: Path) -> Path:
    """Make a log file ready to be appended to; one that has grown large is put aside, in place of the last."""
    private_folder(log.parent)
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_name(f"{log.name}.old"))
    log.touch(mode=0o600)
    return log


def require_free_space(folder: Path, least: int, what: str) -> None:
    """Check that there is room on the disk.

    Args:
        folder: a folder on that disk.
        least: the bytes that must be free.
        what: what they are for.

    Raises:
        ServiceError: there is less.
    """
    free = shutil.disk_usage(folder).free
    if free < least:
        raise ServiceError(
            f"too little disk space for {what}: {quantity(free, 'B')} free at {folder}, {quantity(least, 'B')} needed"
        )


def folder_size(folder: Path) -> int:
    """Add up the bytes that the files below a folder take on the disk."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a server removes files while we count
            total += path.lstat().st_blocks * 512
    return total


@contextmanager
def _descriptor(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _has_ended(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _working_folder(entry: Path) -> str | None:
    try:
        return str((entry / "cwd").readlink())
    except OSError:  # it has ended, or is another user's
        return None


def _arguments(entry: Path) -> tuple[str, ...]:
    try:
        content = (entry / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(part) for part in content.split(b"\0") if part)
