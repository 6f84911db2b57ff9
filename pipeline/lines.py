"""The lines of a file, counted as its bytes come by, with marks of where some of them begin."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TypeAlias

# The offset at which a line begins, and its number, from 1.
Mark: TypeAlias = tuple[int, int]

# A file is cut at marks, into parts that may be as small as this, or, of a large file, as one of so many.
SMALLEST_GRAIN = 4 << 10
_MOST_MARKS = 8 << 10


class Lines:
    """Counts the lines of a file, and marks one in each grain of it.

    Args:
        size: of the file, in bytes.
        grain: how many bytes there are from a mark to the line that gets the next one, at least.
    """

    def __init__(self, size: int, grain: int | None = None) -> None:
        self._grain = grain or max(SMALLEST_GRAIN, size // _MOST_MARKS)
        self._head = self._last = b""
        self._position = self._newlines = 0
        self._marks: list[Mark] = []
        self._due = self._grain

    def update(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if len(self._head) <= len(BOM_UTF8):
            self._head += data[: len(BOM_UTF8) + 1]
        begin = 0
        while end := data.find(b"\n", max(begin, self._due - 1 - self._position)) + 1:
            self._newlines += data.count(b"\n", begin, end)
            self._marks.append((self._position + end, self._newlines + 1))
            self._due = self._position + end + self._grain
            begin = end
        self._newlines += data.count(b"\n", begin)
        self._position += len(data)
        self._last = data[-1:] or self._last

    @property
    def num_lines(self) -> int:
        """How many lines there are so far; a last one without a newline counts."""
        return self._newlines + (self._last not in (b"", b"\n"))

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks so far, the first line's among them; a byte order mark at the head of a file is no part of it."""
        if not self._position:
            return ()
        # A file of a byte order mark alone has a line, as whoever counts its lines sees it.
        is_marked = self._head.startswith(BOM_UTF8) and self._position > len(BOM_UTF8)
        first = (len(BOM_UTF8) if is_marked else 0, 1)
        return (first, *(mark for mark in self._marks if mark[0] < self._position))
