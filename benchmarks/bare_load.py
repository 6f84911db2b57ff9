"""The least that any load costs: rows that stand ready as text, sent by two connections and nothing else.

The rows are cut where the job cuts them and sent in the order in which the job lands them, through the same client.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from pipeline.csv_files import Place
from pipeline.load_data import StreamConnection
from pipeline.mysql import MysqlConnection, connect, explained
from pipeline.registry import Partition
from pipeline.settings import MysqlSettings, RecordKind
from spark_jobs.explode import Exploded, explode
from spark_jobs.feature_ids import Ids, distinct
from spark_jobs.partitions import read_blocks
from spark_jobs.staging import target_of

CONNECTIONS = 2

_DATABASE = "bare"
_CHUNK_SIZE = 1 << 20
# The keyed table takes four columns of a sample.
_FOUR_COLUMNS = re.compile(rb"^((?:[^\t]*\t){3}[^\t]*)\t.*$", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """Rows of one table as text that `LOAD DATA` reads.

    Attributes:
        table: the table.
        columns: the columns that a row has, as SQL.
        path: the text.
        num_rows: how many rows it has.
    """

    table: str
    columns: str
    path: Path
    num_rows: int


@dataclass(frozen=True)
class Prepared:
    """The rows of a data set, for staging and for the keyed tables."""

    staging: tuple[Part, ...]
    keyed: tuple[Part, ...]


def prepare(partitions: Iterable[tuple[Place, Partition]], folder: Path) -> Prepared:
    """Write the rows of partitions of files as text, in this order; the distinct features follow."""
    staging: list[Part] = []
    keyed: list[Part] = []
    found: dict[bytes, list[Ids]] = defaultdict(list)
    for number, (path, partition) in enumerate(partitions):
        kind = partition.record_kind
        partition_number = b"%d" % partition.partition_number
        blocks = [explode(block, kind, partition_number) for block in read_blocks(path, partition)]
        for block in blocks:
            for name, ids in block.features.items():
                found[name].append(ids)
        of_staging, of_keyed = _write_partition(kind, blocks, folder / f"{number:05}")
        staging += of_staging
        keyed += of_keyed
    features = _write_features({name: distinct(np.concatenate(ids)) for name, ids in found.items()}, folder)
    return Prepared((*staging, *features), (*features, *keyed))


def _write_partition(kind: RecordKind, blocks: Sequence[Exploded], stem: Path) -> tuple[list[Part], list[Part]]:
    target = target_of(kind)
    structures = _write(
        target.structures,
        f"{target.key}, feature_id, feature_value",
        stem.with_suffix(".structures"),
        b"".join(block.structures for block in blocks),
    )
    rows = b"".join(block.rows for block in blocks)
    columns = ", ".join([*target.columns, "partition_number"])
    staging = [structures, _write(target.rows, columns, stem.with_suffix(".rows"), rows)]
    keyed = [structures]
    if kind == "sample":
        four = ", ".join(target.columns[:4])
        keyed.append(_write(target.rows, four, stem.with_suffix(".keyed-rows"), _FOUR_COLUMNS.sub(rb"\1", rows)))
    return staging, keyed


def _write_features(features: Mapping[bytes, Ids], folder: Path) -> list[Part]:
    """Write the rows of `feature` in the order of the key, cut in two."""
    pairs = sorted((int(each), name) for name, ids in features.items() for each in ids)
    half = (len(pairs) + 1) // 2
    return [
        _write(
            "feature",
            "feature_id, feature_name",
            folder / f"{number}.features",
            b"".join(b"%d\t%s\n" % pair for pair in part),
        )
        for number, part in enumerate((pairs[:half], pairs[half:]))
    ]


def _write(table: str, columns: str, path: Path, text: bytes) -> Part:
    path.write_bytes(text)
    return Part(table, columns, path, text.count(b"\n"))


def seconds_to_load(mysql: MysqlSettings, definitions: Mapping[str, str], parts: Sequence[Part]) -> float:
    """Load parts into new tables by two connections and give the seconds that it took.

    Foreign keys are there and not checked: each connection takes the next part whatever the other has sent.

    Args:
        mysql: an empty server.
        definitions: `create table` for each table.
        parts: what to load, in this order.

    Raises:
        LoadError: the server did not take every row.
        DatabaseError: the server refuses.
    """
    _create_tables(mysql, definitions)
    queue: SimpleQueue[Part | None] = SimpleQueue()
    for part in itertools.chain(parts, [None] * CONNECTIONS):
        queue.put(part)
    with ExitStack() as stack, ThreadPoolExecutor(CONNECTIONS) as pool:
        connections = [stack.enter_context(closing(_connect(mysql))) for _ in range(CONNECTIONS)]
        begun = time.monotonic()
        loads = [pool.submit(_load_parts, mysql, connection, queue) for connection in connections]
        for load in loads:
            load.result()
        return time.monotonic() - begun


def _create_tables(mysql: MysqlSettings, definitions: Mapping[str, str]) -> None:
    with explained(mysql), closing(connect(mysql)) as connection, connection.cursor() as cursor:
        cursor.execute(f"create database {_DATABASE} character set utf8mb4")
        cursor.execute(f"use {_DATABASE}")
        cursor.execute("set session foreign_key_checks = 0")
        for definition in definitions.values():
            cursor.execute(definition)


def _connect(mysql: MysqlSettings) -> StreamConnection:
    connection = connect(mysql, database=_DATABASE, connection_class=StreamConnection)
    assert isinstance(connection, StreamConnection)  # noqa: S101 - for the type checker
    with connection.cursor() as cursor:
        cursor.execute("set session foreign_key_checks = 0")
    return connection


def _load_parts(mysql: MysqlSettings, connection: StreamConnection, queue: SimpleQueue[Part | None]) -> None:
    with explained(mysql):
        while (part := queue.get()) is not None:
            num_rows = connection.load(part.table, part.columns, _chunks(part.path))
            if num_rows != part.num_rows:
                raise AssertionError(f"{num_rows} of {part.num_rows} rows came into {part.table}")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_SIZE):
            yield chunk


def read_definitions(connection: MysqlConnection, tables: Iterable[str]) -> dict[str, str]:
    """Read how tables are defined, keys included."""
    definitions = {}
    with connection.cursor() as cursor:
        for name in tables:
            cursor.execute(f"show create table `{name}`")
            row = cursor.fetchone()
            assert row is not None  # noqa: S101 - a table that is missing has raised
            definitions[name] = str(row[1])
    return definitions
