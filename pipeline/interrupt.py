"""Ctrl-C and SIGTERM: an answer within the second, whatever the process is doing, and no child left behind.

Python runs a signal's handler only between two steps of its main thread, and libraries replace it: Spark installs its
own. The interpreter's wakeup descriptor is written to at once and by any handler, so a thread that reads it answers.
Standard library only: set-up is answered too.
"""

from __future__ import annotations

import importlib
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

# True of every command, until it has a better one.
ANSWER = "run the same command again"
# How long the work may take to put itself away after a signal.
GRACE_SECONDS = 4.0
# How long a child process has between SIGTERM and SIGKILL.
CHILD_SECONDS = 1.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SECONDS_TO_ANSWER = 1.0
_SECONDS_BETWEEN_TRIES = 0.02
_SECONDS_BETWEEN_LOOKS = 0.005
# Make and timeout hand on what the terminal, or another, has sent to all of them: one signal that comes twice.
_SECONDS_OF_ONE_SIGNAL = 0.1

# The answer to a signal as things stand, how long the work may then take, the signal that has come, and whether it is
# answered. No Event: a handler that interrupts another one would wait for the Event's own lock, which that one holds.
_line = ""
_grace_seconds = GRACE_SECONDS
_received: list[int] = []
_answered: list[bool] = []


def run_main(main: Callable[[], int]) -> Never:
    """Run the main function of a command, answering Ctrl-C and SIGTERM, and end the process with its exit code.

    The process ends at once: Python itself would wait for every thread, and one that asks a network which is gone holds
    it for minutes.

    Args:
        main: gives the exit code, or raises SystemExit with it as argparse does.
    """
    with suppress(KeyboardInterrupt), answered_interrupts(ANSWER):
        try:
            code = main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if not _received:
            leave(code)
    leave_interrupted()  # one that came between two steps of the above


def run_module(name: str) -> Never:
    """Run the function `main` of a module as `run_main` does, which answers while the module is imported too.

    Args:
        name: the module's.
    """
    run_main(lambda: int(importlib.import_module(name).main()))


def answer_with(line: str, *, grace_seconds: float | None = None) -> None:
    """Answer a signal that comes from here on with this line. One that has come before ends the work here.

    Args:
        line: what is true then: what has become of the work, and how to continue.
        grace_seconds: how long the work may take to put itself away; as before by default.

    Raises:
        KeyboardInterrupt: a signal was answered already.
    """
    global _line, _grace_seconds
    _line, _grace_seconds = line, grace_seconds or _grace_seconds
    if _received:
        raise KeyboardInterrupt


@contextmanager
def answered_interrupts(line: str) -> Iterator[None]:
    """Run a block that a signal ends, with one line, at the latest after a short grace.

    The signal raises KeyboardInterrupt in the main thread, so that the block can put its work away; what is printed
    meanwhile is nobody's concern, and is not shown. When it has, or has not within the grace, or at a second signal,
    the process ends with its children: exit code 130 after SIGINT, 143 after SIGTERM.

    Args:
        line: tells how to continue, until `answer_with` has another.
    """
    _received.clear()
    _answered.clear()
    answer_with(line, grace_seconds=GRACE_SECONDS)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reader, ended), daemon=True)
    watcher.start()
    previous_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    interrupt, interrupt_again = _interrupt_once()
    previous_hook, sys.unraisablehook = sys.unraisablehook, interrupt_again
    previous = {
        number: signal.signal(number, interrupt) for number in (*_SIGNALS, signal.SIGALRM) if _is_heeded(number)
    }
    is_stray = False
    try:
        try:
            yield
        except BaseException as error:
            # What the block raises after a signal is the signal's doing, and may come before the answer.
            is_stray = isinstance(error, KeyboardInterrupt)
            if not (_received or is_stray):
                raise
        if _received or is_stray:
            for number in previous:
                signal.signal(number, _leave_to_the_watcher)
            leave_interrupted()
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        for number, handler in previous.items():
            signal.signal(number, handler)
        sys.unraisablehook = previous_hook
        ended.set()
        os.close(writer)
        watcher.join()
        os.close(reader)


def _is_heeded(number: signal.Signals) -> bool:
    """Whether the process was started with the signal in force: `nohup` and `&` in a script switch it off."""
    return signal.getsignal(number) is not signal.SIG_IGN


