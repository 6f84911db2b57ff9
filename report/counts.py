"""What dbt's reporting views say of a data set: exact, and read in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from pipeline.landed import Asset
from pipeline.mysql import MysqlConnection
from pipeline.published import hold_tables
from pipeline.registry import current_partitions, source_of_load
from pipeline.settings import Settings

Side = Literal["sample", "common"]

SIDES: tuple[Side, ...] = get_args(Side)

# What this package reads beside the four tables, itself or through these views.
_VIEWS = (
    "load_history",
    "load_reconciliation",
    "rejected_record_summary",
    "sampling_stratum",
    "feature_list_length",
    "common_feature_group_size",
    "feature_field_cardinality",
    "sample_feature_full",
)
_STAGING = (
    "load_partition",
    "feature_load",
    "asset",
    "sample",
    "common_feature",
    "sample_feature",
    "common_feature_group",
    "rejected_record",
)

# Every row of every table is counted up to this many structures, which takes some ten seconds: more would take minutes.
_MOST_STRUCTURES_TO_COUNT = 50_000_000
_MOST_LOADS = 20
_MOST_REASONS = 100
_MOST_FIELDS = 200


@dataclass(frozen=True)
class Stratum:
    """A pair of labels, with how many impressions have it."""

    click_label: int
    conversion_label: int
    response: str
    num_samples: int
    share: float


@dataclass(frozen=True)
class LoadedFile:
    """What one load landed of one source file.

    Attributes:
        num_lines: lines of the file.
        num_rows: good rows of the partitions that were landed.
        num_non_records: lines that are no records: a header, and empty lines at the end.
        first_loaded_at, last_loaded_at: when its first and last partition was landed, UTC; None if none was.
    """

    load_id: int
    source_file: str
    source_sha256: str
    is_current: bool
    num_partitions: int
    num_loaded_partitions: int
    num_lines: int
    num_rows: int
    num_structures: int
    num_rejects: int
    num_non_records: int
    first_loaded_at: datetime | None
    last_loaded_at: datetime | None


@dataclass(frozen=True)
class FileCounts:
    """What each stage holds of one file of the current load; the columns of `load_reconciliation`."""

    source_file: str
    side: str
    num_lines: int
    num_rows: int
    num_rejects: int
    num_non_records: int
    recorded_rejects: int
    staged_rows: int
    table_rows: int
    num_structures: int
    staged_structures: int
    table_structures: int


@dataclass(frozen=True)
class Rejects:
    """How many lines of a file were rejected for a reason, and the first of them."""

    source_file: str
    reason: str
    num_rejects: int
    first_line: int


@dataclass(frozen=True)
class Field:
    """A field: how many features it has, and the range of their ids. `meaning` is None for an unknown one."""

    feature_name: str
    meaning: str | None
    num_features: int
    min_feature_id: int
    max_feature_id: int


@dataclass(frozen=True)
class GroupSize:
    """How many common feature groups are referred to by this many impressions, and whether the groups are there."""

    num_samples: int
    has_features: bool
    num_groups: int


@dataclass(frozen=True)
class Impression:
    """An impression with all of its features.

    Attributes:
        features: side, field, feature_id and value of each.
    """

    sample_id: int
    click_label: int
    conversion_label: int
    common_feature_index: str
    features: Sequence[tuple[Side, str, int, float]]


@dataclass(frozen=True)
class Counts:
    """Everything that is exact.

    Attributes:
        source: the archive that the load is from, or the CSV files where they were found unpacked.
        history: what each load landed of each file, the latest load first.
        lengths: how many feature lists of each side have each length.
        impression: an example; None of an empty data set.
    """

    source: tuple[Asset, ...]
    history: Sequence[LoadedFile]
    rejects: Sequence[Rejects]
    strata: Sequence[Stratum]
    fields: Sequence[Field]
    lengths: Mapping[Side, Mapping[int, int]]
    group_sizes: Sequence[GroupSize]
    impression: Impression | None

    @property
    def num_samples(self) -> int:
        """How many impressions the tables hold."""
        return sum(stratum.num_samples for stratum in self.strata)

    @property
    def is_countable(self) -> bool:
        """Whether every row of every table is counted."""
        return sum(self.num_structures.values()) <= _MOST_STRUCTURES_TO_COUNT

    @property
    def num_lists(self) -> Mapping[Side, int]:
        """How many impressions, and how many common feature groups, were staged."""
        return {side: sum(self.lengths[side].values()) for side in SIDES}

    @property
    def num_structures(self) -> Mapping[Side, int]:
        """How many structures the staged lists of each side have."""
        return {side: sum(length * number for length, number in self.lengths[side].items()) for side in SIDES}


@contextmanager
def built_tables(settings: Settings, number: int) -> Iterator[Sequence[MysqlConnection]]:
    """Open connections to a database whose tables are built from what is staged, and let nobody change either.

    Args:
        settings: name the server and the databases.
        number: how many connections.

    Raises:
        DatabaseError: the tables are not built, or not from the load that is staged; or the server fails.
    """
    with hold_tables(settings, number, views=_VIEWS, staging=_STAGING) as published:
        yield published.readers


def read_counts(connection: MysqlConnection, settings: Settings) -> Counts:
    """Read what is exact.

    The longest queries pass over the index of `sample`, over `feature`, and over the staged rows without their
    structures.

    Args:
        connection: to the database of the tables, from `built_tables`.
        settings: name the databases and the archive.
    """
    history = [_loaded_file(row) for row in _rows(connection, _HISTORY, (_MOST_LOADS,))]
    return Counts(
        source=_source(connection, settings),
        history=history,
        rejects=[Rejects(*row) for row in _rows(connection, _REJECTS, (_MOST_REASONS,))],
        strata=[Stratum(*row) for row in _rows(connection, _STRATA)],
        fields=[Field(*row) for row in _rows(connection, _FIELDS, (_MOST_FIELDS,))],
        lengths=_lengths(connection),
        group_sizes=[GroupSize(size, bool(there), number) for size, there, number in _rows(connection, _GROUP_SIZES)],
        impression=_read_impression(connection),
    )


def count_files(connection: MysqlConnection) -> Sequence[FileCounts] | None:
    """Count every row of every table.

    Args:
        connection: from `built_tables`, one that nobody else uses at the same time.

    Returns:
        What each stage holds of each file; None where counting would take minutes.
    """
    ((num_structures,),) = _rows(connection, "select sum(num_structures) from load_history where is_current = 1")
    if (num_structures or 0) > _MOST_STRUCTURES_TO_COUNT:
        return None
    return [
        FileCounts(str(file), str(side), *(int(number or 0) for number in numbers))
        for file, side, *numbers in _rows(connection, _FILES)
    ]


_HISTORY = """
select
    load_id, source_file, source_sha256, is_current, num_partitions, num_loaded_partitions,
    num_lines, num_rows, num_structures, num_rejects, num_non_records, first_loaded_at, last_loaded_at
