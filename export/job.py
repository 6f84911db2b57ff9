"""The export of one data set: a folder that is whole or not there.

`manifest.json` says what it holds and where that comes from; `sample/part-*.parquet` have one row per sample, ordered
by sample_id; `common_feature_group/part-*.parquet` have one row per common feature group, ordered by its index.
"""

from __future__ import annotations

import os
import queue
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from export.columns import GROUP_COLUMNS, SAMPLE_COLUMNS, Features, file_schema, fill_lists
from export.fields import Field, FieldIndex, name_columns
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
from pipeline.cli import say, shown
from pipeline.errors import DatabaseError, UsageError
from pipeline.files import disk_errors, hold_lock, make_private_folder, sync_folder, write_json
from pipeline.interrupt import answer_with
from pipeline.mysql import MysqlConnection, explained
from pipeline.progress import track, working
from pipeline.settings import Settings
from pipeline.units import duration, quantity

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

_RANGES_PER_ROW_GROUP = 4
_ROW_GROUPS_PER_PART = 8


@dataclass(frozen=True)
class Side:
    """One of the two kinds of owners that features have.

    Attributes:
        name: the folder of its files.
        label: its rows, as progress names them.
        keys: the table and the key whose values are the rows.
        features: the table of its features.
        columns: its own columns.
        keys_per_range: rows that are asked for at once: at full size about 250,000 features of either side.
    """

    name: str
    label: str
    keys: Text
    features: Text
    columns: Sequence[pa.Field]
    keys_per_range: int


SIDES = (
    Side("sample", "samples", SAMPLE, SAMPLE_FEATURE, SAMPLE_COLUMNS, 16_384),
    Side("common_feature_group", "common feature groups", GROUP_FEATURE, GROUP_FEATURE, GROUP_COLUMNS, 512),
)


@dataclass(frozen=True)
class _Part:
    path: str
    rows: int
    features: int
    bytes: int


@dataclass(frozen=True)
class Exported:
    """What was written of one side."""

    fields: Sequence[Field]
    parts: Sequence[_Part]

    @property
    def rows(self) -> int:
        """Samples or common feature groups."""
        return sum(part.rows for part in self.parts)

    @property
    def features(self) -> int:
        """Their features."""
        return sum(part.features for part in self.parts)


