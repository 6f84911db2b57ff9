r"""The explode: whole blocks of source lines into long rows, checked record by record.

Everything here works on all lines of a block at once, over the bytes as they stand in the file: one regular
expression (RE2, by Arrow) decides on the form of each line, then the positions of the separators say where each part
is, and rows are put together by copying ranges of bytes. No part of a record becomes a Python object unless the record
is rejected. The definition of a good record is `spark_jobs.grammar`; the tests hold the two together.

Rows come out as the text that `LOAD DATA` reads: fields end in a tab, rows in a newline. A good record holds no byte
that would need escaping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import LoadError
from pipeline.settings import RecordKind
from spark_jobs.feature_ids import Ids, distinct
from spark_jobs.grammar import COLUMNS, MAX_VALUE_LENGTH, Reason, parse_record

_Positions = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]

_COMMA, _NEWLINE = ord(","), ord("\n")
_STRUCTURE_END, _ID_BEGIN, _VALUE_BEGIN = 1, 2, 3

# Separators of the source to those of LOAD DATA.
_TO_TABS = bytes.maketrans(b",\x01\x02\x03", b"\t\n\t\t")

# Every number up to 4,294,967,295, without leading zeros.
_UNSIGNED_INT = (
    "(?:0|[1-9][0-9]{0,8}|[1-3][0-9]{9}|4[01][0-9]{8}|42[0-8][0-9]{7}|429[0-3][0-9]{6}|4294[0-8][0-9]{5}"
    "|42949[0-5][0-9]{4}|429496[0-6][0-9]{3}|4294967[01][0-9]{2}|42949672[0-8][0-9]|429496729[0-5])"
)
_STRUCTURE = (
    rf"[0-9A-Za-z_]{{1,16}}\x02{_UNSIGNED_INT}\x03"
    r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"
)
_COLUMN = {
    "sample_id": _UNSIGNED_INT,
    "click_label": "[01]",
    "conversion_label": "[01]",
    "common_feature_index": "[0-9a-f]{16}",
    "num_features": _UNSIGNED_INT,
    "features_list": rf"(?:{_STRUCTURE}(?:\x01{_STRUCTURE})*)?",
}


@dataclass(frozen=True)
class RejectedRecord:
    """A line that is no good record.

    Attributes:
        line_number: of the line in its block, from 0.
        reason: why.
        record: the line as it stands in the source, without its newline.
    """

    line_number: int
    reason: Reason
    record: bytes


@dataclass(frozen=True)
class Exploded:
    """What a block of lines gives.

    Attributes:
        rows: one row per good record: its columns but the feature list, each followed by a tab. The newline is
            missing, so that the loader can add columns of its own.
        structures: text of the long rows: the record's key, feature_id, feature_value, in the order of the records and
            then of feature_id.
        num_structures: how many rows `structures` has.
        features: the ids of the features in them by feature_name, each id once and in order.
        rejected: the other lines, in their order.
        num_lines: how many lines the block has; each is a row or rejected.
    """

    rows: pa.BinaryArray
    structures: pa.Buffer
    num_structures: int
    features: Mapping[bytes, Ids]
    rejected: tuple[RejectedRecord, ...]
    num_lines: int


@dataclass(frozen=True)
class _Layout:
    """Where the parts of a block of well-formed lines are: offsets into the block."""

    line_begin: _Positions
    header_end: _Positions  # behind the comma before the feature list
    key_end: _Positions  # behind the first comma
    line_of_structure: _Positions
    structure_begin: _Positions
    id_begin: _Positions
    structure_end: _Positions  # behind the separator or the newline
    num_features: _Positions  # as printed
    list_length: _Positions
    longest_value: _Positions  # of each line
    feature_id: _Positions
    sort_key: _Positions  # of each structure: its line, then its feature id
    order: _Positions  # of the structures, by that key


def explode(block: bytes, kind: RecordKind) -> Exploded:
    """Explode a block of whole lines.

    Args:
        block: lines, each ended by a newline; less than 2 GiB.
        kind: which of the two files they come from.

    Raises:
        LoadError: this code and the plain parser do not agree on a line, so that one of them is wrong.
    """
    lines = _split_lines(block)
    good = _as_mask(pc.match_substring_regex(lines, _pattern(kind)))
    well_formed = _joined(lines, good, block)
    layout = _lay_out(well_formed, kind)
    in_bounds = _within_bounds(layout)
    if not in_bounds.all():
        good[np.flatnonzero(good)[~in_bounds]] = False
        well_formed = _joined(lines, good, block)
        layout = _lay_out(well_formed, kind)
    text = well_formed.translate(_TO_TABS)
    return Exploded(
        rows=_ranges(text, layout.line_begin, layout.header_end),
        structures=_long_rows(text, layout),
        num_structures=len(layout.order),
        features=_features(text, layout),
        rejected=_rejected(lines, ~good, kind),
        num_lines=len(lines),
    )


def well_formed_lines(block: bytes, kind: RecordKind) -> _Mask:
    """Tell of each line of a block whether it has the form of a good record.

    What a regular expression cannot say is left open: the list's length, an id that stands twice, an overlong value.

    Args:
        block: lines, each ended by a newline; less than 2 GiB.
        kind: which of the two files they come from.
    """
    return _as_mask(pc.match_substring_regex(_split_lines(block), _pattern(kind)))


@cache
def _pattern(kind: RecordKind) -> str:
    return "^" + ",".join(_COLUMN[name] for name in COLUMNS[kind]) + "\n$"


def _split_lines(block: bytes) -> pa.BinaryArray:
    """View the block as one element per line, newline included, without copying it."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE) + 1
    offsets = np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int32)
    return _binary_array(block, offsets)


