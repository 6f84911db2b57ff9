"""A bounded sample of the long tables, from which the report has what no view gives quickly.

Impressions and common feature groups are drawn by a checksum of their key, the same ones each time; their structures
are looked up by key, so that the work does not grow with the data. How often the features of a field occur has a tail
that a sample of impressions hardly meets: therefore features are drawn too, and each is counted in its index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.mysql import MysqlConnection
from pipeline.settings import Settings
from report.counts import SIDES, Counts, Field, Side

Numbers = npt.NDArray[np.int64]
Item = TypeVar("Item")

# The long table of each side, and the key of its rows.
_LONG_TABLES: Mapping[Side, tuple[str, str]] = {
    "sample": ("sample_feature", "sample_id"),
    "common": ("common_feature_group", "common_feature_index"),
}

# Structures of so many rows are asked for at once.
_KEYS_AT_ONCE: Mapping[Side, int] = {"sample": 1000, "common": 50}
_IDS_AT_ONCE = 1000

# A field with no more features than this is shown feature by feature.
MOST_CATEGORIES = 20
# Of a field with more, so many features are counted, fewer where each occurs often: in all about _MOST_OCCURRENCES.
_MOST_FEATURES = 200
_LEAST_FEATURES = 25
_MOST_OCCURRENCES = 200_000
# Ids of a field are tried at even distances until it has its features, where its range is thin at most so many.
_MOST_TRIES = 20_000
# The share of a feature that so many drawn rows have is known to within a third. A rarer one is counted in all rows,
# and kept as long as a feature that is as frequent has hardly escaped the drawn rows.
_ENOUGH = 10
_HARDLY_ESCAPES = 3
# Of the drawn features, the ranks of the first ones are little more than chance.
_LEFT_OUT = 3


@dataclass(frozen=True)
class FieldSample:
    """What the drawn rows of a side have of a field.

    Attributes:
        num_rows: how many of the drawn rows have it.
        lengths: how many features of the field they have, one number a row.
        values: the values that occur, rising.
        value_counts: how often each does.
        feature_ids: the features that occur, the most frequent first.
        feature_counts: in how many of the drawn rows each does.
    """

    num_rows: int
    lengths: Numbers
    values: npt.NDArray[np.float64]
    value_counts: Numbers
    feature_ids: Numbers
    feature_counts: Numbers


@dataclass(frozen=True)
class Ranks:
    """Shares of the rows in which features of a field occur, by rank; rank 1 is the most frequent feature.

    Attributes:
        head: of the most frequent, in the drawn rows; of the last of them, which few drawn rows have, in all rows.
        tail_ranks: estimated ranks of the drawn features.
        tail: their shares, counted.
    """

    head: npt.NDArray[np.float64]
    tail_ranks: npt.NDArray[np.float64]
    tail: npt.NDArray[np.float64]

    def share_at(self, rank: float) -> float | None:
        """Give the share of the feature at a rank, if one at or after it was drawn."""
        if rank <= len(self.head):
            return float(self.head[max(0, int(np.ceil(rank)) - 1)])
        place = int(np.searchsorted(self.tail_ranks, rank))
        return float(self.tail[place]) if place < len(self.tail) else None


@dataclass(frozen=True)
class SideSample:
    """The drawn rows of one side.

    Attributes:
        num_rows: how many were drawn.
        num_all: of how many.
        num_structures: how many structures they have.
        fields: what they have of each field.
        ranks: of the fields with many features.
    """

    num_rows: int
    num_all: int
    num_structures: int
    fields: Mapping[str, FieldSample]
    ranks: Mapping[str, Ranks]

    @property
    def is_whole(self) -> bool:
        """Whether all rows were drawn."""
        return self.num_rows == self.num_all


def draw_sides(
    connection: MysqlConnection, settings: Settings, counts: Counts, num_rows: Mapping[Side, int]
) -> Mapping[Side, SideSample]:
    """Draw rows of both sides and look at their structures.

    Args:
        connection: to the database of the tables.
        settings: name the staging database, which has one row per common feature group.
        counts: what is known already.
        num_rows: about how many rows to draw of each side, at most.
    """
    return {side: _draw_side(connection, settings, counts, side, num_rows[side]) for side in SIDES}


def _draw_side(
    connection: MysqlConnection, settings: Settings, counts: Counts, side: Side, num_rows: int
) -> SideSample:
    num_all = counts.num_samples if side == "sample" else counts.num_lists[side]
    keys = _draw_keys(connection, settings, side, -(-num_all // num_rows))
    fields, num_structures = _read_fields(connection, side, keys)
    ranks = {
        field.feature_name: _ranks(connection, _Field(side, field, fields[field.feature_name], len(keys), num_all))
        for field in counts.fields
        if field.num_features > MOST_CATEGORIES and field.feature_name in fields
    }
    return SideSample(len(keys), num_all, num_structures, fields, ranks)


def _draw_keys(connection: MysqlConnection, settings: Settings, side: Side, every: int) -> list[Any]:
    """Draw about one key in `every`."""
    table, key = {
        "sample": ("sample", "sample_id"),
        "common": (f"`{settings.staging_database}`.common_feature", "common_feature_index"),
    }[side]
    with connection.cursor() as cursor:
        cursor.execute(f"select {key} from {table} where crc32({key}) %% %s = 0 order by {key}", (max(1, every),))
        return [row[0] for row in cursor.fetchall()]


def _read_fields(connection: MysqlConnection, side: Side, keys: Sequence[Any]) -> tuple[Mapping[str, FieldSample], int]:
    """Read the structures of some rows, field by field, and how many they are."""
    names: dict[str, int] = {}
    lists = {key: number for number, key in enumerate(keys)}
    parts: list[tuple[Numbers, Numbers, Numbers, npt.NDArray[np.float64]]] = []
    for rows in _structures(connection, side, keys):
        if rows:
            of_name, of_list, ids, values = zip(*rows, strict=True)
            parts.append(
                (
                    np.array([names.setdefault(name, len(names)) for name in of_name]),
                    np.array([lists[key] for key in of_list]),
                    np.array(ids, dtype=np.int64),
                    np.array(values, dtype=np.float64),
                )
            )
    if not parts:
        return {}, 0
    numbers, *columns = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    fields = {name: _field_sample(*(column[numbers == number] for column in columns)) for name, number in names.items()}
    return fields, len(numbers)


def _structures(connection: MysqlConnection, side: Side, keys: Sequence[Any]) -> Iterator[Sequence[tuple[Any, ...]]]:
    table, key = _LONG_TABLES[side]
    for some in _pieces(keys, _KEYS_AT_ONCE[side]):
        with connection.cursor() as cursor:
            # In this order and by these keys: a server that begins with all features would read all structures.
            cursor.execute(
                f"select straight_join feature.feature_name, {table}.{key}, {table}.feature_id,"
                f" cast({table}.feature_value as double)"
                f" from {table} inner join feature force index (primary) on {table}.feature_id = feature.feature_id"
                f" where {table}.{key} in %s",
                (some,),
            )
            yield cursor.fetchall()


def _field_sample(lists: Numbers, features: Numbers, numbers: npt.NDArray[np.float64]) -> FieldSample:
    _, lengths = np.unique(lists, return_counts=True)
    values, value_counts = np.unique(numbers, return_counts=True)
    ids, id_counts = np.unique(features, return_counts=True)
    order = np.argsort(-id_counts, kind="stable")
    return FieldSample(
        num_rows=len(lengths),
        lengths=lengths.astype(np.int64),
        values=values,
        value_counts=value_counts.astype(np.int64),
        feature_ids=ids[order],
        feature_counts=id_counts[order].astype(np.int64),
    )


@dataclass(frozen=True)
class _Field:
    """A field on one side, and what is drawn of it: `num_drawn` of `num_all` rows."""

    side: Side
    field: Field
    sample: FieldSample
    num_drawn: int
    num_all: int


def _ranks(connection: MysqlConnection, of: _Field) -> Ranks:
    """Put the two ends of a field's curve together."""
    if of.num_drawn == of.num_all:
        return Ranks(of.sample.feature_counts / of.num_drawn, np.empty(0), np.empty(0))
    head = _head(connection, of)
    occurrences = of.sample.feature_counts.sum() * of.num_all / of.num_drawn
    affordable = int(_MOST_OCCURRENCES * of.field.num_features / occurrences)
    ids = _draw_features(connection, of.field, min(_MOST_FEATURES, max(_LEAST_FEATURES, affordable)))
    shares = _sorted_shares(connection, of, ids)
    # The i-th of n drawn features stands for the i-th of n equal parts of all features.
    ranks = (np.arange(len(shares)) + 0.5) * of.field.num_features / max(1, len(ids))
    later = ranks > len(head)
    later[:_LEFT_OUT] = False
    return Ranks(head, ranks[later], shares[later])


