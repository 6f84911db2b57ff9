"""Progress for a person: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, Never, Protocol, TextIO

from pipeline.activity import bar_shown, print_line
from pipeline.background import beside
from pipeline.printable import printable

if TYPE_CHECKING:
    from tqdm import tqdm

Unit = Literal["B", "rows"]

SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_DRAWINGS = 0.5


class Progress(Protocol):
    """Takes how much was done since the last call."""

    def advance(self, amount: int) -> None:
        """Count `amount` more units as done."""


class _Bar:
    def __init__(self, bar: tqdm[Never]) -> None:
        self._bar = bar

    def advance(self, amount: int) -> None:
        self._bar.update(amount)


class _Lines:
    """A line every few seconds, so that a log shows that the work goes on and how fast."""

    def __init__(self, label: str, total: int | None, unit: Unit, stream: TextIO) -> None:
        self._label, self._total, self._unit, self._stream = label, total, unit, stream
        self._done = 0
        self._begun = self._last = time.monotonic()

    def advance(self, amount: int) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = self._done / (now - self._begun)
        done, left = quantity(self._done, self._unit), ""
        if self._total is not None:
            done = f"{done.removesuffix(' rows')} of {quantity(self._total, self._unit)}"
            left = f", {duration((self._total - self._done) / rate)} left" if rate else ""
        line = f"  {self._label}: {done}, {quantity(rate, self._unit)}/s{left}"
        print_line(line, self._stream)


@contextmanager
def track(label: str, total: int | None, unit: Unit, *, stream: TextIO | None = None) -> Iterator[Progress]:
    """Show how a long piece of work goes on.

    Args:
        label: what is being done, in a word or two.
        total: how many units there are in all, if that is known.
        unit: bytes (`B`) or `rows`.
        stream: where to show it; standard error by default.

    Yields:
        The counter that the work advances.
    """
    stream, label = stream or sys.stderr, printable(label)
    if not stream.isatty():
        with bar_shown(lambda: None):
            yield _Lines(label, total, unit, stream)
        return
    from tqdm import tqdm

    shown: list[tqdm[Never]] = []

    def clear() -> None:
        for each in shown:
            each.clear()

    with (
        bar_shown(clear),
        tqdm(
            total=total,
            desc=f"  {label}",
            unit=unit if unit == "B" else f" {unit}",
            unit_scale=True,
            unit_divisor=1000,
            file=stream,
            leave=False,
            dynamic_ncols=True,
        ) as bar,
        beside(partial(_refresh, bar)),
    ):
        shown.append(bar)
        yield _Bar(bar)


def _refresh(bar: tqdm[Never], ended: threading.Event) -> None:
    """Let a bar count the seconds even while nothing advances it."""
    while not ended.wait(_SECONDS_BETWEEN_DRAWINGS):
        bar.refresh()


def quantity(amount: float, unit: Unit) -> str:
    """Write an amount as a person reads it: `8.1 MB`, `42,300 rows`."""
    if unit == "rows":
        return f"{amount:,.0f} rows"
    for prefix in ("", "k", "M", "G"):
        if abs(amount) < 1000:
            return f"{amount:.1f} {prefix}B" if prefix else f"{amount:.0f} B"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(seconds: float) -> str:
    """Write a time span as a person reads it: `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
