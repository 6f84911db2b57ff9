"""Ctrl-C and SIGTERM: an answer within the second, whatever the process is doing, and no child left behind.

Python runs a signal's handler only between two steps of its main thread, and libraries replace it: Spark installs its
own. The interpreter's wakeup descriptor is written to at once and by any handler, so a thread that reads it answers.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Never

# How long the work may take to put itself away after a signal.
GRACE_SECONDS = 4.0
# How long a child process has between SIGTERM and SIGKILL.
CHILD_SECONDS = 1.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def answered_interrupts(line: str) -> Iterator[None]:
    """Run a block that a signal ends, with one line, at the latest after a short grace.

    The signal raises KeyboardInterrupt in the main thread, so that the block can put its work away. When it has, or
    has not within the grace, or at a second signal, the process ends with its children: exit code 130 after SIGINT,
    143 after SIGTERM.

    Args:
        line: tells how to continue.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    interrupt = _interrupt_once()
    previous = {number: signal.signal(number, interrupt) for number in _SIGNALS if _is_heeded(number)}
    previous_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    received: list[int] = []
    answered, ended = threading.Event(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(reader, line, received, answered, ended), daemon=True)
    watcher.start()
    try:
        yield
    except BaseException as error:
        # What the block raises after a signal is the signal's doing, and may come before the answer.
        if received or isinstance(error, KeyboardInterrupt):
            for number in previous:
                signal.signal(number, _leave_to_the_watcher)
            answered.wait(1.0)
            _end(received[0] if received else signal.SIGINT)
        raise
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        for number, handler in previous.items():
            signal.signal(number, handler)
        ended.set()
        os.close(writer)
        watcher.join()
        os.close(reader)


def _is_heeded(number: signal.Signals) -> bool:
    """Whether the process was started with the signal in force: `nohup` and `&` in a script switch it off."""
    return signal.getsignal(number) is not signal.SIG_IGN


def _interrupt_once() -> Callable[[int, FrameType | None], None]:
    """Make a handler that interrupts the work, but not the putting away that follows: the next signal ends that."""
    done: list[bool] = []

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if not done:
            done.append(True)
            raise KeyboardInterrupt

    return interrupt


def _leave_to_the_watcher(_number: int, _frame: FrameType | None) -> None:
    pass


def _watch(reader: int, line: str, received: list[int], answered: threading.Event, ended: threading.Event) -> None:
    """Answer the first of the signals, and end the process when the work does not."""
    while True:
        numbers = [number for number in os.read(reader, 64) if number in _SIGNALS]
        if ended.is_set():
            return
        if not numbers:
            continue
        if received:
            _end(received[0])
        received.append(numbers[0])
        with suppress(OSError, ValueError):
            sys.stderr.write(f"\ninterrupted: {line}\n" if sys.stderr.isatty() else f"interrupted: {line}\n")
            sys.stderr.flush()
        answered.set()
        threading.Thread(target=_end_later, args=(numbers[0], ended), daemon=True).start()


def _end_later(number: int, ended: threading.Event) -> None:
    if not ended.wait(GRACE_SECONDS):
        _end(number)


def _end(number: int) -> None:
    leave(128 + number)


def leave(code: int) -> Never:
    """End the process now, and its children.

    Python itself would first wait for every thread, and one that asks a network which is gone holds it for minutes.

    Args:
        code: the exit code.
    """
    end_children()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def end_children() -> None:
    """End every process that this one started, and those that they started."""
    children = _descendants(os.getpid())
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            with suppress(OSError):
                os.kill(child, number)
        deadline = time.monotonic() + CHILD_SECONDS
        while any(map(_is_running, children)) and time.monotonic() < deadline:
            time.sleep(0.02)


def _descendants(process: int) -> list[int]:
    """Give the processes below one, by Linux's /proc; none on a system without it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if (parent := _parent(entry)) is not None:
            parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    to_visit = [process]
    while to_visit:
        children = parents.get(to_visit.pop(), [])
        found += children
        to_visit += children
    return found


def _parent(entry: Path) -> int | None:
    fields = _stat(entry)
    return int(fields[1]) if fields else None


def _is_running(process: int) -> bool:
    fields = _stat(Path("/proc") / str(process))
    return fields is not None and fields[0] != "Z"


def _stat(entry: Path) -> list[str] | None:
    """Give the fields of a process's `stat` behind its name, which may hold anything: state, parent and so on."""
    try:
        return (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