def _head(connection: MysqlConnection, of: _Field) -> npt.NDArray[np.float64]:
    """Give the shares of the most frequent features, as many as the drawn rows tell."""
    counts = of.sample.feature_counts
    sure = counts[counts >= _ENOUGH] / of.num_drawn
    unsure = (counts < _ENOUGH) & (counts >= _HARDLY_ESCAPES)
    affordable = np.cumsum(counts[unsure]) * of.num_all / of.num_drawn <= _MOST_OCCURRENCES
    ids = of.sample.feature_ids[unsure][affordable].tolist()
    counted = _sorted_shares(connection, of, ids)
    return np.sort(np.concatenate([sure, counted[counted * of.num_drawn >= _HARDLY_ESCAPES]]))[::-1]


def _sorted_shares(connection: MysqlConnection, of: _Field, ids: Sequence[int]) -> npt.NDArray[np.float64]:
    counted = _count_features(connection, of.side, ids)
    return np.sort(np.array(counted, dtype=np.float64))[::-1] / of.num_all


def _draw_features(connection: MysqlConnection, field: Field, number: int) -> list[int]:
    """Draw about so many features of a field, at even distances in the range of its ids."""
    range_of_ids = field.max_feature_id - field.min_feature_id + 1
    tries = min(_MOST_TRIES, range_of_ids, -(-number * range_of_ids // field.num_features))
    tried = np.unique(np.linspace(field.min_feature_id, field.max_feature_id, tries).astype(np.int64)).tolist()
    found: list[int] = []
    for some in _pieces(tried, _IDS_AT_ONCE):
        with connection.cursor() as cursor:
            cursor.execute(
                "select feature_id from feature where feature_id in %s and feature_name = %s",
                (some, field.feature_name),
            )
            found += [row[0] for row in cursor.fetchall()]
    return found


def _count_features(connection: MysqlConnection, side: Side, ids: Sequence[int]) -> list[int]:
    """Count in how many rows each of some features occurs; one that does not occur on this side is left out."""
    table, _ = _LONG_TABLES[side]
    numbers: list[int] = []
    for some in _pieces(ids, _IDS_AT_ONCE):
        with connection.cursor() as cursor:
            cursor.execute(f"select count(*) from {table} where feature_id in %s group by feature_id", (some,))
            numbers += [row[0] for row in cursor.fetchall()]
    return numbers


def _pieces(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