def _joined(lines: pa.BinaryArray, wanted: _Mask, block: bytes) -> bytes:
    """Give the wanted lines as one block: the block itself, uncopied, in the usual case that all are wanted."""
    if wanted.all():
        return block
    return b"".join(lines.filter(pa.array(wanted)).to_pylist())


def _lay_out(block: bytes, kind: RecordKind) -> _Layout:
    """Find the parts of each line. All lines have passed the pattern, so that the separators can be counted on."""
    text = np.frombuffer(block, np.uint8)
    newline = np.flatnonzero(text == _NEWLINE)
    num_commas = len(COLUMNS[kind]) - 1
    comma = np.flatnonzero(text == _COMMA).reshape(-1, num_commas)
    id_begin = np.flatnonzero(text == _ID_BEGIN) + 1
    value_begin = np.flatnonzero(text == _VALUE_BEGIN) + 1
    line_begin = np.concatenate([np.zeros(min(1, len(newline)), np.int64), newline[:-1] + 1])
    header_end = comma[:, -1] + 1

    # A structure begins where the list does or behind a structure separator. Counting them by their ids leaves out
    # empty lists, which have a newline and no structure.
    list_length = np.diff(np.searchsorted(id_begin, newline), prepend=0)
    line_of_structure = np.repeat(np.arange(len(newline), dtype=np.int64), list_length)
    first = np.cumsum(list_length) - list_length
    last = first + list_length - 1
    filled = list_length > 0
    separator = np.flatnonzero(text == _STRUCTURE_END)
    structure_end = np.empty(len(id_begin), np.int64)
    is_last = np.zeros(len(id_begin), np.bool_)
    is_last[last[filled]] = True
    structure_end[is_last] = newline[filled] + 1
    structure_end[~is_last] = separator + 1
    structure_begin = np.empty(len(id_begin), np.int64)
    structure_begin[1:] = structure_end[:-1]
    structure_begin[first[filled]] = header_end[filled]

    longest_value = np.zeros(len(newline), np.int64)
    if len(id_begin):
        longest_value[filled] = np.maximum.reduceat(structure_end - 1 - value_begin, first[filled])
    feature_id = _integers(block, id_begin, value_begin - 1)
    sort_key = (line_of_structure << 32) | feature_id
    return _Layout(
        line_begin=line_begin,
        header_end=header_end,
        key_end=comma[:, 0] + 1,
        line_of_structure=line_of_structure,
        structure_begin=structure_begin,
        id_begin=id_begin,
        structure_end=structure_end,
        num_features=_integers(block, comma[:, -2] + 1, comma[:, -1]),
        list_length=list_length,
        longest_value=longest_value,
        feature_id=feature_id,
        sort_key=sort_key,
        order=np.argsort(sort_key),
    )


