"""The published tables, read fast and as of one moment.

A range of keys comes as one text that the server puts together (`group_concat`), and is parsed by Arrow. Row by row,
the driver would spend ten times as long on each; docs/decisions/export-layout.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from export.fields import FieldIndex, IdBatch, index_fields
from pipeline.errors import DatabaseError
from pipeline.mysql import LARGE_PACKET, MysqlConnection, largest_packet
from pipeline.published import Published, hold_tables
from pipeline.settings import Settings

# The longest text that is asked for at once. It bounds the memory of the export and of the server.
_LONGEST_TEXT = 16 << 20
_PACKET_OVERHEAD = 1 << 10
_CHARACTER = 4  # a text that was cut may be shorter by what is left of one
_FEATURES_AT_ONCE = 200_000


@dataclass(frozen=True)
class KeyRange:
    """The keys above `after`, up to `last` and with it; None for no bound."""

    after: int | str | None
    last: int | str | None

    def condition(self, column: str) -> tuple[str, list[int | str]]:
        """Give the condition on a key's column, and its parameters."""
        bounds = [(">", self.after), ("<=", self.last)]
        given = [(sign, bound) for sign, bound in bounds if bound is not None]
        return " and ".join(["true", *(f"{column} {sign} %s" for sign, _ in given)]), [bound for _, bound in given]


@dataclass(frozen=True)
class Text:
    """What the server puts together of a range of a table.

    Attributes:
        table: the table.
        key: the first column of its primary key, by which ranges are cut.
        columns: the columns that are read, with their types in Arrow; `hex(…)` keeps a text from being taken apart.
    """

    table: str
    key: str
    columns: Sequence[tuple[str, pa.DataType]]


_REPEATED = pa.dictionary(pa.int32(), pa.string())
FEATURE = Text("feature", "feature_id", [("feature_id", pa.uint32()), ("hex(feature_name)", _REPEATED)])
SAMPLE = Text(
    "sample",
    "sample_id",
    [
        ("sample_id", pa.uint32()),
        ("click_label", pa.uint8()),
        ("conversion_label", pa.uint8()),
        ("common_feature_index", pa.string()),
    ],
)
SAMPLE_FEATURE = Text(
    "sample_feature",
    "sample_id",
    [("sample_id", pa.uint32()), ("feature_id", pa.uint32()), ("feature_value", pa.string())],
)
GROUP_FEATURE = Text(
    "common_feature_group",
    "common_feature_index",
    [
        ("common_feature_index", _REPEATED),
        ("feature_id", pa.uint32()),
        ("feature_value", pa.string()),
    ],
)


@contextmanager
def open_readers(settings: Settings, number: int) -> Iterator[Published]:
    """Open connections that see the four tables of one load, and hold them until they are closed.

    Args:
        settings: name the server and the database.
        number: how many connections.

    Raises:
        DatabaseError: the tables are not there, or are not of one load.
    """
    with hold_tables(settings, number) as published:
        for reader in published.readers:
            longest = min(_LONGEST_TEXT, largest_packet(reader) - _PACKET_OVERHEAD)
            query(reader, f"set session group_concat_max_len = {longest}")
        yield published


def query(reader: MysqlConnection, statement: str, parameters: Sequence[int | str] = ()) -> Sequence[tuple[Any, ...]]:
    """Run a statement and give all of its rows."""
    with reader.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall()


def plan_ranges(reader: MysqlConnection, text: Text, keys_per_range: int) -> tuple[list[KeyRange], int]:
    """Cut the keys of a table into ranges. They have no gap, and no bound below the first key and above the last.

    Args:
        reader: a connection of `open_readers`.
        text: names the table and the key.
        keys_per_range: how many distinct keys are in each range but the last.

    Returns:
        The ranges, ascending, and how many distinct keys there are.
    """
    ranges: list[KeyRange] = []
    after: int | str | None = None
    while True:
        keys, parameters = _distinct_keys(text, KeyRange(after, None))
        found = query(reader, f"{keys} order by {text.key} limit 1 offset {keys_per_range - 1}", parameters)
        if not found:
            ((rest,),) = query(reader, f"select count(*) from ({keys}) as rest", parameters)
            return [*ranges, KeyRange(after, None)], len(ranges) * keys_per_range + int(rest)
        last = found[0][0]
        ranges.append(KeyRange(after, last))
        after = last


