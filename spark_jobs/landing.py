"""Landing partitions in the staging tables, each exactly once.

All rows of a partition and its mark in the registry are one transaction. A task that is killed, retried or run twice
therefore leaves either the whole partition or nothing, and never two of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import LoadError
from pipeline.load_data import StreamConnection
from pipeline.mysql import connect, explained
from pipeline.registry import Partition, claim_partition, mark_loaded
from pipeline.settings import MysqlSettings
from spark_jobs.explode import Exploded, RejectedRecord, explode
from spark_jobs.feature_ids import Ids, distinct, pack_ids
from spark_jobs.grammar import NON_RECORDS, Reason, is_header_line
from spark_jobs.partitions import is_empty_from, read_blocks
from spark_jobs.staging import Target, target_of

_RUN_COLUMNS = "source_file, partition_number, feature_name, first_feature_id, num_features, feature_ids"

# Half a mebibyte of ids at most.
_FEATURES_PER_RUN = 1 << 17

_SECONDS_TO_WAIT_FOR_OTHER_ATTEMPT = 600


@dataclass(frozen=True)
class Destination:
    """The server and the staging database that partitions land in, and the load that they belong to."""

    mysql: MysqlSettings
    staging_database: str
    load_id: int


@dataclass
class _Collected:
    """What a partition's blocks give beside the long rows: small, and kept until those are sent."""

    rows: list[memoryview] = field(default_factory=list)
    rejected: list[RejectedRecord] = field(default_factory=list)
    features: dict[bytes, list[Ids]] = field(default_factory=lambda: defaultdict(list))
    num_rows: int = 0
    num_structures: int = 0
    num_lines: int = 0


def land_partitions(destination: Destination, parts: Iterable[tuple[Path, Partition]]) -> None:
    """Explode partitions and land each of them, unless that has been done, over one connection.

    Args:
        destination: where to.
        parts: CSV file, and which part of it.

    Raises:
        LoadError: a partition cannot be landed whole. Those before it have landed.
        DatabaseError: the server cannot be reached, or refuses.
    """
    mysql = destination.mysql
    with (
        explained(mysql),
        closing(connect(mysql, database=destination.staging_database, connection_class=StreamConnection)) as connection,
    ):
        assert isinstance(connection, StreamConnection)  # noqa: S101 - for the type checker
        with connection.cursor() as cursor:
            cursor.execute(f"set session innodb_lock_wait_timeout = {_SECONDS_TO_WAIT_FOR_OTHER_ATTEMPT}")
        for path, partition in parts:
            connection.begin()
            if claim_partition(connection, destination.load_id, partition):
                _land(connection, destination.load_id, path, partition)
            connection.commit()


def _land(connection: StreamConnection, load_id: int, path: Path, partition: Partition) -> None:
    kind, collected = partition.record_kind, _Collected()
    target = target_of(kind)
    partition_number = b"%d" % partition.partition_number
    exploded = (explode(block, kind, partition_number) for block in read_blocks(path, partition))
    num_structures = connection.load(
        target.structures,
        f"{target.key}, feature_id, feature_value",
        _long_rows(exploded, collected, partition),
    )
    num_rows = connection.load(target.rows, ", ".join([*target.columns, "partition_number"]), collected.rows)
    rejected = tell_non_records(path, partition, collected.rejected)
    num_rejected = connection.load(
        "rejected_record",
        "source_file, line_number, partition_number, reason, record",
        (_rejected_row(partition, each) for each in rejected),
    )
    runs = list(_feature_runs(partition, collected.features))
    if connection.load("partition_feature", _RUN_COLUMNS, runs) != len(runs):
        raise LoadError(f"the features of partition {partition.partition_number} did not come into partition_feature")
    _check_counts(partition, collected, (num_rows, num_structures, num_rejected), target)
    num_non_records = sum(each.reason in NON_RECORDS for each in rejected)
    mark_loaded(
        connection,
        load_id,
        partition,
        num_rows=num_rows,
        num_structures=num_structures,
        num_rejects=num_rejected - num_non_records,
        num_non_records=num_non_records,
    )