def export(settings: Settings, folder: Path, connections: int) -> None:
    """Write the four tables as Parquet, and say what was written.

    Args:
        settings: name the server, the database and the data set.
        folder: gets the export, in place of an older one.
        connections: how many connections read at the same time.

    Raises:
        DatabaseError: the tables are not there, are not of one load, or cannot be read.
        UsageError: the folder holds something else.
        PipelineError: the disk is full, or another export writes to the folder.
    """
    begun = time.monotonic()
    unfinished = folder.with_name(f".{folder.name}.incomplete")
    with (
        disk_errors(folder),
        hold_lock(folder.with_name(f".{folder.name}.lock"), f"another make export is writing to {folder}"),
    ):
        _put_back(folder)
        _require_replaceable(folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        with open_readers(settings, connections) as published:
            say(f"reading {settings.database} of {settings.mysql.address}, load {published.load_id}")
            readers = published.readers
            with working("read the fields"):
                index = read_field_index(readers[0])
            exported = {side.name: _export_side(settings, side, index, readers, unfinished) for side in SIDES}
        write_json(unfinished / MANIFEST, _manifest(settings, published.load_id, exported))
        _publish(unfinished, folder)
    _say_summary(settings, folder, exported, time.monotonic() - begun)


def _export_side(
    settings: Settings, side: Side, index: FieldIndex, readers: Sequence[MysqlConnection], folder: Path
) -> Exported:
    with working(f"count the {side.label}"):
        ranges, num_rows = plan_ranges(readers[0], side.keys, side.keys_per_range)
        present = names_in(readers[0], side.features, index)
    fields = tuple(field for field in name_columns(index.names) if field.name in present)
    make_private_folder(folder / side.name)

    def read(reader: MysqlConnection, keys: KeyRange) -> tuple[pa.Table, int]:
        with explained(settings.mysql):
            return _read_range(reader, side, keys, fields, index)

    parts = []
    schema = file_schema(side.columns, fields).with_metadata({"format_version": str(FORMAT_VERSION)})
    with track(side.label, num_rows, "rows") as progress, closing(_read_ahead(readers, ranges, read)) as tables:
        for number, part_ranges in enumerate(_slices(ranges, _RANGES_PER_ROW_GROUP * _ROW_GROUPS_PER_PART)):
            path = folder / side.name / f"part-{number:05d}.parquet"
            rows = features = 0
            with _writer(path, schema) as writer:
                for group in _slices(part_ranges, _RANGES_PER_ROW_GROUP):
                    read_tables, counts = zip(*(next(tables) for _ in group), strict=True)
                    table = pa.concat_tables(read_tables)
                    writer.write_table(table, row_group_size=max(1, len(table)))
                    rows, features = rows + len(table), features + sum(counts)
                    progress.advance(len(table))
            parts.append(_Part(f"{side.name}/{path.name}", rows, features, path.stat().st_size))
    sync_folder(folder / side.name)
    return Exported(fields, parts)


def _slices(items: Sequence[KeyRange], size: int) -> Iterator[Sequence[KeyRange]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _read_ahead(
    readers: Sequence[MysqlConnection],
    ranges: Sequence[KeyRange],
    read: Callable[[MysqlConnection, KeyRange], tuple[pa.Table, int]],
) -> Generator[tuple[pa.Table, int], None, None]:
    """Read ranges in their order, by all connections, and never more than two ranges ahead of each connection."""
    free: queue.SimpleQueue[MysqlConnection] = queue.SimpleQueue()
    for reader in readers:
        free.put(reader)

    def read_by_a_free_one(keys: KeyRange) -> tuple[pa.Table, int]:
        reader = free.get()
        try:
            return read(reader, keys)
        finally:
            free.put(reader)

    pool = ThreadPoolExecutor(len(readers))
    ahead: deque[Future[tuple[pa.Table, int]]] = deque()
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
    reader: MysqlConnection, side: Side, keys: KeyRange, fields: Sequence[Field], index: FieldIndex
) -> tuple[pa.Table, int]:
    rows = read_rows(reader, side.features, keys)
    if side.keys is side.features:
        owners, places = _owners_by_name(rows)
    else:
        owners = read_rows(reader, side.keys, keys).sort_by(side.keys.key)
        places = _places_by_id(rows.column(side.keys.key).to_numpy(), owners.column(side.keys.key).to_numpy(), side)
    lists, without_column = fill_lists(_in_order(places, rows), len(owners), fields, index)
    if without_column:
        raise DatabaseError(f"{side.features.table} got features of {min(without_column)} while it was read")
    schema = file_schema(side.columns, fields)
    return pa.table([*(column.combine_chunks() for column in owners.columns), *lists], schema=schema), len(rows)


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


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Open a part, and bring it to the disk when it is written."""
    own_columns = [field.name for field in schema if not pa.types.is_list(field.type)]
    with path.open("xb") as file:
        with pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            write_statistics=own_columns,
            sorting_columns=[pq.SortingColumn(0)],
        ) as writer:
            yield writer
        file.flush()
        os.fsync(file.fileno())


def _manifest(settings: Settings, load_id: int, exported: dict[str, Exported]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "database": settings.database,
        "data_set": settings.data_set.name,
        "mode": settings.mode,
        "load_id": load_id,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **{
            name: {
                "rows": side.rows,
                "features": side.features,
                "fields": [asdict(field) for field in side.fields],
                "files": [asdict(part) for part in side.parts],
            }
            for name, side in exported.items()
        },
    }


def _require_replaceable(folder: Path) -> None:
    """Refuse to put an export in the place of anything but an export or nothing."""
    if not folder.is_symlink() and (not folder.exists() or _is_export(folder)):
        return
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        return
    raise UsageError(f"OUTPUT is {folder}, which holds something else than an export: name a folder that is not there")


def _is_export(folder: Path) -> bool:
    return (
        folder.is_dir()
        and (folder / MANIFEST).is_file()
        and {path.name for path in folder.iterdir()} == {MANIFEST, *(side.name for side in SIDES)}
    )


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _put_back(folder: Path) -> None:
    """Finish what a run that was killed between two renames has begun: the old export is there until the new one is."""
    replaced = _replaced(folder)
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
    """Give the export its name. Between the two renames there is none, which is not taken for a whole one."""
    answer_with("the export is whole, or what was there before is put back by the same command")
    if folder.exists():
        folder.rename(_replaced(folder))
    unfinished.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(_replaced(folder), ignore_errors=True)


def _say_summary(settings: Settings, folder: Path, exported: dict[str, Exported], seconds: float) -> None:
    sample, group = (exported[side.name] for side in SIDES)
    parts = [*sample.parts, *group.parts]
    features = sample.features + group.features
    say(
        f"export of {settings.data_set.name}: {sample.rows:,} samples with {sample.features:,} features,"
        f" {group.rows:,} common feature groups with {group.features:,};"
        f" {quantity(sum(part.bytes for part in parts), 'B')} in {len(parts)} files, {duration(seconds)}"
        f" ({features / max(seconds, 0.001):,.0f} features/s)"
    )
    say(f"  in {shown(folder)}; docs/export.md shows how to read it")