def read_rows(reader: MysqlConnection, text: Text, keys: KeyRange) -> pa.Table:
    """Read all rows of a range of keys.

    Args:
        reader: a connection of `open_readers`.
        text: what to read.
        keys: the range; one that is longer than the server can put together at once is read in halves.

    Returns:
        The columns that `text` names, each in one chunk; in the order of the primary key as a rule, but not for sure.

    Raises:
        DatabaseError: the features of one key are too long, or a value cannot be told from the next.
    """
    condition, parameters = keys.condition(text.key)
    columns = ", '\x02', ".join(expression for expression, _ in text.columns)
    ((count, content, longest),) = query(
        reader,
        f"select count(*), group_concat({columns} separator '\n'), @@session.group_concat_max_len"
        f" from `{text.table}` force index (primary) where {condition}",
        parameters,
    )
    if int(count) and (content is None or len(content) >= int(longest) - _CHARACTER):
        return _in_halves(reader, text, keys)
    rows = _parse(text, (content or "").encode())
    if rows is None or len(rows) != int(count):
        raise DatabaseError(
            f"{text.table} has text with a control character, {text.key} {keys.after or 'the first'} to"
            f" {keys.last or 'the last'}: no load has put it there, and the tests of dbt find it"
        )
    return rows


def _in_halves(reader: MysqlConnection, text: Text, keys: KeyRange) -> pa.Table:
    statement, parameters = _distinct_keys(text, keys)
    distinct = [key for (key,) in query(reader, f"{statement} order by {text.key}", parameters)]
    if len(distinct) < 2:
        raise DatabaseError(
            f"{text.table} has more of {text.key} {distinct[0]} than the server puts into one text: set its"
            f" max_allowed_packet to {LARGE_PACKET} or more"
        )
    middle = distinct[len(distinct) // 2 - 1]
    halves = [read_rows(reader, text, half) for half in (KeyRange(keys.after, middle), KeyRange(middle, keys.last))]
    return pa.concat_tables(halves).unify_dictionaries().combine_chunks()


def _distinct_keys(text: Text, keys: KeyRange) -> tuple[str, list[int | str]]:
    condition, parameters = keys.condition(text.key)
    return f"select distinct {text.key} from `{text.table}` force index (primary) where {condition}", parameters


def _parse(text: Text, content: bytes) -> pa.Table | None:
    names = [expression for expression, _ in text.columns]
    types = dict(text.columns)
    if not content:
        return pa.schema(list(types.items())).empty_table()
    try:
        rows = arrow_csv.read_csv(
            pa.BufferReader(content),
            # In one block, so that each column is one chunk.
            read_options=arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(content) + 1),
            parse_options=arrow_csv.ParseOptions(
                delimiter="\x02", quote_char=False, double_quote=False, escape_char=False, ignore_empty_lines=False
            ),
            convert_options=arrow_csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    return rows.combine_chunks()


def read_field_index(reader: MysqlConnection) -> FieldIndex:
    """Read table `feature` and find which field each id belongs to."""
    ranges, _ = plan_ranges(reader, FEATURE, _FEATURES_AT_ONCE)
    return index_fields(_features(reader, ranges))


def _features(reader: MysqlConnection, ranges: Sequence[KeyRange]) -> Iterator[IdBatch]:
    for keys in ranges:
        ids, names = (column.combine_chunks() for column in read_rows(reader, FEATURE, keys).columns)
        order = np.argsort(ids.to_numpy(), kind="stable")
        distinct = [bytes.fromhex(name).decode("ascii") for name in names.dictionary.to_pylist()]
        yield ids.to_numpy()[order], names.indices.to_numpy()[order], distinct


def names_in(reader: MysqlConnection, text: Text, index: FieldIndex) -> list[str]:
    """Give the names of the fields that a table has features of, in the order of `index.names`.

    One look into the table's index on feature_id for each run of ids, up to the first that it has.
    """
    return [
        name
        for name in index.names
        if any(_has_ids(reader, text.table, first, end) for first, end in index.runs_of(name))
    ]


def _has_ids(reader: MysqlConnection, table: str, first: int, end: int | None) -> bool:
    condition, parameters = ("feature_id >= %s", [first])
    if end is not None:
        condition, parameters = f"{condition} and feature_id < %s", [first, end]
    statement = f"select feature_id from `{table}` where {condition} order by feature_id limit 1"
    return bool(query(reader, statement, parameters))
