"""The export of one data set: a folder that is whole or not there.

`manifest.json` says what it holds and where that comes from; `sample/part-*.parquet` have one row per sample, ordered
by sample_id or shuffled; `common_feature_group/part-*.parquet` have one row per common feature group, ordered by its
index, so that a sample can name its group by the number of its row.
"""

from __future__ import annotations

import queue
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from export.columns import (
    GROUP_COLUMNS,
    INDEXED,
    PRINTED,
    SAMPLE_COLUMNS,
    Features,
    Filled,
    Form,
    file_schema,
    fill_lists,
    folds,
    with_indexes,
)
from export.fields import Field, FieldIndex, Places, name_columns
from export.folder import new_export, write_manifest
from export.parts import Part, Spool, write_part
from export.reading import (
    GROUP_FEATURE,
    SAMPLE,
    SAMPLE_FEATURE,
    KeyRange,
    Text,
    names_in,
    open_readers,
    plan_ranges,
    read_field_index,
    read_rows,
)
from export.vocabulary import (
    FOLDER,
    Origin,
    count_vocabulary,
    read_vocabulary,
    write_vocabulary,
)
from pipeline.cli import say, shown
from pipeline.errors import DatabaseError
from pipeline.fields import known_fields
from pipeline.files import sync_folder
from pipeline.mysql import MysqlConnection, explained
from pipeline.progress import track, working
from pipeline.settings import Settings
from pipeline.units import duration, quantity

FORMAT_VERSION = 2

# At full size a part is as large as it may be; of less data there are as many parts as several readers can share.
_RANGES_PER_ROW_GROUP = 4
_MOST_RANGES_PER_PART = 16
_FEWEST_PARTS = 16
_WRITERS = 2

_SPOOL = ".spool"

Counts = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Side:
    """One of the two kinds of owners that features have.

    Attributes:
        name: the folder of its files.
        label: its rows, as progress names them.
        keys: the table and the key whose values are the rows.
        features: the table of its features.
        columns: its own columns.
        keys_per_range: rows that are asked for at once: at full size about 250,000 features of a sample, half of that
            of a group.
    """

    name: str
    label: str
    keys: Text
    features: Text
    columns: Sequence[pa.Field]
    keys_per_range: int


GROUPS = Side("common_feature_group", "common feature groups", GROUP_FEATURE, GROUP_FEATURE, GROUP_COLUMNS, 256)
SAMPLES = Side("sample", "samples", SAMPLE, SAMPLE_FEATURE, SAMPLE_COLUMNS, 16_384)


@dataclass(frozen=True)
class Choices:
    """What a person may choose of an export.

    Attributes:
        vocabulary: how many impressions an id must be in to get an index, or the export whose vocabulary is used; None
            for ids and values as they are printed.
        shuffle: the seed of the random order of the samples; None for that of sample_id.
    """

    vocabulary: int | Path | None = None
    shuffle: int | None = None


_AS_PRINTED = Choices()


@dataclass(frozen=True)
class Exported:
    """What was written of one side."""

    fields: Sequence[Mapping[str, Any]]
    parts: Sequence[Part]

    @property
    def rows(self) -> int:
        """Samples or common feature groups."""
        return sum(part.rows for part in self.parts)

    @property
    def features(self) -> int:
        """Their features."""
        return sum(part.features for part in self.parts)


