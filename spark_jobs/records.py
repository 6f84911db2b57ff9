r"""Records of the source, whole blocks of lines at a time: which are good, and where their parts are.

A compiled function goes over the bytes of a block once. The definition of a good record is `spark_jobs.grammar`; the
tests hold the two together. What a sample is drawn by and what the explode writes both begin here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.settings import RecordKind
from spark_jobs.compiled import compiled
from spark_jobs.feature_ids import Ids
from spark_jobs.grammar import MAX_UNSIGNED_INT, MAX_VALUE_LENGTH

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]
Positions: TypeAlias = npt.NDArray[np.int64]
Offsets: TypeAlias = npt.NDArray[np.int32]

_NEWLINE, _RETURN, _COMMA, _STRUCTURE_END, _ID_BEGIN, _VALUE_BEGIN = 10, 13, 44, 1, 2, 3
_MINUS, _PLUS, _POINT, _UPPER_E, _LOWER_E = 45, 43, 46, 69, 101
_ZERO, _INDEX_LENGTH, _LONGEST_NAME = 48, 16, 16

_IN_NAME = np.zeros(256, np.bool_)
_IN_NAME[list(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")] = True
_NO_DIGIT = 255
_HEX = np.full(256, _NO_DIGIT, np.uint8)
_HEX[list(b"0123456789abcdef")] = np.arange(16)

# An odd number whose products spread over all bits: 2**64 divided by the golden ratio.
# Source: Knuth, The Art of Computer Programming, volume 3, section 6.4.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)

# There is room for so much at first, and for more if a block needs it. Ali-CCP has 23 names. Powers of two.
_FEW_NAMES, _SHORT_LIST = 512, 2048


@dataclass(frozen=True)
class Records:
    """The good records of a block, and which of its lines are none.

    Positions are offsets into the block. The arrays of the records have one element per good record, those of the
    structures one per feature structure of a good record, both in the block's order.

    Attributes:
        num_lines: all lines of the block.
        begin: of the record.
        key_end: behind the comma after its first column.
        list_begin: behind the comma before its feature list.
        end: behind its newline.
        label: of a sample: 2 * click_label + conversion_label; else 0.
        index: the common_feature_index, as the number that its hex digits make.
        first_structure: the number of its first structure; one more element gives how many structures there are.
        id_begin: of the structure's feature_id.
        structure_end: behind the structure's feature_value.
        feature_id: as a number.
        name_number: the place of the feature_name in `names`.
        names: the feature names that were met, some of them perhaps in no good record.
        bad_line: the line number of each other line, from 0.
        bad_begin: where that line begins.
    """

    num_lines: int
    begin: Positions
    key_end: Positions
    list_begin: Positions
    end: Positions
    label: Positions
    index: Words
    first_structure: Positions
    id_begin: Offsets
    structure_end: Offsets
    feature_id: Ids
    name_number: Offsets
    names: tuple[bytes, ...]
    bad_line: Positions
    bad_begin: Positions

    def keys(self, block: bytes) -> Iterator[bytes]:
        """Give the first column of each record, as the block prints it."""
        for begin, end in zip(self.begin.tolist(), self.key_end.tolist(), strict=True):
            yield block[begin : end - 1]

    @property
    def list_length(self) -> Positions:
        """Give the number of feature structures of each record."""
        return np.diff(self.first_structure)


def read_records(block: bytes, kind: RecordKind) -> Records:
    """Find the good records of a block.

    Args:
        block: whole lines, each ended by a newline; less than 2 GiB.
        kind: which of the two files they come from.
    """
    text = np.frombuffer(block, np.uint8)
    num_lines, num_structures = int(np.count_nonzero(text == _NEWLINE)), int(np.count_nonzero(text == _ID_BEGIN))
    lines, index = np.empty((6, num_lines + 1), np.int64), np.empty(num_lines, np.uint64)
    bad = np.empty((2, num_lines), np.int64)
    places, ids = np.empty((3, num_structures), np.int32), np.empty(num_structures, np.uint32)
    limits = (MAX_UNSIGNED_INT, MAX_VALUE_LENGTH)
    most_names, longest_list = _FEW_NAMES, _SHORT_LIST
    while True:
        names = np.empty((2, most_names), np.uint64)
        id_table = np.full((2 * longest_list, 2), -1, np.int64)
        name_table = np.full(2 * most_names, -1, np.int32)
        num_good, num_bad, num_structures, num_names, needed = _read(
            text, kind == "sample", limits, lines, index, bad, places, ids, names, name_table, id_table
        )
        if num_names == most_names:
            most_names *= 8
        elif needed > longest_list:
            longest_list = 1 << (needed - 1).bit_length()
        else:
            break
    begin, key_end, list_begin, end, label, _ = lines[:, :num_good]
    id_begin, structure_end, name_number = places[:, :num_structures]
    bad_line, bad_begin = bad[:, :num_bad]
    return Records(
        num_lines=num_lines,
        begin=begin,
        key_end=key_end,
        list_begin=list_begin,
        end=end,
        label=label,
        index=index[:num_good],
        first_structure=lines[5, : num_good + 1],
        id_begin=id_begin,
        structure_end=structure_end,
        feature_id=ids[:num_structures],
        name_number=name_number,
        names=tuple(_name(*words) for words in names[:, :num_names].T.tolist()),
        bad_line=bad_line,
        bad_begin=bad_begin,
    )


def _name(beginning: int, rest: int) -> bytes:
    return b"".join(word.to_bytes(8, "big").lstrip(b"\0") for word in (beginning, rest))


@compiled
def _read(  # noqa: PLR0917 - compiled functions take no keywords
    text: Bytes,
    is_sample: bool,
    limits: tuple[int, int],
    lines: Positions,
    index: Words,
    bad: Positions,
    places: Offsets,
    ids: Ids,
    names: Words,
    name_table: Offsets,
    id_table: Positions,
) -> tuple[int, int, int, int, int]:
    """Fill the arrays; give how many good and bad lines, structures and names there are, and the longest list.

    It stops early where there is no room for another name, or for the ids of a longer list.
    """
    longest_list = len(id_table) // 2
    at = line = num_good = num_bad = num_structures = num_names = 0
    while at < len(text):
        begin, first = at, num_structures
        at, key_end, label, group, claimed = _header(text, begin, is_sample, limits)
        list_begin, good = at, at > 0
        # A structure has at least 6 bytes: a list that would not fit in the block is not as long as it claims to be.
        if good and claimed > longest_list and claimed * 6 <= len(text) - at + 1:
            return num_good, num_bad, num_structures, num_names, claimed
        more = good and not _ends_line(text, at)
        while more:
            end, id_begin, feature_id, beginning, rest = _structure(text, at, limits)
            good = end > 0 and num_structures - first < min(claimed, longest_list)
            if not good or not _is_new(feature_id, line, id_table):
                good = False
                break
            number = _number_of_name(beginning, rest, num_names, name_table, names)
            if number == num_names:
                num_names += 1
                if num_names == names.shape[1]:
                    return num_good, num_bad, num_structures, num_names, 0
            places[0, num_structures], places[1, num_structures], places[2, num_structures] = id_begin, end, number
            ids[num_structures] = feature_id
            num_structures += 1
            at, more = end + 1, text[end] == _STRUCTURE_END
        if good and num_structures - first == claimed:
            at = _line_end(text, at - 1 if claimed else at)
            lines[0, num_good], lines[1, num_good], lines[2, num_good] = begin, key_end, list_begin
            lines[3, num_good], lines[4, num_good], lines[5, num_good] = at, label, first
            index[num_good] = group
            num_good += 1
        else:
            bad[0, num_bad], bad[1, num_bad] = line, begin
            num_bad += 1
            num_structures, at = first, _line_end(text, begin)
        line += 1
    lines[5, num_good] = num_structures
    return num_good, num_bad, num_structures, num_names, 0


# A line ends in a newline, which is no part of anything before it: the functions below stop there at the latest. A
# carriage return before it is part of the line's end.


@compiled
def _ends_line(text: Bytes, at: int) -> bool:
    return bool(text[at] == _NEWLINE or (text[at] == _RETURN and text[at + 1] == _NEWLINE))


@compiled
def _header(text: Bytes, at: int, is_sample: bool, limits: tuple[int, int]) -> tuple[int, int, int, np.uint64, int]:
    """Read the columns before a list: where it begins, or -1; where the key ends, label, index and num_features."""
    key_end, label, group, bad = 0, 0, np.uint64(0), -1
    if is_sample:
        number, at = _unsigned(text, at, limits[0])
        if number < 0 or text[at] != _COMMA:
            return bad, key_end, label, group, 0
        key_end = at + 1
        for position in (key_end, key_end + 2):
            if not 0 <= text[position] - _ZERO <= 1 or text[position + 1] != _COMMA:
                return bad, key_end, label, group, 0
            label = 2 * label + text[position] - _ZERO
        at = key_end + 4
    for position in range(at, at + _INDEX_LENGTH):
        digit = _HEX[text[position]]
        if digit == _NO_DIGIT:
            return bad, key_end, label, group, 0
        group = (group << np.uint64(4)) | np.uint64(digit)
    at += _INDEX_LENGTH
    if text[at] != _COMMA:
        return bad, key_end, label, group, 0
    key_end = key_end if is_sample else at + 1
    claimed, at = _unsigned(text, at + 1, limits[0])
    if claimed < 0 or text[at] != _COMMA:
        return bad, key_end, label, group, 0
    return at + 1, key_end, label, group, claimed


@compiled
def _structure(text: Bytes, at: int, limits: tuple[int, int]) -> tuple[int, int, int, np.uint64, np.uint64]:
    """Read a feature structure: where it ends, or -1; where its id begins; the id; and the name as two words."""
    beginning, rest, begin = np.uint64(0), np.uint64(0), at
    while _IN_NAME[text[at]]:
        if at - begin < 8:
            beginning = (beginning << np.uint64(8)) | np.uint64(text[at])
        else:
            rest = (rest << np.uint64(8)) | np.uint64(text[at])
        at += 1
    if not 1 <= at - begin <= _LONGEST_NAME or text[at] != _ID_BEGIN:
        return -1, 0, 0, beginning, rest
    id_begin = at + 1
    feature_id, at = _unsigned(text, id_begin, limits[0])
    if feature_id < 0 or text[at] != _VALUE_BEGIN:
        return -1, 0, 0, beginning, rest
    end = _value_end(text, at + 1)
    if end < 0 or end - at - 1 > limits[1] or (text[end] != _STRUCTURE_END and not _ends_line(text, end)):
        return -1, 0, 0, beginning, rest
    return end, id_begin, feature_id, beginning, rest


@compiled
def _unsigned(text: Bytes, at: int, most: int) -> tuple[int, int]:
    """Read an integer without leading zeros, or -1, and give where it ends."""
    begin, number = at, 0
    while np.uint8(text[at] - _ZERO) < 10 and number <= most:
        number = 10 * number + text[at] - _ZERO
        at += 1
    is_one = begin < at and number <= most and (text[begin] != _ZERO or at == begin + 1)
    return number if is_one else -1, at


@compiled
def _value_end(text: Bytes, at: int) -> int:
    """Give where a decimal number ends, or -1."""
    end = _digits_end(text, at + 1 if text[at] == _MINUS else at)
    if end > 0 and text[end] == _POINT:
        end = _digits_end(text, end + 1)
    if end > 0 and (text[end] == _LOWER_E or text[end] == _UPPER_E):
        begin = end + 2 if text[end + 1] == _PLUS or text[end + 1] == _MINUS else end + 1
        end = _digits_end(text, begin)
        if end > begin + 2:
            end = -1
    return end


@compiled
def _digits_end(text: Bytes, at: int) -> int:
    """Give where digits end, of which there must be one, or -1."""
    begin = at
    while np.uint8(text[at] - _ZERO) < 10:
        at += 1
    return at if at > begin else -1


@compiled
def _line_end(text: Bytes, at: int) -> int:
    """Give the position behind the next newline."""
    while text[at] != _NEWLINE:
        at += 1
    return at + 1


@compiled
def _is_new(feature_id: int, line: int, id_table: Positions) -> bool:
    """Tell whether the line has not had the id yet, and remember it. What other lines put there is free room."""
    last = np.uint64(len(id_table) - 1)
    slot = ((np.uint64(feature_id) * _SPREAD) >> np.uint64(32)) & last
    while id_table[slot, 0] == line:
        if id_table[slot, 1] == feature_id:
            return False
        slot = (slot + np.uint64(1)) & last
    id_table[slot, 0], id_table[slot, 1] = line, feature_id
    return True


@compiled
def _number_of_name(beginning: np.uint64, rest: np.uint64, num_names: int, name_table: Offsets, names: Words) -> int:
    """Give the number of a name: `num_names` if it is new, and is remembered under that number now."""
    last = np.uint64(len(name_table) - 1)
    slot = (((beginning ^ (rest * _SPREAD)) * _SPREAD) >> np.uint64(32)) & last
    while name_table[slot] >= 0:
        number = int(name_table[slot])
        if names[0, number] == beginning and names[1, number] == rest:
            return number
        slot = (slot + np.uint64(1)) & last
    name_table[slot] = num_names
    names[0, num_names], names[1, num_names] = beginning, rest
    return num_names
