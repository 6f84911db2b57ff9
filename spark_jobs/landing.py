"""Landing partitions in the staging tables, each exactly once.

All rows of a partition and its mark in the registry are one transaction. A task that is killed, retried or run twice
therefore leaves either the whole partition or nothing, and never two of it.

A partition with a key that is there already is left as it was. `spark_jobs.contradictions` then decides which records
are rejected, and writes them into `rejected_record`; landed again, a partition leaves those out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from pymysql.err import OperationalError

from pipeline.csv_files import Place
from pipeline.errors import LoadError, RepeatedKeyError
from pipeline.load_data import StreamConnection
from pipeline.mysql import MysqlConnection, connect, explained
from pipeline.registry import Partition, claim_partition, mark_loaded
from pipeline.settings import MysqlSettings
from spark_jobs.explode import Exploded, RejectedRecord, explode
from spark_jobs.feature_ids import Ids, distinct, pack_ids
from spark_jobs.grammar import CONTRADICTIONS, NON_RECORDS, Reason, is_header_line
from spark_jobs.partitions import is_empty_from, read_blocks
from spark_jobs.records import read_records
from spark_jobs.staging import Target, target_of

_RUN_COLUMNS = "source_file, partition_number, feature_name, first_feature_id, num_features, feature_ids"

# Half a mebibyte of ids at most.
_FEATURES_PER_RUN = 1 << 17

_SECONDS_TO_WAIT_FOR_OTHER_ATTEMPT = 600

# Two partitions that are landed side by side wait for each other's keys.
_DEADLOCK = 1213

KEYS_IN_STATEMENT = 1000

# By the lines, which are the key of rejected_record.
_OF_PARTITION = "source_file = %s and line_number between %s and %s"


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


@contextmanager
def open_staging(destination: Destination) -> Iterator[MysqlConnection]:
    """Connect to the staging database of a load.

    Raises:
        DatabaseError: the server cannot be reached, refuses or fails.
    """
    mysql = destination.mysql
    with explained(mysql), closing(connect(mysql, database=destination.staging_database)) as connection:
        yield connection


@contextmanager
def open_stream(destination: Destination) -> Iterator[StreamConnection]:
    """Connect to the staging database of a load, to load rows from memory.

    Raises:
        DatabaseError: the server cannot be reached, refuses or fails.
    """
    mysql, database = destination.mysql, destination.staging_database
    with (
        explained(mysql),
        closing(connect(mysql, database=database, connection_class=StreamConnection)) as connection,
    ):
        assert isinstance(connection, StreamConnection)  # noqa: S101 - for the type checker
        yield connection


def land_partitions(destination: Destination, parts: Iterable[tuple[Place, Partition]]) -> None:
    """Explode partitions and land each of them, unless that has been done, over one connection.

    One with a key that is there already, or that another one which is landed at the time has too, stays as it was.

    Args:
        destination: where to.
        parts: CSV file, and which part of it.

    Raises:
        LoadError: a partition cannot be landed whole. Those before it have landed.
        DatabaseError: the server cannot be reached, or refuses.
    """
    with open_stream(destination) as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"set session innodb_lock_wait_timeout = {_SECONDS_TO_WAIT_FOR_OTHER_ATTEMPT}")
        for path, partition in parts:
            connection.begin()
            try:
                state = claim_partition(connection, destination.load_id, partition)
                if state == "revised":
                    _take_back(connection, path, partition)
                if state != "loaded":
                    _land(connection, destination.load_id, path, partition)
                connection.commit()
            except RepeatedKeyError:
                connection.rollback()
            except OperationalError as error:
                if error.args[0] != _DEADLOCK:
                    raise
                connection.rollback()


def read_decided(connection: MysqlConnection, partition: Partition) -> dict[int, RejectedRecord]:
    """Give the good records of a partition that are rejected because they contradict others, by line number."""
    with connection.cursor() as cursor:
        query = f"select line_number, reason, record from rejected_record where {_OF_PARTITION}"
        cursor.execute(query, _place(partition))
        found = [RejectedRecord(int(line), str(reason), bytes(record)) for line, reason, record in cursor.fetchall()]
    return {each.line_number: each for each in found if each.reason.partition(":")[0] in CONTRADICTIONS}


def _place(partition: Partition) -> tuple[str, int, int]:
    first = partition.first_line
    return partition.source_file, first, first + partition.num_lines - 1


def _take_back(connection: MysqlConnection, path: Place, partition: Partition) -> None:
    """Take out what is there of a partition. What else has one of its keys is another partition's, and stays."""
    kind, number = partition.record_kind, partition.partition_number
    target = target_of(kind)
    of_keys = f"{target.key} in %s and partition_number = %s"
    with_structures = f"{target.structures} join {target.rows} using ({target.key}) where {target.rows}.{of_keys}"
    statements = (
        f"delete {target.structures} from {with_structures}",
        f"delete from {target.rows} where {of_keys}",
    )
    with connection.cursor() as cursor:
        for block in read_blocks(path, partition):
            keys = [
                int(key) if kind == "sample" else key.decode("ascii") for key in read_records(block, kind).keys(block)
            ]
            for begin in range(0, len(keys), KEYS_IN_STATEMENT):
                for statement in statements:
                    cursor.execute(statement, (keys[begin : begin + KEYS_IN_STATEMENT], number))
        cursor.execute(
            "delete from partition_feature where source_file = %s and partition_number = %s",
            (partition.source_file, number),
        )


def _land(connection: StreamConnection, load_id: int, path: Place, partition: Partition) -> None:
    decided = read_decided(connection, partition)
    if decided:  # they come again, with the others
        with connection.cursor() as cursor:
            cursor.execute(f"delete from rejected_record where {_OF_PARTITION}", _place(partition))
    kind, collected = partition.record_kind, _Collected()
    target = target_of(kind)
    partition_number = b"%d" % partition.partition_number
    blocks = _emptied(read_blocks(path, partition), partition.first_line, decided)
    exploded = (explode(block, kind, partition_number) for block in blocks)
    num_structures = connection.load(
        target.structures,
        f"{target.key}, feature_id, feature_value",
        _long_rows(exploded, collected, partition),
    )
    num_rows = connection.load(target.rows, ", ".join([*target.columns, "partition_number"]), collected.rows)
    rejected = [decided.get(each.line_number, each) for each in collected.rejected]
    rejected = tell_non_records(path, partition, rejected)
    num_rejected = load_rejects(connection, partition, rejected)
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


def _emptied(blocks: Iterator[bytes], first_line: int, lines: Mapping[int, RejectedRecord]) -> Iterator[bytes]:
    """Empty some lines of a partition, so that they are no good records."""
    if not lines:
        yield from blocks
        return
    for block in blocks:
        texts = block.split(b"\n")[:-1]
        yield b"".join((b"" if number in lines else text) + b"\n" for number, text in enumerate(texts, first_line))
        first_line += len(texts)


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


def tell_non_records(path: Place, partition: Partition, rejected: Sequence[RejectedRecord]) -> list[RejectedRecord]:
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


def load_rejects(connection: StreamConnection, partition: Partition, rejects: Iterable[RejectedRecord]) -> int:
    """Put rejected records of a partition into `rejected_record`, and give their number."""
    columns = "source_file, line_number, partition_number, reason, record"
    return connection.load("rejected_record", columns, (_rejected_row(partition, each) for each in rejects))


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
