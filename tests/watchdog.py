"""Ends what the tests have started, however the tests end.

The servers of the project outlive their starter, as they should: `make up` ends and they stay. The tests' own must not.
This process waits for the end of its standard input, which the kernel brings about when the tests end or are killed.
Then it kills every process that works in the tests' folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Run a block; when it ends, or this process does, no process is left that works below the folder."""
    command = [sys.executable, str(Path(__file__).resolve()), str(folder.resolve())]
    # In a session of its own, so that a Ctrl-C for the tests does not end it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield


def working_below(folder: str) -> list[int]:
    """The processes whose working folder is a folder or below it, though it may have been removed."""
    found = []
    for process in psutil.process_iter(["cwd"]):
        works_in = process.info["cwd"] or ""
        if works_in == folder or works_in.startswith(f"{folder}/"):
            found.append(process.pid)
    return found


def main(folder: str) -> None:
    """Wait for the end of the tests, and kill until nothing is left."""
    sys.stdin.buffer.read()
    while left := [pid for pid in working_below(folder) if pid != os.getpid()]:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
