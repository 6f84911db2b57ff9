"""Rendering rows as the source prints them, without a Python object per row.

Text is laid out in 8-byte words padded with NUL bytes: a row's header is six words, a feature structure three. The
words come from look-up tables; at the end the NUL bytes are dropped, which the format never holds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from source_data.draws import Integers, Words, events, fractions
from source_data.facts import FIELDS, LARGEST_COMMON_ROW

_RECORD = 3  # words of a feature structure; a header is two records
# The sort key that shuffles a list, from the top: the row, a random number, the position.
_POSITION_BITS, _CHANCE_BITS = 24, 20


@dataclass(frozen=True)
class Structures:
    """Feature structures of a chunk of rows, in any order.

    Attributes:
        row: the row's number within the chunk.
        field: the field's number in `FIELDS`.
        feature_id: the id.
        value: the word that prints the value.
    """

    row: Integers
    field: Integers
    feature_id: Integers
    value: Words


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file.

    Attributes:
        text: the lines, each with its line end.
        rows: how many lines.
        structures: how many feature structures they hold.
    """

    text: bytes
    rows: int
    structures: int


def join_structures(parts: Iterable[Structures]) -> Structures:
    """One set of structures from several."""
    rows, fields, ids, values = zip(
        *((part.row, part.field, part.feature_id, part.value) for part in parts), strict=True
    )
    return Structures(np.concatenate(rows), np.concatenate(fields), np.concatenate(ids), np.concatenate(values))


def sample_labels(kinds: Integers, labels: Iterable[tuple[int, int]]) -> Words:
    """The words for `,click,conversion,` of each row, given the position of its pair in `labels`."""
    return _words(f",{click},{conversion}," for click, conversion in labels)[kinds]


def digits(numbers: Integers) -> Words:
    """The words for whole numbers from 0 to 99,999,999."""
    high, low = np.divmod(numbers, 10_000)
    words = np.empty((len(numbers), 2), dtype=np.uint32)
    padded, plain = _four_digits()
    words[:, 0] = plain[high]
    words[:, 1] = padded[low]
    small = np.flatnonzero(high == 0)
    words[small, 0] = 0
    words[small, 1] = plain[low[small]]
    return words.view(np.uint64).ravel()


def hexadecimal(keys: Words) -> Words:
    """The two words for each key's 16 hexadecimal characters: shape (keys, 2)."""
    pairs = _hex_pairs()[keys.astype(">u8").view(np.uint8)]
    return pairs.view(np.uint64).reshape(-1, 2)


@functools.cache
def whole_value() -> np.uint64:
    """The word for the value 1.0."""
    return np.uint64(_words(["\x031.0"])[0])


@functools.cache
def event_values() -> Words:
    """The table of values ln(1 + n), to five decimals, of a number of events."""
    counts = events()
    printed = _words(f"\x03{round(float(np.log1p(n)), 5)}" for n in range(1, int(counts.max()) + 1))
    return printed[counts - 1]


@functools.cache
def fraction_values() -> Words:
    """The table of fractional values."""
    return _words(f"\x03{value}" for value in fractions())


def render(rng: np.random.Generator, keys: Words, structures: Structures, samples: tuple[Words, Words] | None) -> Chunk:
    """Print rows, each with its list in random order.

    Args:
        rng: the source of chance for the order.
        keys: each row's common feature index.
        structures: the feature structures of all rows.
        samples: for the skeleton, the words of each row's sample id and labels.
    """
    rows, total = len(keys), len(structures.row)
    lengths = np.bincount(structures.row, minlength=rows)
    first = np.cumsum(lengths) - lengths

    order = _shuffled(rng, structures.row)
    separators = np.ones(total, dtype=np.int64)
    separators[first[lengths > 0]] = 0
    words = np.zeros((2 * rows + total, _RECORD), dtype=np.uint64)
    at = np.arange(total) + 2 * (np.repeat(np.arange(rows), lengths) + 1)
    words[at, 0] = _names()[separators, structures.field[order]]
    words[at, 1] = digits(structures.feature_id[order])
    words[at, 2] = structures.value[order]

    header = np.zeros((rows, 2 * _RECORD), dtype=np.uint64)
    header[:, 0] = _words(["\n"])[0]
    if samples:
        header[:, 1], header[:, 2] = samples
    header[:, 3:5] = hexadecimal(keys)
    header[:, 5] = _list_lengths()[lengths]
    at = first + 2 * np.arange(rows)
    words[at] = header[:, :_RECORD]
    words[at + 1] = header[:, _RECORD:]
    # Each row was begun with a line end, because a row's end has no fixed place: move the first one to the end.
    return Chunk(words.tobytes().translate(None, b"\0")[1:] + b"\n", rows, total)


def _shuffled(rng: np.random.Generator, row: Integers) -> Integers:
    """Positions sorted by row, at random within each row."""
    if len(row) >> _POSITION_BITS:
        msg = "a chunk holds too many structures for the sort key"
        raise OverflowError(msg)
    key = row.astype(np.uint64) << np.uint64(_CHANCE_BITS + _POSITION_BITS)
    key |= rng.integers(0, 1 << _CHANCE_BITS, len(row), dtype=np.uint64) << np.uint64(_POSITION_BITS)
    key |= np.arange(len(row), dtype=np.uint64)
    key.sort()
    return (key & np.uint64((1 << _POSITION_BITS) - 1)).astype(np.int64)


def _padded(texts: Iterable[str], width: int) -> bytes:
    """The texts as ASCII, each filled with NUL bytes to `width`."""
    return b"".join(text.encode("ascii").ljust(width, b"\0") for text in texts)


def _words(texts: Iterable[str]) -> Words:
    return np.frombuffer(_padded(texts, 8), dtype=np.uint64)


@functools.cache
def _names() -> Words:
    """Words that open a structure, by whether a separator stands before it and by field."""
    return np.stack([_words(f"{separator}{field.name}\x02" for field in FIELDS) for separator in ("", "\x01")])


@functools.cache
def _list_lengths() -> Words:
    return _words(f",{length}," for length in range(LARGEST_COMMON_ROW + 1))


@functools.cache
def _four_digits() -> tuple[np.ndarray[tuple[int], np.dtype[np.uint32]], np.ndarray[tuple[int], np.dtype[np.uint32]]]:
    """The numbers below 10,000 with leading zeros, and without."""

    def table(form: Callable[[int], str]) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        return np.frombuffer(_padded(map(form, range(10_000)), 4), dtype=np.uint32)

    return table("{:04d}".format), table(str)


@functools.cache
def _hex_pairs() -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    return np.frombuffer(_padded(map("{:02x}".format, range(256)), 2), dtype=np.uint16)
