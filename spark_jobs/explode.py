r"""The explode: whole blocks of source lines into long rows, checked record by record.

`spark_jobs.records` finds the good records of a block and where their parts are; what is left is to put rows together
by copying ranges of bytes, in compiled code too. No part of a record becomes a Python object unless the record is
rejected.

Rows come out as the text that `LOAD DATA` reads: fields end in a tab, rows in a newline. A good record holds no byte
that would need escaping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.errors import LoadError
from pipeline.settings import RECORD_KINDS, RecordKind
from spark_jobs.compiled import compiled
from spark_jobs.feature_ids import Ids, distinct
from spark_jobs.grammar import Reason, parse_record
from spark_jobs.records import Bytes, Offsets, Positions, Records, Words, read_records

_TAB, _NEWLINE, _COMMA, _VALUE_SEPARATOR = 9, 10, 44, 3


@dataclass(frozen=True)
class RejectedRecord:
    """A line that is no good record.

    Attributes:
        line_number: of the line in its block, from 0.
        reason: why, and of one that contradicts another record, behind a colon, what that one has.
        record: the line as it stands in the source, without its line end.
    """

    line_number: int
    reason: str
    record: bytes


@dataclass(frozen=True)
class Exploded:
    """What a block of lines gives.

    Attributes:
        rows: text of one row per good record: its columns but the feature list, and the last column.
        num_rows: how many.
        structures: text of the long rows: the record's key, feature_id, feature_value, in the order of the records and
            then of feature_id.
        num_structures: how many rows `structures` has.
        features: the ids of the features in them by feature_name, each id once and in order.
        rejected: the other lines, in their order.
        num_lines: how many lines the block has; each is a row or rejected.
    """

    rows: memoryview
    num_rows: int
    structures: memoryview
    num_structures: int
    features: Mapping[bytes, Ids]
    rejected: tuple[RejectedRecord, ...]
    num_lines: int


def explode(block: bytes, kind: RecordKind, last_column: bytes = b"") -> Exploded:
    """Explode a block of whole lines.

    Args:
        block: lines, each ended by a newline; less than 2 GiB.
        kind: which of the two files they come from.
        last_column: what `rows` have behind the columns of the source.

    Raises:
        LoadError: this code and the plain parser do not agree on a line, so that one of them is wrong.
    """
    records = read_records(block, kind)
    text = np.frombuffer(block, np.uint8)
    return Exploded(
        rows=_rows(text, records, last_column),
        num_rows=len(records.begin),
        structures=_long_rows(text, records),
        num_structures=len(records.feature_id),
        features=_features(records),
        rejected=_rejected(block, records, kind),
        num_lines=records.num_lines,
    )


def load_machine_code() -> None:
    """Load the machine code of the compiled functions, or make it and keep it, which takes some seconds."""
    for kind in RECORD_KINDS:
        explode(b"", kind)


def _rows(text: Bytes, records: Records, last_column: bytes) -> memoryview:
    """Put the last column and a newline behind the columns of each record."""
    ending = np.frombuffer(last_column + b"\n", np.uint8)
    size = int((records.list_begin - records.begin).sum()) + len(ending) * len(records.begin)
    out = np.empty(size, np.uint8)
    _write_rows(text, records.begin, records.list_begin, ending, out)
    return out.data


def _long_rows(text: Bytes, records: Records) -> memoryview:
    """Put each structure behind its record's key, ordered by record and feature id."""
    key_size = records.key_end - records.begin
    list_length = records.list_length
    # A structure takes the room of its id and its value with the separator between them, and a newline.
    size = int((key_size * list_length).sum()) + int((records.structure_end - records.id_begin).sum(dtype=np.int64))
    out = np.empty(size + len(records.feature_id), np.uint8)
    order = np.empty(int(list_length.max(initial=0)), np.uint64)
    _write_structures(
        text,
        records.begin,
        records.key_end,
        records.first_structure,
        records.feature_id,
        records.id_begin,
        records.structure_end,
        order,
        out,
    )
    return out.data


def _features(records: Records) -> dict[bytes, Ids]:
    """Collect the distinct features: the number of a name, put before the id, makes one integer of a pair."""
    pairs = distinct((records.name_number.astype(np.int64) << 32) | records.feature_id)
    ends = np.searchsorted(pairs, np.arange(1, len(records.names)) << 32)
    split = np.split(pairs.astype(np.uint32), ends)
    return {name: ids for name, ids in zip(records.names, split, strict=False) if len(ids)}


def _rejected(block: bytes, records: Records, kind: RecordKind) -> tuple[RejectedRecord, ...]:
    lines = zip(records.bad_line.tolist(), records.bad_begin.tolist(), strict=True)
    return tuple(_reject(number, block[begin : block.index(b"\n", begin)], kind) for number, begin in lines)


def _reject(line_number: int, line: bytes, kind: RecordKind) -> RejectedRecord:
    record = line.removesuffix(b"\r")
    reason = parse_record(record, kind)
    if not isinstance(reason, Reason):
        raise LoadError(f"the two parsers of {kind} records do not agree on this record: {record[:200]!r}")
    return RejectedRecord(line_number, reason, record)


@compiled
def _write_rows(text: Bytes, begin: Positions, list_begin: Positions, ending: Bytes, out: Bytes) -> None:
    at = 0
    for record in range(len(begin)):
        for position in range(begin[record], list_begin[record]):
            out[at] = _TAB if text[position] == _COMMA else text[position]
            at += 1
        for byte in ending:
            out[at] = byte
            at += 1


@compiled
def _write_structures(  # noqa: PLR0917 - compiled functions take no keywords
    text: Bytes,
    begin: Positions,
    key_end: Positions,
    first_structure: Positions,
    feature_id: Ids,
    id_begin: Offsets,
    structure_end: Offsets,
    order: Words,
    out: Bytes,
) -> None:
    """Fill `out`; `order` is room for the longest list."""
    at = 0
    for record in range(len(begin)):
        first = first_structure[record]
        length = first_structure[record + 1] - first
        _sort_list(feature_id, first, length, order)
        for place in range(length):
            for position in range(begin[record], key_end[record] - 1):
                out[at] = text[position]
                at += 1
            out[at] = _TAB
            at += 1
            structure = first + np.int64(order[place] & np.uint64(0xFFFFFFFF))
            for position in range(id_begin[structure], structure_end[structure]):
                out[at] = _TAB if text[position] == _VALUE_SEPARATOR else text[position]
                at += 1
            out[at] = _NEWLINE
            at += 1


@compiled
def _sort_list(feature_id: Ids, first: int, length: int, order: Words) -> None:
    """Put the structures of a list in the order of their ids: each as its id, and in the lower 32 bits its place.

    Shell's sort with gaps that shrink by 2.25: most lists are short, and it needs no memory.
    Source: Tokuda, An Improved Shellsort, 1992.
    """
    for place in range(length):
        order[place] = (np.uint64(feature_id[first + place]) << np.uint64(32)) | np.uint64(place)
    gap = 1
    while gap * 9 // 4 < length:
        gap = gap * 9 // 4 + 1
    while gap > 0:
        for place in range(gap, length):
            moved, hole = order[place], place
            while hole >= gap and order[hole - gap] > moved:
                order[hole] = order[hole - gap]
                hole -= gap
            order[hole] = moved
        gap = gap * 4 // 9