def _long_rows(exploded: Iterable[Exploded], collected: _Collected, partition: Partition) -> Iterator[memoryview]:
    """Give the long rows block by block, and collect what else each block has on the way."""
    for block in exploded:
        yield block.structures
        collected.rows.append(block.rows)
        first_line = partition.first_line + collected.num_lines
        collected.rejected.extend(
            replace(reject, line_number=first_line + reject.line_number) for reject in block.rejected
        )
        for name, ids in block.features.items():
            collected.features[name].append(ids)
        collected.num_rows += block.num_rows
        collected.num_structures += block.num_structures
        collected.num_lines += block.num_lines


def tell_non_records(path: Path, partition: Partition, rejected: Sequence[RejectedRecord]) -> list[RejectedRecord]:
    """Tell the lines that are no records, a header and the empty lines at a file's end, from the rejected records.

    Args:
        path: the CSV file.
        partition: a part of it.
        rejected: the lines of the part that are no good records, numbered as in the file, in their order.

    Returns:
        The same lines, with reasons of their own for those that are no records.
    """
    told = list(rejected)
    if told and told[0].line_number == 1 and is_header_line(told[0].record, partition.record_kind):
        told[0] = replace(told[0], reason=Reason.HEADER)
    at, last_line = len(told), partition.first_line + partition.num_lines - 1
    while at and not told[at - 1].record and told[at - 1].line_number == last_line - (len(told) - at):
        at -= 1
    if at < len(told) and is_empty_from(path, partition.end_byte):
        told[at:] = [replace(each, reason=Reason.EMPTY_LAST_LINE) for each in told[at:]]
    return told


def _rejected_row(partition: Partition, reject: RejectedRecord) -> bytes:
    fields = [
        partition.source_file.encode(),
        b"%d" % reject.line_number,
        b"%d" % partition.partition_number,
        reject.reason.encode(),
        _escaped(reject.record),
    ]
    return b"\t".join(fields) + b"\n"


def _feature_runs(partition: Partition, features: dict[bytes, list[Ids]]) -> Iterator[bytes]:
    """Give the rows of `partition_feature`: for each name its distinct ids, in runs that fit in any server's packet."""
    for name, ids_of_blocks in features.items():
        ids = distinct(np.concatenate(ids_of_blocks))
        for begin in range(0, len(ids), _FEATURES_PER_RUN):
            run = ids[begin : begin + _FEATURES_PER_RUN]
            fields = [
                partition.source_file.encode(),
                b"%d" % partition.partition_number,
                name,
                b"%d" % run[0],
                b"%d" % len(run),
                _escaped(pack_ids(run)),
            ]
            yield b"\t".join(fields) + b"\n"


def _escaped(text: bytes) -> bytes:
    """Escape what `LOAD DATA` would take for a separator, an escape or the end of the text.

    Source: the MySQL manual, LOAD DATA Statement, Field and Line Handling.
    """
    return (
        text.replace(b"\\", b"\\\\")
        .replace(b"\t", b"\\t")
        .replace(b"\n", b"\\n")
        .replace(b"\r", b"\\r")
        .replace(b"\0", b"\\0")
    )


def _check_counts(partition: Partition, collected: _Collected, landed: tuple[int, int, int], target: Target) -> None:
    found = (collected.num_rows, collected.num_structures, len(collected.rejected))
    if landed != found or collected.num_lines != partition.num_lines:
        raise LoadError(
            f"partition {partition.partition_number} of {partition.source_file} has {collected.num_lines} lines of"
            f" {partition.num_lines} and gave {found} rows, structures and rejects, but {landed} came into"
            f" {target.rows}, {target.structures} and rejected_record: nothing of it was kept"
        )