from load_history
where load_id > (select coalesce(max(load_id), 0) from load_history) - %s
order by load_id desc, side desc, source_file
"""
_FILES = """
select
    source_file, side, num_lines, num_rows, num_rejects, num_non_records, recorded_rejects, staged_rows, table_rows,
    num_structures, staged_structures, table_structures
from load_reconciliation
order by side desc, source_file
"""
_REJECTS = """
select source_file, reason, num_rejects, first_line
from rejected_record_summary
order by num_rejects desc, source_file, reason
limit %s
"""
_STRATA = """
select click_label, conversion_label, response, num_samples, share
from sampling_stratum
order by num_samples desc
"""
_FIELDS = """
select feature_name, meaning, num_features, min_feature_id, max_feature_id
from feature_field_cardinality
order by min_feature_id
limit %s
"""
_LENGTHS = "select side, num_features, num_lists from feature_list_length"
_GROUP_SIZES = "select num_samples, has_features, num_groups from common_feature_group_size order by num_samples"
_FIRST_SAMPLE = """
select sample_id, click_label, conversion_label, common_feature_index from sample order by sample_id limit 1
"""
_FULL_SAMPLE = """
select side, feature_name, feature_id, feature_value
from sample_feature_full
where sample_id = %s
"""


def _rows(connection: MysqlConnection, query: str, parameters: tuple[Any, ...] = ()) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def _loaded_file(row: tuple[Any, ...]) -> LoadedFile:
    load_id, file, sha256, is_current, *numbers, first, last = row
    partitions, loaded, lines, rows, structures, rejects, non_records = (int(number or 0) for number in numbers)
    return LoadedFile(
        load_id=int(load_id),
        source_file=file,
        source_sha256=sha256,
        is_current=bool(is_current),
        num_partitions=partitions,
        num_loaded_partitions=loaded,
        num_lines=lines,
        num_rows=rows,
        num_structures=structures,
        num_rejects=rejects,
        num_non_records=non_records,
        first_loaded_at=first,
        last_loaded_at=last,
    )


def _source(connection: MysqlConnection, settings: Settings) -> tuple[Asset, ...]:
    connection.select_db(settings.staging_database)
    load_id, _ = current_partitions(connection)
    source = source_of_load(connection, load_id) if load_id else ()
    connection.select_db(settings.database)
    return source


def _lengths(connection: MysqlConnection) -> Mapping[Side, Mapping[int, int]]:
    lengths: dict[Side, dict[int, int]] = {side: {} for side in SIDES}
    for side, num_features, num_lists in _rows(connection, _LENGTHS):
        lengths[side][int(num_features)] = int(num_lists)
    return lengths


def _read_impression(connection: MysqlConnection) -> Impression | None:
    first = _rows(connection, _FIRST_SAMPLE)
    if not first:
        return None
    sample_id, click, conversion, index = first[0]
    return Impression(sample_id, click, conversion, index, _features(_rows(connection, _FULL_SAMPLE, (sample_id,))))


def _features(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Side, str, int, float]]:
    return [(side, name, int(feature_id), float(value)) for side, name, feature_id, value in rows]
