"""A word about work whose end cannot be foreseen, such as the start of a server: that it goes on, and since when.

On a terminal the last line counts the seconds, from the first one on, and gives way to a progress bar and to what is
printed. Elsewhere there is a plain line every ten seconds. Standard library only: set-up uses it too.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from pipeline.background import beside
from pipeline.printable import printable

SECONDS_TO_BE_QUIET = 1.0
SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_DRAWINGS = 0.25

# Guards what is drawn on the terminal, and the two below.
_lock = threading.RLock()
_current: list[_Activity] = []
_bars: list[Callable[[], None]] = []


class _Activity:
    def __init__(self, label: str, stream: TextIO) -> None:
        self.label, self.stream, self.note = label, stream, ""
        self._begun = self._told = time.monotonic()
        self._width = 0
        self._is_terminal = stream.isatty()

    def show(self) -> None:
        now = time.monotonic()
        if self._is_terminal and now - self._begun >= SECONDS_TO_BE_QUIET:
            self._draw(self._text(now))
        elif not self._is_terminal and now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            print(self._text(now), file=self.stream, flush=True)

    def erase(self) -> None:
        if self._width:
            print(f"\r{' ' * self._width}\r", end="", file=self.stream, flush=True)
            self._width = 0

    def _text(self, now: float) -> str:
        return printable(f"  {self.label}: {now - self._begun:.0f} s{f', {self.note}' if self.note else ''}")

    def _draw(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]
        print(f"\r{text:<{self._width}}", end="", file=self.stream, flush=True)
        self._width = len(text)


@contextmanager
def working(label: str, *, stream: TextIO | None = None) -> Iterator[Callable[[str], None]]:
    """Show that work goes on while nothing else is shown.

    Args:
        label: what is being done, in a word or two.
        stream: where to show it; standard error by default.

    Yields:
        A function that takes what is being done just now, in a few words, to be shown beside the time.
    """
    activity = _Activity(label, stream or sys.stderr)

    def tick(ended: threading.Event) -> None:
        while not ended.wait(_SECONDS_BETWEEN_DRAWINGS):
            with _lock:
                if not _bars and _current[-1:] == [activity]:
                    activity.show()

    def tell(note: str) -> None:
        activity.note = note

    with _lock:
        for other in _current:
            other.erase()
        _current.append(activity)
    try:
        with beside(tick):
            yield tell
    finally:
        with _lock:
            activity.erase()
            _current.remove(activity)


@contextmanager
def bar_shown(clear: Callable[[], None]) -> Iterator[None]:
    """Leave it to a progress bar, or to its lines, to show that work goes on.

    Args:
        clear: takes the bar off the terminal, so that a line can be printed; the bar comes back by itself.
    """
    with _lock:
        for activity in _current:
            activity.erase()
        _bars.append(clear)
    try:
        yield
    finally:
        with _lock:
            _bars.remove(clear)


def print_line(line: str, stream: TextIO) -> None:
    """Print a line at once, above the bar or what counts the seconds. Every line of a command leaves here."""
    with _lock:
        for clear in _bars:
            clear()
        for activity in _current:
            activity.erase()
        print(printable(line), file=stream, flush=True)