def _integers(text: bytes, begin: _Positions, end: _Positions) -> _Positions:
    """Read the decimal digits of each range as a number below 2**32."""
    digits = _ranges(text, begin, end)
    numbers: _Positions = pc.cast(digits.cast(pa.string()), pa.uint32()).to_numpy().astype(np.int64)
    return numbers


def _within_bounds(layout: _Layout) -> _Mask:
    """Tell of each well-formed line whether it keeps what a regular expression cannot say."""
    within: _Mask = (layout.num_features == layout.list_length) & (layout.longest_value <= MAX_VALUE_LENGTH)
    by_line_and_id = layout.sort_key[layout.order]
    repeated = by_line_and_id[1:][by_line_and_id[1:] == by_line_and_id[:-1]]
    within[repeated >> 32] = False
    return within


def _long_rows(text: bytes, layout: _Layout) -> pa.Buffer:
    """Put each structure behind its record's key, ordered by record and feature id."""
    keys = _ranges(text, layout.line_begin, layout.key_end).take(pa.array(layout.line_of_structure[layout.order]))
    structures = _ranges(text, layout.id_begin, layout.structure_end).take(pa.array(layout.order))
    return _data(pc.binary_join_element_wise(keys, structures, b""))


def _features(text: bytes, layout: _Layout) -> dict[bytes, Ids]:
    """Collect the distinct features: a number for each name, put before the id, makes one integer of a pair."""
    if not len(layout.id_begin):
        return {}
    names = _ranges(text, layout.structure_begin, layout.id_begin - 1).dictionary_encode()
    pairs = distinct((names.indices.to_numpy().astype(np.int64) << 32) | layout.feature_id)
    ends = np.searchsorted(pairs, np.arange(1, len(names.dictionary)) << 32)
    return dict(zip(names.dictionary.to_pylist(), np.split(pairs.astype(np.uint32), ends), strict=True))


def _ranges(text: bytes, begin: _Positions, end: _Positions) -> pa.BinaryArray:
    """Give ranges of the text, which follow one another with or without gaps, as an array."""
    if not len(begin):
        return pa.array([], pa.binary())
    offsets = np.empty(2 * len(begin) + 1, np.int32)
    offsets[0:-1:2], offsets[1::2], offsets[-1] = begin, end, end[-1]
    return _binary_array(text, offsets).take(pa.array(np.arange(0, 2 * len(begin), 2)))


def _binary_array(text: bytes, offsets: npt.NDArray[np.int32]) -> pa.BinaryArray:
    return pa.BinaryArray.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _data(array: pa.BinaryArray) -> pa.Buffer:
    """Give the bytes of all elements of an array that was just made, one behind the other."""
    data = array.buffers()[2]
    return pa.py_buffer(b"") if data is None or not len(array) else data


def _as_mask(array: pa.BooleanArray) -> _Mask:
    mask: _Mask = array.to_numpy(zero_copy_only=False).astype(np.bool_)
    return mask


def _rejected(lines: pa.BinaryArray, bad: _Mask, kind: RecordKind) -> tuple[RejectedRecord, ...]:
    return tuple(_reject(int(number), lines[int(number)].as_py()[:-1], kind) for number in np.flatnonzero(bad))


def _reject(line_number: int, record: bytes, kind: RecordKind) -> RejectedRecord:
    reason = parse_record(record, kind)
    if not isinstance(reason, Reason):
        raise LoadError(f"the two parsers of {kind} records do not agree on this record: {record[:200]!r}")
    return RejectedRecord(line_number, reason, record)