@dataclass(frozen=True)
class _Plan:
    """How a side is read, and what of it is written."""

    side: Side
    form: Form
    ranges: Sequence[KeyRange]
    num_rows: int
    fields: Sequence[Field]

    @property
    def ranges_per_part(self) -> int:
        return min(max(len(self.ranges) // _FEWEST_PARTS, 1), _MOST_RANGES_PER_PART)

    @property
    def num_parts(self) -> int:
        return -(-len(self.ranges) // self.ranges_per_part)

    @property
    def schema(self) -> pa.Schema:
        schema = file_schema(self.side.columns, self.fields, self.form)
        return schema.with_metadata({"format_version": str(FORMAT_VERSION)})


@dataclass(frozen=True)
class _Run:
    """What an export is made of.

    Attributes:
        settings: name the server, the database and the data set.
        readers: connections that see the tables of one load.
        index: the features.
        choices: what to make of ids and of the order.
        folder: where it is written.
        indexes: the index of each feature, where there was a vocabulary before the tables are read.
    """

    settings: Settings
    readers: Sequence[MysqlConnection]
    index: FieldIndex
    choices: Choices
    folder: Path
    indexes: Places | None


class _Tally:
    """What has been seen of a side: impressions or groups by feature, and by field in the order of the plan."""

    def __init__(self, num_features: int, num_fields: int) -> None:
        self.counts = np.zeros(num_features, dtype=np.uint64)
        self.num_owners = np.zeros(num_fields, dtype=np.int64)
        self.longest = np.zeros(num_fields, dtype=np.int64)
        self.is_one = np.ones(num_fields, dtype=bool)

    def add(self, filled: Filled) -> None:
        np.add.at(self.counts, filled.places, np.uint64(1))
        self.num_owners += filled.num_owners
        np.maximum(self.longest, filled.longest, out=self.longest)
        self.is_one &= filled.is_one


class _GroupRows:
    """The common feature groups that are written, by the number of their row; and how many impressions each has."""

    def __init__(self, keys: Sequence[pa.ChunkedArray]) -> None:
        self._keys = np.array([key.encode() for chunk in keys for key in chunk.to_pylist()], dtype=np.bytes_)
        self._order = np.argsort(self._keys)
        self.impressions = np.zeros(len(self._keys), dtype=np.uint64)

    def rows_of(self, keys: Sequence[str]) -> npt.NDArray[np.int32]:
        """Give for each key its row, -1 where there is none."""
        if not len(self._keys):
            return np.full(len(keys), -1, dtype=np.int32)
        wanted = np.array([key.encode() for key in keys], dtype=np.bytes_)
        places = np.searchsorted(self._keys, wanted, sorter=self._order)
        rows = self._order[np.minimum(places, len(self._order) - 1)]
        return np.where(self._keys[rows] == wanted, rows, -1).astype(np.int32)

    def count(self, rows: pa.ChunkedArray) -> None:
        """Count the impressions of each group."""
        np.add.at(self.impressions, rows.drop_null().to_numpy(), np.uint64(1))


@dataclass(frozen=True)
class _Landed:
    """A side that was read: the parts, or the rows that wait to be parts."""

    plan: _Plan
    tally: _Tally
    parts: Sequence[Part] | Spool


def export(settings: Settings, folder: Path, connections: int, choices: Choices = _AS_PRINTED) -> None:
    """Write the four tables as Parquet, and say what was written.

    Args:
        settings: name the server, the database and the data set.
        folder: gets the export, in place of an older one.
        connections: how many connections read at the same time.
        choices: what to make of ids and of the order.

    Raises:
        DatabaseError: the tables are not there, are not of one load, or cannot be read.
        UsageError: the folder holds something else, or the vocabulary is none.
        PipelineError: the disk is full, or another export writes to the folder.
    """
    begun = time.monotonic()
    vocabulary = read_vocabulary(choices.vocabulary) if isinstance(choices.vocabulary, Path) else None
    with new_export(folder) as unfinished:
        with open_readers(settings, connections) as published:
            say(f"reading {settings.database} of {settings.mysql.address}, load {published.load_id}")
            with working("read the fields"):
                index = read_field_index(published.readers[0])
            indexes = vocabulary.indexes_of(index) if vocabulary else None
            run = _Run(settings, published.readers, index, choices, unfinished, indexes)
            groups, rows = _land_groups(run)
            samples = _land_samples(run, rows)
        if isinstance(choices.vocabulary, int) and isinstance(groups.parts, Spool):
            origin = Origin(choices.vocabulary, settings.database, published.load_id)
            counts = samples.tally.counts + _counts_by_impressions(groups.plan, groups.parts, rows, len(index.ids))
            vocabulary = count_vocabulary(index, counts, origin)
            run = replace(run, indexes=vocabulary.indexes_of(index))
        written = {landed.plan.side.name: _written(run, landed) for landed in (samples, groups)}
        shutil.rmtree(unfinished / _SPOOL, ignore_errors=True)
        content = _manifest(settings, published.load_id, choices, written)
        if vocabulary is not None:
            content[FOLDER] = write_vocabulary(vocabulary, name_columns(index.names), unfinished)
        write_manifest(unfinished, content)
    _say_summary(settings, folder, written, content, time.monotonic() - begun)


def _land_groups(run: _Run) -> tuple[_Landed, _GroupRows]:
    keys: list[pa.ChunkedArray] = []
    landed = _land(run, GROUPS, lambda owners: owners, lambda table: keys.append(table.column(0)))
    return landed, _GroupRows(keys)


def _land_samples(run: _Run, rows: _GroupRows) -> _Landed:
    def complete(owners: pa.Table) -> pa.Table:
        of_group = owners.column("common_feature_index").combine_chunks().dictionary_encode()
        distinct, places = of_group.dictionary.to_pylist(), of_group.indices.to_numpy()
        row = rows.rows_of(distinct)[places]
        owners = owners.append_column("common_feature_row", pa.array(row, mask=row < 0))
        owners = owners.append_column("sample_fold", pa.array(folds(owners.column("sample_id").to_pylist())))
        return owners.append_column("group_fold", pa.array(folds(distinct)[places]))

    return _land(run, SAMPLES, complete, lambda table: rows.count(table.column("common_feature_row")))


def _land(
    run: _Run, side: Side, complete: Callable[[pa.Table], pa.Table], watch: Callable[[pa.Table], None]
) -> _Landed:
    """Read a side; write it, or have it wait for a vocabulary or the end of a shuffle.

    Args:
        run: the export.
        side: what is read.
        complete: gives owners the columns that are not in the table.
        watch: sees all rows, in the order of their keys.
    """
    plan = _plan(run, side)
    tally = _Tally(len(run.index.ids), len(plan.fields))
    (run.folder / side.name).mkdir()
    seed = run.choices.shuffle if side is SAMPLES else None
    with track(side.label, plan.num_rows, "rows") as progress, closing(_row_groups(run, plan, tally, complete)) as read:

        def watched() -> Iterator[tuple[int, pa.Table]]:
            for number, table in read:
                watch(table)
                yield number, table
                progress.advance(len(table))

        if seed is not None or (plan.form is INDEXED and run.indexes is None):
            spool = Spool(run.folder / _SPOOL / side.name, plan.num_parts, plan.schema, seed)
            with spool.filled() as put:
                for number, table in watched():
                    put(number, table)
            return _Landed(plan, tally, spool)
        parts = [
            _write(run, plan, number, (table for _, table in of_part))
            for number, of_part in groupby(watched(), itemgetter(0))
        ]
    return _Landed(plan, tally, parts)


def _plan(run: _Run, side: Side) -> _Plan:
    with working(f"count the {side.label}"):
        ranges, num_rows = plan_ranges(run.readers[0], side.keys, side.keys_per_range)
        present = names_in(run.readers[0], side.features, run.index)
    fields = tuple(field for field in name_columns(run.index.names) if field.name in present)
    return _Plan(side, PRINTED if run.choices.vocabulary is None else INDEXED, ranges, num_rows, fields)


def _row_groups(
    run: _Run, plan: _Plan, tally: _Tally, complete: Callable[[pa.Table], pa.Table]
) -> Generator[tuple[int, pa.Table], None, None]:
    """Read a side, and give the number of a part and a row group of it, in the order of their keys."""

    def read(reader: MysqlConnection, keys: KeyRange) -> tuple[pa.Table, Filled]:
        with explained(run.settings.mysql):
            return _read_range(reader, plan, keys, run.index, complete)

    with closing(_read_ahead(run.readers, plan.ranges, read)) as tables:
        for number, part_ranges in enumerate(_slices(plan.ranges, plan.ranges_per_part)):
            for group in _slices(part_ranges, _RANGES_PER_ROW_GROUP):
                read_tables, filled = zip(*(next(tables) for _ in group), strict=True)
                for each in filled:
                    tally.add(each)
                yield number, pa.concat_tables(read_tables)


def _write(run: _Run, plan: _Plan, number: int, tables: Iterator[pa.Table], *, is_sorted: bool = True) -> Part:
    path = run.folder / plan.side.name / f"part-{number:05d}.parquet"
    indexed = tables if run.indexes is None else (with_indexes(table, run.indexes) for table in tables)
    return write_part(path, plan.schema, indexed, is_sorted=is_sorted)


def _written(run: _Run, landed: _Landed) -> Exported:
    """Write what waits, and describe what is written."""
    plan, parts = landed.plan, landed.parts
    if isinstance(parts, Spool):
        spool = parts
        with track(f"write the {plan.side.label}", plan.num_rows, "rows") as progress:

            def write(number: int) -> Part:
                part = _write(run, plan, number, spool.read(number), is_sorted=spool.seed is None)
                spool.remove(number)
                return part

            parts = []
            with ThreadPoolExecutor(_WRITERS) as pool:
                for part in pool.map(write, range(plan.num_parts)):
                    progress.advance(part.rows)
                    parts.append(part)
    sync_folder(run.folder / plan.side.name)
    return Exported(_described(run, landed), parts)


def _counts_by_impressions(plan: _Plan, spool: Spool, rows: _GroupRows, num_features: int) -> Counts:
    """Count for each feature the impressions of the groups that have it."""
    counts = np.zeros(num_features, dtype=np.uint64)
    first = 0
    for number in range(plan.num_parts):
        for table in spool.read(number):
            weights = rows.impressions[first : first + len(table)]
            first += len(table)
            for field in plan.fields:
                for chunk in table.column(field.indexes).chunks:
                    np.add.at(counts, chunk.flatten().to_numpy(), np.repeat(weights, chunk.value_lengths().to_numpy()))
    return counts


def _slices(items: Sequence[KeyRange], size: int) -> Iterator[Sequence[KeyRange]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _read_ahead(
    readers: Sequence[MysqlConnection],
    ranges: Sequence[KeyRange],
    read: Callable[[MysqlConnection, KeyRange], tuple[pa.Table, Filled]],
) -> Generator[tuple[pa.Table, Filled], None, None]:
    """Read ranges in their order, by all connections, and never more than two ranges ahead of each connection."""
    free: queue.SimpleQueue[MysqlConnection] = queue.SimpleQueue()
    for reader in readers:
        free.put(reader)

    def read_by_a_free_one(keys: KeyRange) -> tuple[pa.Table, Filled]:
        reader = free.get()
        try:
            return read(reader, keys)
        finally:
            free.put(reader)

    pool = ThreadPoolExecutor(len(readers))
    ahead: deque[Future[tuple[pa.Table, Filled]]] = deque()
    try:
        for keys in ranges:
            ahead.append(pool.submit(read_by_a_free_one, keys))
            if len(ahead) > 2 * len(readers):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_range(
    reader: MysqlConnection, plan: _Plan, keys: KeyRange, index: FieldIndex, complete: Callable[[pa.Table], pa.Table]
) -> tuple[pa.Table, Filled]:
    side = plan.side
    rows = read_rows(reader, side.features, keys)
    if side.keys is side.features:
        owners, places = _owners_by_name(rows)
    else:
        owners = read_rows(reader, side.keys, keys).sort_by(side.keys.key)
        places = _places_by_id(rows.column(side.keys.key).to_numpy(), owners.column(side.keys.key).to_numpy(), side)
    try:
        filled = fill_lists(_in_order(places, rows), len(owners), plan.fields, index, plan.form)
    except pa.ArrowInvalid as error:
        raise DatabaseError(
            f"{side.features.table} has a feature_value that is no number, {side.features.key}"
            f" {keys.after or 'the first'} to {keys.last or 'the last'}: no load has put it there"
        ) from error
    if filled.without_column:
        raise DatabaseError(f"{side.features.table} got features of {min(filled.without_column)} while it was read")
    owners = complete(owners)
    columns = [*(column.combine_chunks() for column in owners.columns), *filled.lists]
    return pa.table(columns, schema=file_schema(side.columns, plan.fields, plan.form)), filled


def _owners_by_name(rows: pa.Table) -> tuple[pa.Table, Any]:
    """Give the distinct keys, sorted, and for each row the place of its key among them."""
    keys = rows.column(0).combine_chunks()
    order = pc.sort_indices(keys.dictionary).to_numpy()
    ranks = np.empty(len(order), dtype=np.intp)
    ranks[order] = np.arange(len(order))
    return pa.table([keys.dictionary.take(pa.array(order))], names=["key"]), ranks[keys.indices.to_numpy()]


def _places_by_id(ids: Any, owner_ids: Any, side: Side) -> Any:
    places = np.searchsorted(owner_ids, ids)
    known = places < len(owner_ids)
    known[known] = owner_ids[places[known]] == ids[known]
    if not known.all():
        raise DatabaseError(
            f"{side.features.table} has {side.keys.key} {ids[~known][0]}, which {side.keys.table} has not:"
            " the tests of dbt find all of these"
        )
    return places


def _in_order(places: Any, rows: pa.Table) -> Features:
    """Put features into the order of owners and ids, in which the server gives them as a rule."""
    ids, values = rows.column("feature_id").to_numpy(), rows.column("feature_value").combine_chunks()
    keys = places.astype(np.uint64) << np.uint64(32) | ids
    if (keys[1:] > keys[:-1]).all():
        return Features(places, ids, values)
    order = np.argsort(keys)
    return Features(places[order], ids[order], values.take(pa.array(order)))


def _described(run: _Run, landed: _Landed) -> list[dict[str, Any]]:
    """Describe the fields of a side, as the seed of dbt and the rows show them."""
    known = known_fields(run.settings.root)
    plan, tally = landed.plan, landed.tally
    codes = run.index.codes_of(run.index.ids[tally.counts > 0])
    cardinalities = np.bincount(codes, minlength=len(run.index.names))
    return [
        {
            "name": field.name,
            "side": plan.side.name,
            "meaning": known[field.name]["meaning"] if field.name in known else None,
            "multi_valued": bool(tally.longest[number] > 1),
            "longest": int(tally.longest[number]),
            "value_kind": _value_kind(known.get(field.name), is_one=bool(tally.is_one[number])),
            "cardinality": int(cardinalities[run.index.names.index(field.name)]),
            "coverage": int(tally.num_owners[number]) / plan.num_rows if plan.num_rows else 0.0,
            plan.form.first_name: plan.form.columns_of(field)[0],
            "values": field.values,
        }
        for number, field in enumerate(plan.fields)
    ]


def _value_kind(known: Mapping[str, str] | None, *, is_one: bool) -> str:
    """Give the kind of a field's values: `one` where each is 1, else the kind that is known, if it is another."""
    if is_one:
        return "one"
    return known["value_kind"] if known and known["value_kind"] != "one" else "number"


def _manifest(settings: Settings, load_id: int, choices: Choices, exported: dict[str, Exported]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "database": settings.database,
        "data_set": settings.data_set.name,
        "mode": settings.mode,
        "load_id": load_id,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "shuffle": choices.shuffle,
        **{
            name: {
                "rows": side.rows,
                "features": side.features,
                "fields": side.fields,
                "files": [asdict(part) for part in side.parts],
            }
            for name, side in exported.items()
        },
    }


def _say_summary(
    settings: Settings, folder: Path, exported: dict[str, Exported], content: Mapping[str, Any], seconds: float
) -> None:
    sample, group = (exported[side.name] for side in (SAMPLES, GROUPS))
    parts = [*sample.parts, *group.parts]
    features = sample.features + group.features
    say(
        f"export of {settings.data_set.name}: {sample.rows:,} samples with {sample.features:,} features,"
        f" {group.rows:,} common feature groups with {group.features:,};"
        f" {quantity(sum(part.bytes for part in parts), 'B')} in {len(parts)} files, {duration(seconds)}"
        f" ({features / max(seconds, 0.001):,.0f} features/s)"
    )
    if FOLDER in content:
        vocabulary = content[FOLDER]
        size = sum(field["size"] for field in vocabulary["fields"].values())
        say(
            f"  indexes for {size:,} ids that are in at least {vocabulary['minimum']:,} impressions of"
            f" {vocabulary['database']}, 0 for the others"
        )
    say(f"  in {shown(folder)}; docs/export.md shows how to read it")