def _interrupt_once() -> tuple[Callable[[int, FrameType | None], None], Callable[[sys.UnraisableHookArgs], None]]:
    """Make a handler that interrupts the work, but not the putting away that follows: the next signal ends that.

    Packages that are interrupted while they are imported swallow it, or make another error of it, and so does a
    destructor: the interrupt waits for the end of the import, and comes again after the destructor.

    Returns:
        the handler, and a hook for what destructors raise.
    """
    done: list[bool] = []
    before = sys.unraisablehook

    def interrupt(_number: int, frame: FrameType | None) -> None:
        if done:
            return
        _wait_for_the_answer()
        if _is_importing(frame):
            signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN_TRIES)
            return
        done.append(True)
        raise KeyboardInterrupt

    def interrupt_again(raised: sys.UnraisableHookArgs) -> None:
        if raised.exc_type is KeyboardInterrupt and done:
            done.clear()
            signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN_TRIES)
        else:
            before(raised)

    return interrupt, interrupt_again


def _wait_for_the_answer() -> bool:
    """Wait until the signal is answered, for a while at most, and tell whether it is."""
    deadline = time.monotonic() + _SECONDS_TO_ANSWER
    while not _answered and time.monotonic() < deadline:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return bool(_answered)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave_to_the_watcher(_number: int, _frame: FrameType | None) -> None:
    pass


def _watch(reader: int, ended: threading.Event) -> None:
    """Answer the first of the signals, and end the process when the work does not."""
    answered_at = -_SECONDS_OF_ONE_SIGNAL
    while True:
        numbers = [number for number in os.read(reader, 64) if number in _SIGNALS]
        if ended.is_set():
            return
        if not numbers or time.monotonic() - answered_at < _SECONDS_OF_ONE_SIGNAL:
            continue
        if _received:
            leave_interrupted()
        _received.append(numbers[0])
        answered_at = time.monotonic()
        threading.Thread(target=_end_later, args=(ended,), daemon=True).start()
        _tell()


def _tell() -> None:
    """Show the answer, as the last line that is shown: whatever else is printed comes of the interrupt."""
    with suppress(OSError, ValueError, AttributeError):  # a stream that is closed, or was never there
        begin, answer = "\n" if sys.stderr.isatty() else "", os.dup(sys.stderr.fileno())
        nothing = os.open(os.devnull, os.O_WRONLY)
        for stream in filter(None, (sys.stdout, sys.stderr)):
            os.dup2(nothing, stream.fileno())
        os.write(answer, f"{begin}interrupted: {_line}\n".encode())
    _answered.append(True)


def _end_later(ended: threading.Event) -> None:
    if not ended.wait(_grace_seconds):
        leave_interrupted()


def leave_interrupted() -> Never:
    """End the process now, with the exit code of the signal that has come, when that is answered."""
    if not _wait_for_the_answer():
        _tell()  # it came when nobody watched, or by no signal
    leave(128 + (_received[0] if _received else signal.SIGINT))


def leave(code: int) -> Never:
    """End the process now, without waiting for its threads; after a failure with its children.

    Args:
        code: the exit code.
    """
    if code:
        end_children()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def end_children(process: int | None = None) -> None:
    """End every process that one has started, and those that they started.

    One in a session of its own is none of them: a server that was started to outlive its command.

    Args:
        process: this one by default.
    """
    children = _descendants(process or os.getpid())
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            with suppress(OSError):
                os.kill(child, number)
        deadline = time.monotonic() + CHILD_SECONDS
        while any(map(_is_running, children)) and time.monotonic() < deadline:
            time.sleep(0.02)


def _descendants(process: int) -> list[int]:
    """Give the processes below one, in its session, by Linux's /proc; none on a system without it."""
    parents: dict[int, list[int]] = {}
    session = os.getsid(process)
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(entry)
        if fields and int(fields[3]) == session:
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    to_visit = [process]
    while to_visit:
        children = parents.get(to_visit.pop(), [])
        found += children
        to_visit += children
    return found


def _is_running(process: int) -> bool:
    fields = _stat(Path("/proc") / str(process))
    return fields is not None and fields[0] != "Z"


def _stat(entry: Path) -> list[str] | None:
    """Give the fields of a process's `stat` behind its name, which may hold anything: state, parent, group, session."""
    try:
        return (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
