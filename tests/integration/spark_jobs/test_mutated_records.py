"""Mutated and enormous records through the real LOAD DATA, and back byte for byte."""

from __future__ import annotations

import hashlib
import os
import random
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.mysql import MysqlConnection
from pipeline.registry import begin_load, open_registry, supersede_load
from pipeline.settings import RECORD_KINDS, MysqlSettings, RecordKind, load_settings
from spark_jobs.features import collect_features, land_features
from spark_jobs.grammar import Record, parse_record
from spark_jobs.landing import Destination, land_partitions
from spark_jobs.staging import empty_staging_tables, target_of
from tests.fuzz_records import good_record, mutated, new_seed, plainly
from tests.manifests import partitions_of
from tests.records import REAL_LINE

DATABASE = "deepcvr_mutated"
NUM_RECORDS = 6000


@pytest.fixture
def staging(mysql: MysqlSettings, root: Path) -> Iterator[MysqlConnection]:
    """A connection to a staging database with empty tables and no current load."""
    settings = replace(load_settings(root=root, environ={}), mysql=mysql, database=DATABASE)
    with closing(open_registry(settings)) as connection:
        supersede_load(connection)
        empty_staging_tables(connection)
        yield connection


def land(mysql: MysqlSettings, staging: MysqlConnection, path: Path, kind: RecordKind, partition_size: int) -> None:
    partitions = partitions_of(path, kind, "0" * 64, partition_size)
    destination = Destination(mysql, f"{DATABASE}_staging", begin_load(staging, partitions))
    land_partitions(destination, [(path, partition) for partition in partitions])
    land_features(destination, collect_features(destination))


def rows(connection: MysqlConnection, query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def mutated_lines(kind: RecordKind, seed: int) -> list[bytes]:
    """Mutated records, but for those that are good and have the key of another one, which would end the load."""
    chance = random.Random(f"{seed}:{kind}")
    text = b"\n".join(mutated(good_record(kind, chance, key), chance) for key in range(NUM_RECORDS))
    lines, keys = [], set()
    for each in text.removeprefix(BOM_UTF8).split(b"\n"):
        line = each.removesuffix(b"\r")
        record = parse_record(line, kind)
        if isinstance(record, Record) and record.columns[0] in keys:
            continue
        if isinstance(record, Record):
            keys.add(record.columns[0])
        lines.append(line)
    while not lines[-1]:  # empty last lines have a reason of their own
        lines.pop()
    return lines


@pytest.mark.parametrize("kind", RECORD_KINDS)
def test_mutated_records_come_back_from_the_server_byte_for_byte(
    kind: RecordKind, mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or new_seed())
    lines = mutated_lines(kind, seed)
    path = tmp_path / "mutated.csv"
    ends_in_return = [number % 3 == 0 or line.endswith(b"\r") for number, line in enumerate(lines)]
    text = b"".join(line + (b"\r\n" if ends else b"\n") for line, ends in zip(lines, ends_in_return, strict=True))
    path.write_bytes(BOM_UTF8 + text)
    land(mysql, staging, path, kind, 100_000)
    target = target_of(kind)

    expected_rows, structures, rejected, features = plainly(lines, kind)
    again = f"see it again with FUZZ_SEED={seed}"
    assert len(rejected) > 1000
    assert len(expected_rows) > 500
    assert rows(staging, f"select {', '.join(target.columns)} from {target.rows}") == sorted(
        tuple(
            part if name.endswith("index") else int(part)
            for name, part in zip(target.columns, row.decode().split("\t"), strict=False)
        )
        for row in expected_rows
    ), again
    long_rows = (row.split("\t") for row in structures.decode().splitlines())
    assert set(rows(staging, f"select {target.key}, feature_id, feature_value from {target.structures}")) == {
        (int(key) if kind == "sample" else key, int(feature_id), value) for key, feature_id, value in long_rows
    }, again
    assert set(rows(staging, "select feature_name, feature_id from feature")) == {
        (name.decode(), feature_id) for name, feature_id in features
    }, again
    assert rows(staging, f"select count(*) from {target.structures}") == [(structures.count(b"\n"),)], again
    assert rows(staging, "select line_number, reason, record from rejected_record order by line_number") == [
        (number + 1, str(reason), record) for number, reason, record in rejected
    ], again


def test_a_line_of_a_hundred_megabytes_is_rejected_and_kept_and_its_neighbours_land(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    enormous = 100 * random.Random(1).randbytes(1 << 20).replace(b"\n", b"\\")
    path = tmp_path / "enormous.csv"
    path.write_bytes(REAL_LINE + b"\n" + enormous + b"\n" + REAL_LINE.replace(b"1,0", b"2,0", 1) + b"\n")
    land(mysql, staging, path, "sample", 8 << 20)

    assert len(enormous) > 100_000_000
    assert rows(staging, "select sample_id from sample") == [(1,), (2,)]
    assert rows(staging, "select line_number, reason, length(record), sha2(record, 256) from rejected_record") == [
        (2, "wrong number of columns", len(enormous), hashlib.sha256(enormous).hexdigest())
    ]
