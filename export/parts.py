"""The part files of an export, and what is kept on the disk until they can be written.

A shuffled file, and indexes in a vocabulary that is still being counted, can only be written when all rows have been
read. Until then the rows are in one spool file for each part, in Arrow's own form. A shuffle puts each row into
that of a random part, and gives each part a random order, so that few parts at a time are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import new_file

ROW_GROUP = 65_536

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Part:
    """A file that was written."""

    path: str
    rows: int
    features: int
    bytes: int


def write_part(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], *, is_sorted: bool) -> Part:
    """Write a file, and bring it to the disk.

    Args:
        path: of the file, two folders below which the export begins.
        schema: of the file.
        tables: its rows, each table a row group.
        is_sorted: whether the rows are in the order of the first column.
    """
    own_columns = [field.name for field in schema if not pa.types.is_list(field.type)]
    first_lists = [place for place, field in enumerate(schema) if pa.types.is_list(field.type)][::2]
    rows = features = 0
    with (
        new_file(path) as file,
        pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            write_statistics=own_columns,
            sorting_columns=[pq.SortingColumn(0)] if is_sorted else None,
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table, row_group_size=max(1, len(table)))
            rows += len(table)
            features += sum(_num_elements(table.column(place)) for place in first_lists)
    return Part(f"{path.parent.name}/{path.name}", rows, features, path.stat().st_size)


def _num_elements(lists: pa.ChunkedArray) -> int:
    return sum(len(chunk.flatten()) for chunk in lists.chunks)


@dataclass(frozen=True)
class Spool:
    """Rows that wait in files.

    Attributes:
        folder: of the files.
        num_parts: how many there are.
        schema: of the rows, without what they are shuffled by.
        seed: of the shuffle; None for rows that stay in their order.
    """

    folder: Path
    num_parts: int
    schema: pa.Schema
    seed: int | None

    @contextmanager
    def filled(self) -> Iterator[Callable[[int, pa.Table], None]]:
        """Open the files, for a function that puts rows in: into the part of this number, or into random ones."""
        self.folder.mkdir(parents=True)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(pa.ipc.new_stream(str(self._path(number)), self.schema))
                for number in range(self.num_parts)
            ]

            def put(number: int, table: pa.Table) -> None:
                if self.seed is None:
                    writers[number].write_table(table.combine_chunks())  # one batch, as it is one row group
                    return
                parts = self._keys_of(table) % np.uint64(self.num_parts)
                order = np.argsort(parts, kind="stable")
                ends = np.searchsorted(parts[order], np.arange(self.num_parts), side="right")
                by_part = table.take(pa.array(order)).combine_chunks()
                for part, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
                    if end > first:
                        writers[part].write_table(by_part.slice(first, end - first))

            yield put

    def read(self, number: int) -> Iterator[pa.Table]:
        """Give the rows of a part, in tables of a row group at most."""
        with pa.memory_map(str(self._path(number))) as source, pa.ipc.open_stream(source) as reader:
            if self.seed is None:
                yield from (pa.Table.from_batches([batch]) for batch in reader)
                return
            table = reader.read_all().combine_chunks()
            order = np.argsort(self._keys_of(table), kind="stable")
            for first in range(0, max(1, len(table)), ROW_GROUP):
                yield table.take(pa.array(order[first : first + ROW_GROUP]))

    def remove(self, number: int) -> None:
        """Give the disk back that a part has taken."""
        self._path(number).unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.arrows"

    def _keys_of(self, table: pa.Table) -> Keys:
        return shuffle_keys(table.column(0).to_numpy(), self.seed or 0)


def shuffle_keys(ids: npt.NDArray[np.uint32], seed: int) -> Keys:
    """Give each id a random number that the seed fixes, and that no version of a library changes.

    SplitMix64's output function (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), twice, so
    that seeds that differ by little do not give orders that do.
    """
    with np.errstate(over="ignore"):
        return _mixed(_mixed(np.array([seed], np.uint64)) ^ _mixed(ids.astype(np.uint64)))


def _mixed(numbers: Keys) -> Keys:
    state = numbers + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
