"""A word about work that takes long: that it goes on and since when, and where it can be counted, how far it is.

On a terminal the last line shows the latest of what is under way, and gives way to what is printed. Elsewhere there is
a plain line every few seconds. Standard library only: set-up uses it too.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from pipeline.background import beside
from pipeline.printable import printable
from pipeline.units import Unit, duration, quantity

SECONDS_TO_BE_QUIET = 1.0
# Between the lines of a log: of what is counted, and of what is not.
SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_WORDS = 5.0, 10.0
_SECONDS_BETWEEN_DRAWINGS = 0.25
_WIDTH_OF_BAR = 10

# Guards what is drawn on the terminal, and the list.
_lock = threading.RLock()
_under_way: list[_Activity] = []


class Progress(Protocol):
    """Takes how much was done since the last call."""

    def advance(self, amount: int) -> None:
        """Count `amount` more units as done."""


class _Activity:
    """Work whose end cannot be foreseen: its seconds are counted, from the first one on."""

    def __init__(self, label: str, stream: TextIO) -> None:
        self.label, self.stream, self.note = label, stream, ""
        self.quiet_seconds, self.seconds_between_lines = SECONDS_TO_BE_QUIET, SECONDS_BETWEEN_WORDS
        self.is_terminal = stream.isatty()
        self._begun = self._told = time.monotonic()
        self._width = 0

    def show(self) -> None:
        now = time.monotonic()
        if self.is_terminal and now - self._begun >= self.quiet_seconds:
            text = self._line(now)[: shutil.get_terminal_size().columns - 1]
            print(f"\r{text:<{self._width}}", end="", file=self.stream, flush=True)
            self._width = len(text)
        elif not self.is_terminal and now - self._told >= self.seconds_between_lines:
            self._told = now
            print(self._line(now), file=self.stream, flush=True)

    def erase(self) -> None:
        if self._width:
            print(f"\r{' ' * self._width}\r", end="", file=self.stream, flush=True)
            self._width = 0

    def text(self, seconds: float) -> str:
        return f"{seconds:.0f} s{f', {self.note}' if self.note else ''}"

    def _line(self, now: float) -> str:
        return printable(f"  {self.label}: {self.text(now - self._begun)}")


class _Counter(_Activity):
    """Work that is counted: shown from the start on, with its rate and what is left."""

    def __init__(self, label: str, total: int, unit: Unit, stream: TextIO) -> None:
        super().__init__(label, stream)
        self.quiet_seconds, self.seconds_between_lines = 0.0, SECONDS_BETWEEN_LINES
        self._total, self._unit, self._done = total, unit, 0

    def advance(self, amount: int) -> None:
        self._done += amount
        if not self.is_terminal:
            with _lock:
                self.show()

    def text(self, seconds: float) -> str:
        rate = self._done / seconds if seconds else 0.0
        done = quantity(self._done, self._unit).removesuffix(" rows")
        left = f", {duration((self._total - self._done) / rate)} left" if rate else ""
        text = f"{done} of {quantity(self._total, self._unit)}, {quantity(rate, self._unit)}/s{left}"
        return f"{self._bar()} {text}" if self.is_terminal else text

    def _bar(self) -> str:
        share = min(self._done / self._total, 1.0) if self._total else 1.0
        return f"{share:4.0%} [{'#' * round(_WIDTH_OF_BAR * share):<{_WIDTH_OF_BAR}}]"


@contextmanager
def working(label: str, *, stream: TextIO | None = None) -> Iterator[Callable[[str], None]]:
    """Show that work goes on whose end cannot be foreseen, such as the start of a server.

    Args:
        label: what is being done, in a word or two.
        stream: where to show it; standard error by default.

    Yields:
        A function that takes what is being done just now, in a few words, to be shown beside the time.
    """
    activity = _Activity(label, stream or sys.stderr)

    def tell(note: str) -> None:
        activity.note = note

    with _shown(activity):
        yield tell


@contextmanager
def track(label: str, total: int, unit: Unit, *, stream: TextIO | None = None) -> Iterator[Progress]:
    """Show how a long piece of work goes on: by a bar on a terminal.

    Args:
        label: what is being done, in a word or two.
        total: how many units there are in all.
        unit: bytes (`B`) or `rows`.
        stream: where to show it; standard error by default.

    Yields:
        The counter that the work advances.
    """
    counter = _Counter(label, total, unit, stream or sys.stderr)
    with _shown(counter):
        yield counter


@contextmanager
def _shown(activity: _Activity) -> Iterator[None]:
    """Show an activity, now and then, in place of those that were begun before."""

    def draw() -> None:
        with _lock:
            if _under_way[-1:] == [activity]:
                activity.show()

    def tick(ended: threading.Event) -> None:
        while not ended.wait(_SECONDS_BETWEEN_DRAWINGS):
            draw()

    with _lock:
        for other in _under_way:
            other.erase()
        _under_way.append(activity)
    try:
        draw()
        with beside(tick):
            yield
    finally:
        with _lock:
            activity.erase()
            _under_way.remove(activity)


def print_line(line: str, stream: TextIO) -> None:
    """Print a line at once, above what shows that work goes on. Every line of a command leaves here."""
    with _lock:
        for activity in _under_way:
            activity.erase()
        print(printable(line), file=stream, flush=True)
