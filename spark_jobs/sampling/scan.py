"""What a sample is drawn by: the good records of a block of lines, looked at many at a time.

The definition of a good record is `spark_jobs.grammar`, and the tests hold the two together. `spark_jobs.explode` finds
the same, but makes rows of it; this module only counts, and is several times as fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.settings import RecordKind
from spark_jobs.explode import well_formed_lines
from spark_jobs.grammar import COLUMNS, MAX_VALUE_LENGTH

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

NO_SCENE, SEVERAL_SCENES = -1, -2

# The separators of a feature list are the bytes 1, 2, 3 and the newline, and a good record has no other up to it.
_COMMA, _NEWLINE = ord(","), ord("\n")
_SCENE = b"301"

# Room before a block, so that the 16 bytes before any position can be read.
_MARGIN = 16

_HEX = np.full(256, 255, np.uint8)
for _digit, _letter in enumerate(b"0123456789abcdef"):
    _HEX[_letter] = _digit


@dataclass(frozen=True)
class Coverage:
    """In how many lines each feature name occurs."""

    names: tuple[bytes, ...]
    num_lines: Positions


@dataclass(frozen=True)
class Scan:
    """What a block holds. Arrays have one element per good line, in the block's order.

    Attributes:
        num_lines: all lines of the block.
        begin: offset of the line in the block.
        end: offset behind its newline.
        label: of a sample: 2 * click_label + conversion_label; else 0.
        index: the common_feature_index, as the number that its hex digits make.
        list_length: feature structures in the line.
        scene: of a sample: the feature id of field 301, `NO_SCENE` or `SEVERAL_SCENES`; None if it was not asked for.
        coverage: of the feature names.
    """

    num_lines: int
    begin: Positions
    end: Positions
    label: Positions
    index: Words
    list_length: Positions
    scene: Positions | None
    coverage: Coverage


def scan(block: bytes, kind: RecordKind, *, scenes: bool = False) -> Scan:
    """Look at a block of whole lines.

    Args:
        block: lines, each ended by a newline; less than 2 GiB.
        kind: which of the two files they come from.
        scenes: whether to find the scene of each sample.
    """
    good = well_formed_lines(block, kind)
    text = np.frombuffer(block, np.uint8)
    end = np.flatnonzero(text == _NEWLINE) + 1
    begin = np.concatenate([np.zeros(min(1, len(end)), np.int64), end[:-1]])
    if not good.all():
        # The good lines alone, each where it was: what is between them holds nothing that is looked for.
        text = np.where(np.repeat(good, end - begin), text, np.uint8(0))
    return _scan(text, begin[good], end[good], kind, len(end), scenes=scenes)


def _scan(text: Bytes, begin: Positions, end: Positions, kind: RecordKind, num_lines: int, *, scenes: bool) -> Scan:
    num_commas = len(COLUMNS[kind]) - 1
    comma = np.flatnonzero(text == _COMMA).reshape(-1, num_commas)
    # In a well-formed list the separators take turns: behind a name, behind an id, behind a structure.
    separator = np.flatnonzero(text - np.uint8(1) < _NEWLINE)
    empty = np.flatnonzero(text[end - 2] == _COMMA)  # such a list has a newline and no structure
    if len(empty):
        separator = np.delete(separator, np.searchsorted(separator, end[empty] - 1))
    id_begin, value_begin, structure_end = np.ascontiguousarray(separator.reshape(-1, 3).T)
    list_length = np.diff(np.searchsorted(id_begin, end), prepend=0)
    line = np.repeat(np.arange(len(end), dtype=np.int64), list_length)
    filled = list_length > 0
    first = (np.cumsum(list_length) - list_length)[filled]
    name_begin = np.empty(len(id_begin), np.int64)
    name_begin[1:] = structure_end[:-1] + 1
    name_begin[first] = comma[filled, -1] + 1

    words = _words(text)
    ids = _numbers(text, words, value_begin, value_begin - id_begin - 1)
    good = _numbers(text, words, comma[:, -1], comma[:, -1] - comma[:, -2] - 1) == list_length
    too_long = structure_end - value_begin - 1 > MAX_VALUE_LENGTH
    if too_long.any():
        good[line[too_long]] = False
    by_line_and_id = np.sort((line << 32) | ids)
    good[by_line_and_id[1:][by_line_and_id[1:] == by_line_and_id[:-1]] >> 32] = False

    codes = _name_codes(words, id_begin, id_begin - name_begin)
    if not good.all():
        kept = good[line]
        renumbered = np.cumsum(good) - 1
        line, ids, codes = renumbered[line[kept]], ids[kept], codes[kept]
        name_begin, id_begin = name_begin[kept], id_begin[kept]
        begin, end, comma, list_length = begin[good], end[good], comma[good], list_length[good]
    names, name_of = _encoded(text, codes, name_begin, id_begin)
    is_sample = kind == "sample"
    return Scan(
        num_lines=num_lines,
        begin=begin,
        end=end,
        label=_labels(text, comma[:, 0]) if is_sample else np.zeros(len(begin), np.int64),
        index=read_indexes(text, comma[:, 2] + 1 if is_sample else begin),
        list_length=list_length,
        scene=_scenes(names, name_of, line, ids, len(begin)) if scenes and is_sample else None,
        coverage=Coverage(names, _lines_with(name_of, line, len(names), len(begin))),
    )


def read_indexes(text: Bytes, begin: Positions) -> Words:
    """Read 16 lower-case hex digits from each position on as a number. The text must reach that far."""
    digits = _HEX[text[begin[:, None] + np.arange(16)]]
    pairs = (digits[:, 0::2] << 4) | digits[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8").astype(np.uint64).reshape(-1)


def _labels(text: Bytes, first_comma: Positions) -> Positions:
    return (text[first_comma + 1] - ord("0")).astype(np.int64) * 2 + (text[first_comma + 3] - ord("0"))


def _words(text: Bytes) -> Words:
    """View the text so that element i is the 8 bytes before position i - 8, the last of them the most significant."""
    padded = np.concatenate([np.zeros(_MARGIN, np.uint8), text])
    return np.ndarray((len(padded) - 7,), np.dtype("<u8"), buffer=padded.data, strides=(1,))


def _before(words: Words, position: Positions, distance: int = 0) -> Words:
    """Give the 8 bytes that end `distance` before each position."""
    return words[position + (_MARGIN - 8 - distance)]


def _numbers(text: Bytes, words: Words, end: Positions, length: Positions) -> Positions:
    """Read the 1 to 10 decimal digits that end before each position."""
    eight = np.minimum(length, 8)
    # Bytes to digits, and those before the number to zeros; then neighbours are put together, all at once.
    number = _before(words, end) & np.uint64(0x0F0F0F0F0F0F0F0F)
    number &= np.uint64(0xFFFFFFFFFFFFFFFF) << (np.uint64(64) - (eight << 3).astype(np.uint64))
    number = (number * np.uint64(10) + (number >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    number = (number * np.uint64(100) + (number >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    number = (number * np.uint64(10_000) + (number >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    read = number.astype(np.int64)
    for more, unit in ((8, 100_000_000), (9, 1_000_000_000)):
        longer = np.flatnonzero(length > more)
        if len(longer):
            read[longer] += (text[end[longer] - more - 1] - ord("0")).astype(np.int64) * unit
    return read


def _name_codes(words: Words, end: Positions, length: Positions) -> Words:
    """Give a number for the 1 to 16 bytes of each name, the same for the same name.

    It is the name itself up to 8 bytes. A longer one is mixed with its length and its beginning.
    """
    eight = np.minimum(length, 8)
    codes = _before(words, end) >> (np.uint64(64) - (eight << 3).astype(np.uint64))
    longer = np.flatnonzero(length > 8)
    if len(longer):
        rest = (length[longer] - 8).astype(np.uint64)
        beginning = _before(words, end[longer], 8) >> (np.uint64(64) - (rest << np.uint64(3)))
        codes[longer] ^= (beginning * np.uint64(16) + rest) * np.uint64(0x9E3779B97F4A7C15)
    return codes


def _encoded(text: Bytes, codes: Words, begin: Positions, end: Positions) -> tuple[tuple[bytes, ...], Positions]:
    """Number the names: those that occur, and of each structure which of them it has."""
    encoded = pa.array(codes).dictionary_encode()
    number = encoded.indices.to_numpy().astype(np.int64)
    if (end - begin).max(initial=0) <= 8:
        return tuple(int(code).to_bytes(8, "little").rstrip(b"\0") for code in encoded.dictionary.tolist()), number
    example = np.zeros(len(encoded.dictionary), np.int64)
    example[number] = np.arange(len(number))
    return tuple(text[begin[place] : end[place]].tobytes() for place in example), number


def _lines_with(name_of: Positions, line: Positions, num_names: int, num_lines: int) -> Positions:
    if num_names > 1024:  # not Ali-CCP: a table of lines by names could be large
        pairs = np.unique(line * num_names + name_of)
        return np.bincount(pairs % num_names, minlength=num_names)
    present = np.zeros(num_names * num_lines, np.bool_)
    present[name_of * num_lines + line] = True
    return np.array([np.count_nonzero(lines) for lines in present.reshape(num_names, num_lines)], np.int64)


def _scenes(names: tuple[bytes, ...], name_of: Positions, line: Positions, ids: Positions, num_lines: int) -> Positions:
    scene = np.full(num_lines, NO_SCENE, np.int64)
    if _SCENE in names:
        has = name_of == names.index(_SCENE)
        scene[line[has]] = ids[has]
        scene[np.bincount(line[has], minlength=num_lines) > 1] = SEVERAL_SCENES
    return scene
