r"""The grammar of the source's records, as a plain parser of one line.

A record is one line of a CSV file without quotes; a header line, and empty lines at the end, are no records:

    sample          sample_id,click_label,conversion_label,common_feature_index,num_features,features_list
    common feature  common_feature_index,num_features,features_list

A feature list joins feature structures with `\x01`; a structure is `feature_name \x02 feature_id \x03 feature_value`.
The list may be empty, with num_features 0. Source: the Ali-CCP files themselves; their publisher documents only the
three separators. A line ends in a newline, or in a carriage return and a newline; the end of the file stands for one.

This parser is the definition. It is slow, and says why a record is rejected; `spark_jobs.records` finds the same
records good by compiled code, and gives it the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.settings import RecordKind

COLUMNS: Mapping[RecordKind, tuple[str, ...]] = {
    "sample": (
        "sample_id",
        "click_label",
        "conversion_label",
        "common_feature_index",
        "num_features",
        "features_list",
    ),
    "common_feature": ("common_feature_index", "num_features", "features_list"),
}

STRUCTURE_SEPARATOR, ID_SEPARATOR, VALUE_SEPARATOR = b"\x01", b"\x02", b"\x03"

# The ranges of the staging columns: nothing that passes here is cut or rounded there.
MAX_UNSIGNED_INT = 4_294_967_295
MAX_VALUE_LENGTH = 24

# Bytes patterns: `[0-9]` and not `\d`, so that the engines agree. No leading zero: an id is stored as a number, and
# must come back as it was printed.
_INTEGER = re.compile(rb"0|[1-9][0-9]{0,9}")
_LABEL = re.compile(rb"[01]")
_INDEX = re.compile(rb"[0-9a-f]{16}")
_NAME = re.compile(rb"[0-9A-Za-z_]{1,16}")
_COLUMN_NAME = re.compile(rb"""[ \t]*(["']?)[A-Za-z][0-9A-Za-z_ .-]*\1[ \t]*""")
_VALUE = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?")


class Reason(StrEnum):
    """Why a record is rejected. The first that applies, in this order, is the record's reason."""

    COLUMN_COUNT = "wrong number of columns"
    SAMPLE_ID = "sample_id is not an integer from 0 to 4294967295"
    CLICK_LABEL = "click_label is not 0 or 1"
    CONVERSION_LABEL = "conversion_label is not 0 or 1"
    COMMON_FEATURE_INDEX = "common_feature_index is not 16 lower-case hex characters"
    NUM_FEATURES = "num_features is not an integer from 0 to 4294967295"
    STRUCTURE = "a feature structure is not a name, an id and a value"
    FEATURE_NAME = "a feature_name is not 1 to 16 letters, digits or underscores"
    FEATURE_ID = "a feature_id is not an integer from 0 to 4294967295"
    FEATURE_VALUE = "a feature_value is not a decimal number of at most 24 characters"
    LIST_LENGTH = "num_features differs from the length of the feature list"
    REPEATED_FEATURE = "a feature_id stands twice in the feature list"
    # Of records that are good by themselves and contradict others, which the reason names behind a colon.
    REPEATED_SAMPLE_ID = "the sample_id is that of an earlier line"
    REPEATED_INDEX = "the common_feature_index is that of an earlier line"
    SECOND_NAME = "a feature_id has another feature_name in more records"
    # Of lines that are no records at all; both end alike, and no other does.
    HEADER = "a header line, no record"
    EMPTY_LAST_LINE = "an empty last line, no record"


NON_RECORDS = frozenset({Reason.HEADER, Reason.EMPTY_LAST_LINE})
CONTRADICTIONS = frozenset({Reason.REPEATED_SAMPLE_ID, Reason.REPEATED_INDEX, Reason.SECOND_NAME})


@dataclass(frozen=True)
class Structure:
    """One feature structure, each part as printed in the source."""

    feature_name: bytes
    feature_id: bytes
    feature_value: bytes


@dataclass(frozen=True)
class Record:
    """One good record: its columns but the feature list, as printed in the source, and the list's structures."""

    columns: tuple[bytes, ...]
    structures: tuple[Structure, ...]


def parse_record(line: bytes, kind: RecordKind) -> Record | Reason:
    """Parse one line.

    Args:
        line: the line without its line end.
        kind: which of the two files it comes from.

    Returns:
        The record, or the reason why it is rejected.
    """
    columns = line.split(b",")
    if len(columns) != len(COLUMNS[kind]):
        return Reason.COLUMN_COUNT
    *header, features_list = columns
    named = dict(zip(COLUMNS[kind], header, strict=False))
    return _header_fault(named) or _parse_list(tuple(header), int(named["num_features"]), features_list)


def is_header_line(line: bytes, kind: RecordKind) -> bool:
    """Tell whether a line, as the first of a file, names its columns: as many words as there are columns.

    Args:
        line: the line without its line end.
        kind: which of the two files it comes from.
    """
    names = line.split(b",")
    return len(names) == len(COLUMNS[kind]) and all(map(_COLUMN_NAME.fullmatch, names))


def _header_fault(columns: Mapping[str, bytes]) -> Reason | None:
    if "sample_id" in columns:
        if not _is_unsigned_int(columns["sample_id"]):
            return Reason.SAMPLE_ID
        if not _LABEL.fullmatch(columns["click_label"]):
            return Reason.CLICK_LABEL
        if not _LABEL.fullmatch(columns["conversion_label"]):
            return Reason.CONVERSION_LABEL
    if not _INDEX.fullmatch(columns["common_feature_index"]):
        return Reason.COMMON_FEATURE_INDEX
    if not _is_unsigned_int(columns["num_features"]):
        return Reason.NUM_FEATURES
    return None


def _parse_list(header: tuple[bytes, ...], num_features: int, features_list: bytes) -> Record | Reason:
    structures: list[Structure] = []
    for text in features_list.split(STRUCTURE_SEPARATOR) if features_list else []:
        structure = _parse_structure(text)
        if isinstance(structure, Reason):
            return structure
        structures.append(structure)
    if len(structures) != num_features:
        return Reason.LIST_LENGTH
    if len({structure.feature_id for structure in structures}) != len(structures):
        return Reason.REPEATED_FEATURE
    return Record(header, tuple(structures))


def _parse_structure(text: bytes) -> Structure | Reason:
    name, *id_and_value = text.split(ID_SEPARATOR)
    parts = id_and_value[0].split(VALUE_SEPARATOR) if len(id_and_value) == 1 else []
    if len(parts) != 2 or VALUE_SEPARATOR in name:
        return Reason.STRUCTURE
    feature_id, value = parts
    if not _NAME.fullmatch(name):
        return Reason.FEATURE_NAME
    if not _is_unsigned_int(feature_id):
        return Reason.FEATURE_ID
    if not _VALUE.fullmatch(value) or len(value) > MAX_VALUE_LENGTH:
        return Reason.FEATURE_VALUE
    return Structure(name, feature_id, value)


def _is_unsigned_int(text: bytes) -> bool:
    return _INTEGER.fullmatch(text) is not None and int(text) <= MAX_UNSIGNED_INT
