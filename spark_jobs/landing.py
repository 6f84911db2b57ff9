"""Landing partitions in the staging tables, each exactly once.

All rows of a partition and its mark in the registry are one transaction. A task that is killed, retried or run twice
therefore leaves either the whole partition or nothing, and never two of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from pymysql.connections import MySQLResult
from pymysql.cursors import Cursor
from pymysql.err import MySQLError
from pymysql.protocol import LoadLocalPacketWrapper

from pipeline.errors import LoadError
from pipeline.mysql import MysqlConnection, connect, explained, largest_packet
from pipeline.registry import Partition, claim_partition, mark_loaded
from pipeline.settings import MysqlSettings
from spark_jobs.explode import Exploded, RejectedRecord, explode
from spark_jobs.feature_ids import Ids, distinct, pack_ids
from spark_jobs.grammar import NON_RECORDS, Reason, is_header_line
from spark_jobs.partitions import is_empty_from, read_blocks
from spark_jobs.staging import Target, target_of

Buffer: TypeAlias = bytes | memoryview

# The name that LOAD DATA LOCAL gives the server, and that the server must ask for.
_STREAM_NAME = "deepcvr-stream"

# MySQL's packets hold 16 MiB; smaller ones keep the server reading while the next is made.
_LARGEST_CHUNK = 1 << 20

_RUN_COLUMNS = "source_file, partition_number, feature_name, first_feature_id, num_features, feature_ids"

# Half a mebibyte of ids at most.
_FEATURES_PER_RUN = 1 << 17

_DUPLICATE_KEY = 1062

_SECONDS_TO_WAIT_FOR_OTHER_ATTEMPT = 600

# A server may stop reading for a while, to write its pages; MariaDB may stop for ever when the connection is killed.
_SECONDS_TO_WRITE = 300


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


class StreamConnection(MysqlConnection):
    """A connection that answers `LOAD DATA LOCAL` with what the program gives it, and never with a file.

    A server can answer any statement by asking the client for any of its files. This client has none to send: it
    sends the chunks given to `load`, once, for the name that it chose itself, and refuses everything else.
    """

    chunks: Iterable[Buffer] | None = None

    def __init__(self, **arguments: Any) -> None:
        # The driver's own connections leave it off, because they would send any file.
        super().__init__(**{**arguments, "local_infile": True, "write_timeout": _SECONDS_TO_WRITE})
        self.chunk_size = min(_LARGEST_CHUNK, largest_packet(self) // 2)

    def load(self, table: str, columns: str, chunks: Iterable[Buffer]) -> int:
        """Load rows into a table and give their number.

        Args:
            table: name of the table.
            columns: the columns that a row has, as SQL.
            chunks: text of the rows, cut anywhere.

        Raises:
            LoadError: the server changed or skipped a row.
        """
        self.chunks = chunks
        with self.cursor() as cursor:
            cursor.execute(
                f"load data local infile '{_STREAM_NAME}' into table `{table}` character set binary"
                f" fields terminated by '\\t' escaped by '\\\\' lines terminated by '\\n' ({columns})"
            )
            num_rows = cursor.rowcount
            if cursor.warning_count:
                raise LoadError(_first_warning(cursor, table))
        return num_rows

    def _read_query_result(self, unbuffered: bool = False) -> int:
        """As in the driver, with a result that streams."""
        if unbuffered:
            raise NotImplementedError
        self._result = None
        result = _StreamResult(self)
        result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows or 0


def _first_warning(cursor: Cursor, table: str) -> str:
    cursor.execute("show warnings limit 1")
    row = cursor.fetchone()
    _, code, message = row or ("", 0, "no reason given")
    if code == _DUPLICATE_KEY:
        return f"two records of the source have the same key, which table {table} cannot hold: {message}"
    return f"the server would not take every row of table {table} as it is: {message}"


class _StreamResult(MySQLResult):
    def _read_load_local_packet(self, first_packet: Any) -> None:
        connection: Any = self.connection
        asked_for = LoadLocalPacketWrapper(first_packet).filename
        chunks, connection.chunks = connection.chunks, None
        refusal = LoadError(f"the MySQL server asked for a file ({asked_for!r}) that it was not offered")
        try:
            if chunks is None or asked_for != _STREAM_NAME.encode():
                raise refusal
            for chunk in chunks:
                view = memoryview(chunk)
                for begin in range(0, len(view), connection.chunk_size):
                    connection.write_packet(view[begin : begin + connection.chunk_size])
        except MySQLError:  # there is no connection any more
            raise
        except BaseException:
            with suppress(MySQLError):
                _end_of_data(connection)
            raise
        answer = _end_of_data(connection)
        if not answer.is_ok_packet():  # it asks once more
            raise refusal
        self._read_ok_packet(answer)  # type: ignore[attr-defined] # the stubs leave out what is not public


def _end_of_data(connection: Any) -> Any:
    connection.write_packet(b"")
    return connection._read_packet()


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
