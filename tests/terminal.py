"""A terminal of the tests' own, and what a person sees on it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_COLUMNS, _LINES = 100, 40


@dataclass(frozen=True)
class Shown:
    """What a command has written to its terminal.

    Attributes:
        pieces: each with the seconds since its start.
        exit_code: of the command.
    """

    pieces: list[tuple[float, str]]
    exit_code: int

    @property
    def text(self) -> str:
        """All of it, with the characters that move the cursor."""
        return "".join(piece for _, piece in self.pieces)

    @property
    def lines(self) -> list[str]:
        """The lines that are left on the screen in the end, drawn over as the carriage returns say."""
        lines = []
        for written in self.text.replace("\r\n", "\n").split("\n"):
            line = ""
            for drawn in written.split("\r"):
                line = drawn + line[len(drawn) :]
            lines.append(line.rstrip())
        return lines

    @property
    def longest_silence(self) -> float:
        """The longest time without a sign of life, in seconds."""
        times = [0.0, *(when for when, _ in self.pieces)]
        return max(after - before for before, after in pairwise(times))


def show(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> Shown:
    """Run a command on a terminal to its end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
    begun = time.monotonic()
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        pieces = []
        with suppress(OSError):  # the end of the command
            while content := os.read(master, 65536):
                pieces.append((time.monotonic() - begun, content.decode(errors="replace")))
    os.close(master)
    return Shown(pieces, process.returncode)
