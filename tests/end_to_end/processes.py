"""A command of the project under way: the processes that it is made of, and an end put to it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

Target = Literal["all", "main"]


@dataclass(frozen=True)
class Process:
    """A process that has not ended."""

    pid: int
    parent: int
    session: int
    seconds: float  # of processor time that it has had
    command: str
    place: Path | None  # where it works, if that may be known


@dataclass(frozen=True)
class Killed:
    """What became of a command that was killed.

    Attributes:
        main: the process that was at work: the one that `make` had started.
        seconds: of processor time that it had had.
        seconds_to_answer: from the signal to the line on how to continue; None where there was no such line.
        seconds_to_end: from the signal to the end of `make`.
        errors: standard error from the signal on.
        left: processes of the command that were there after its end.
    """

    main: str
    seconds: float
    seconds_to_answer: float | None
    seconds_to_end: float
    errors: str
    left: list[str]


def start(command: list[str], folder: Path, environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command as a shell with job control does: in a process group of its own."""
    with log.open("wb") as output, log.with_suffix(".err").open("wb") as errors:
        # What runs in the background may have been started with Ctrl-C switched off, and would hand that on.
        return subprocess.Popen(
            ["env", "--default-signal=INT", *command],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )


def kill(make: subprocess.Popen[bytes], number: signal.Signals, target: Target, log: Path) -> Killed:
    """Send a signal to all of a command, as a terminal does, or to its main process alone, and see how it ends."""
    children = [process for process in processes() if process.parent == make.pid]
    main = children[0] if children else None
    errors = log.with_suffix(".err")
    before = errors.stat().st_size
    begun = time.monotonic()
    with suppress(ProcessLookupError):
        if target == "main" and main:
            os.kill(main.pid, number)
        else:
            os.killpg(make.pid, number)
    answered: float | None = None
    while make.poll() is None and time.monotonic() - begun < 30:
        if answered is None and b"interrupted: " in errors.read_bytes()[before:]:
            answered = time.monotonic() - begun
        time.sleep(0.005)
    seconds = time.monotonic() - begun
    if answered is None and b"interrupted: " in errors.read_bytes()[before:]:
        answered = seconds
    left = [process.command for process in processes() if process.session == make.pid]
    assert make.poll() is not None, f"{main} has not ended"
    text = errors.read_bytes()[before:].decode(errors="replace")
    return Killed(main.command if main else "make", main.seconds if main else 0.0, answered, seconds, text, left)


def wait_for_none(session: int, *, seconds: float) -> list[str]:
    """Wait until no process of a session is there, and give those that are there at the end of the patience."""
    deadline = time.monotonic() + seconds
    while left := [process.command for process in processes() if process.session == session]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def processes_that_name(folder: Path) -> list[Process]:
    """Give the processes that work in a folder, or name it on their command line."""
    return [
        process
        for process in processes()
        if process.place and (str(folder) in process.command or process.place.is_relative_to(folder))
    ]


def processes() -> list[Process]:
    """Give all processes that have not ended."""
    found = []
    for each in psutil.process_iter(["ppid", "cmdline", "status", "cpu_times", "cwd"]):
        with suppress(ProcessLookupError):
            session, told = os.getsid(each.pid), each.info
            if told["status"] != psutil.STATUS_ZOMBIE:
                place = Path(told["cwd"]) if told["cwd"] else None
                seconds, command = sum(told["cpu_times"][:2]), " ".join(told["cmdline"] or [])
                found.append(Process(each.pid, told["ppid"], session, seconds, command, place))
    return found
