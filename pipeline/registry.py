"""The registry of landed assets and of loads, kept in the staging database.

A load takes the CSV files of one archive into the staging tables, partition by partition. At any moment there is at
most one current load; those before it are `superseded`. It is complete when each of its partitions is `loaded` and its
distinct features have landed. A partition is `planned` while nothing of it is there, and `revised` while its rows are
there and some of its records are to be rejected after all.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from functools import partial

from pymysql.cursors import Cursor
from pymysql.err import MySQLError

from pipeline.background import beside
from pipeline.errors import DatabaseError, LoadError
from pipeline.landed import Asset
from pipeline.mysql import MysqlConnection, connect, explained, largest_packet
from pipeline.progress import print_line
from pipeline.settings import DataSet, MysqlSettings, RecordKind, Settings

# While another holds the lock on staging: whether it is still who it was.
_SECONDS_BETWEEN_LOOKS = 5

# Whatever a server takes by default.
TABLE_OPTIONS = "engine = InnoDB row_format = dynamic character set utf8mb4 collate utf8mb4_bin"

# An index has 768 bytes at most where a server's pages have 4 KiB, and an address may be longer.
_ASSET = """
create table if not exists asset (
    asset_id int unsigned not null auto_increment,
    uri varchar(2048) character set ascii collate ascii_bin not null,
    etag varchar(255) not null,
    size_bytes bigint unsigned not null,
    sha256 char(64) character set ascii collate ascii_bin not null,
    num_rows bigint unsigned null,
    landed_at datetime(6) not null,
    primary key (asset_id),
    key uri (uri(190))
)
"""

_LOAD_PARTITION = """
create table if not exists load_partition (
    load_id int unsigned not null,
    source_file varchar(255) character set ascii collate ascii_bin not null,
    source_sha256 char(64) character set ascii collate ascii_bin not null,
    record_kind varchar(16) character set ascii collate ascii_bin not null,
    partition_number int unsigned not null,
    first_line bigint unsigned not null,
    first_byte bigint unsigned not null,
    end_byte bigint unsigned not null,
    num_lines bigint unsigned not null,
    num_rows bigint unsigned null,
    num_structures bigint unsigned null,
    num_rejects bigint unsigned null,
    num_non_records bigint unsigned null,
    state varchar(16) character set ascii collate ascii_bin not null,
    loaded_at datetime(6) null,
    primary key (load_id, source_file, partition_number)
)
"""

_FEATURE_LOAD = """
create table if not exists feature_load (
    load_id int unsigned not null,
    num_features bigint unsigned not null,
    loaded_at datetime(6) not null,
    primary key (load_id)
)
"""

# dbt writes it; it is made here with the others, so that one user needs no more privileges than the other.
_TEST_RUN = """
create table if not exists test_run (
    run_id char(36) character set ascii collate ascii_bin not null,
    load_id int unsigned null,
    num_passed int unsigned not null,
    num_warned int unsigned not null,
    num_failed int unsigned not null,
    is_selection tinyint unsigned not null,
    ended_at datetime(6) not null,
    primary key (run_id)
)
"""

_TABLES = {"asset": _ASSET, "load_partition": _LOAD_PARTITION, "feature_load": _FEATURE_LOAD, "test_run": _TEST_RUN}


@dataclass(frozen=True)
class Partition:
    """A run of whole lines of one CSV file, loaded in one transaction.

    Attributes:
        source_file: name of the CSV file.
        source_sha256: checksum of the whole CSV file.
        record_kind: the kind of its records, as pipeline.yml declares the file.
        partition_number: from 1 in each file.
        first_line: number of its first line in the file, from 1.
        first_byte: offset of its first byte.
        end_byte: offset behind its last byte.
        num_lines: how many lines it has.
    """

    source_file: str
    source_sha256: str
    record_kind: RecordKind
    partition_number: int
    first_line: int
    first_byte: int
    end_byte: int
    num_lines: int


@dataclass(frozen=True)
class LoadTotals:
    """What the loaded partitions of a load hold.

    Attributes:
        num_lines: each is a row, a rejected record, or no record at all.
        num_non_records: lines that are no records: a header, and empty lines at the end of a file.
    """

    num_lines: int
    num_rows: int
    num_structures: int
    num_rejects: int
    num_non_records: int

    def without(self, others: LoadTotals) -> LoadTotals:
        """Give what is left beside what some of the partitions hold."""
        return LoadTotals(*(mine - theirs for mine, theirs in zip(astuple(self), astuple(others), strict=True)))


@dataclass(frozen=True)
class RunOfTests:
    """What became of the tests of one command of dbt.

    Attributes:
        load_id: the load that the tested tables were built from, where that is known.
        num_failed: tests that failed, ended in an error or were skipped.
        is_selection: whether the command was given a selection of what to run.
        ended_at: UTC.
    """

    load_id: int | None
    num_passed: int
    num_warned: int
    num_failed: int
    is_selection: bool
    ended_at: datetime


def open_registry(settings: Settings) -> MysqlConnection:
    """Connect to the staging database, which is made with its registry if it is missing.

    Raises:
        DatabaseError: the server cannot be reached, or refuses.
    """
    with explained(settings.mysql), closing(connect(settings.mysql)) as connection:
        create_databases(connection, settings)
    connection = connect(settings.mysql, database=settings.staging_database)
    with explained(settings.mysql), connection.cursor() as cursor:
        cursor.execute("select table_name from information_schema.tables where table_schema = database()")
        present = {name for (name,) in cursor.fetchall()}
        for name in _TABLES.keys() - present:
            cursor.execute(f"{_TABLES[name]} {TABLE_OPTIONS}")
        if "load_partition" in present:
            _add_kinds(cursor, settings.data_set)
    return connection


def create_databases(connection: MysqlConnection, settings: Settings) -> None:
    """Make the two databases of a run, if they are missing."""
    with connection.cursor() as cursor:
        for database in (settings.database, settings.staging_database):
            # Both names were checked against a pattern when the settings were read.
            cursor.execute("select 1 from information_schema.schemata where schema_name = %s", (database,))
            if not cursor.fetchone():
                cursor.execute(f"create database if not exists `{database}` character set utf8mb4 collate utf8mb4_bin")


def _add_kinds(cursor: Cursor, data_set: DataSet) -> None:
    """Let a registry that is older than the kinds of records know them."""
    cursor.execute(
        "select 1 from information_schema.columns where table_schema = database()"
        " and table_name = 'load_partition' and column_name = 'record_kind'"
    )
    if cursor.fetchone():
        return
    cursor.execute(
        "alter table load_partition add record_kind varchar(16) character set ascii collate ascii_bin not null"
        " after source_sha256, add num_non_records bigint unsigned null after num_rejects"
    )
    for kind, member in data_set.members.items():
        cursor.execute(
            "update load_partition set record_kind = %s, num_non_records = num_rejects * 0 where source_file = %s",
            (kind, member),
        )


def record_assets(settings: Settings, assets: Sequence[Asset]) -> None:
    """Record in the staging database that assets have landed.

    Raises:
        DatabaseError: the server cannot be reached, or refuses.
    """
    with closing(open_registry(settings)) as connection:
        for asset in assets:
            record_asset(connection, asset)


def record_asset(connection: MysqlConnection, asset: Asset) -> None:
    """Record that an asset has landed, in place of what was recorded under its URI."""
    connection.begin()
    with connection.cursor() as cursor:
        cursor.execute("delete from asset where uri = %s", (asset.uri,))
        cursor.execute(
            "insert into asset (uri, etag, size_bytes, sha256, num_rows, landed_at) values (%s, %s, %s, %s, %s, %s)",
            (asset.uri, asset.etag, asset.size_bytes, asset.sha256, asset.num_rows, asset.landed_at),
        )
    connection.commit()


def landed_asset(connection: MysqlConnection, uri: str) -> Asset | None:
    """Give what is recorded of an asset, if it has landed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select uri, etag, size_bytes, landed_at, sha256, num_rows from asset where uri = %s"
            " order by landed_at desc limit 1",
            (uri,),
        )
        row = cursor.fetchone()
    if not row:
        return None
    uri, etag, size_bytes, landed_at, sha256, num_rows = row
    return Asset(uri, etag, size_bytes, landed_at.replace(tzinfo=UTC), sha256, num_rows)


def source_of_load(connection: MysqlConnection, load_id: int) -> tuple[Asset, ...]:
    """Give the archive that a load is from, or the CSV files where they were found unpacked, as they landed last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select asset.uri from asset join load_partition on asset.sha256 = load_partition.source_sha256"
            " where load_partition.load_id = %s group by asset.asset_id, asset.uri order by asset.asset_id desc",
            (load_id,),
        )
        uris = [str(uri) for (uri,) in cursor.fetchall()]
    archive, is_member, _ = uris[0].partition("#") if uris else ("", "", "")
    # The same content may have come from elsewhere before. CSV files of one source are in one folder.
    of_files = sorted(uri for uri in uris if uri.rpartition("/")[0] == archive.rpartition("/")[0] and "#" not in uri)
    found = (landed_asset(connection, uri) for uri in ([archive] if is_member else of_files))
    return tuple(asset for asset in found if asset is not None)


def current_partitions(connection: MysqlConnection) -> tuple[int | None, dict[Partition, str]]:
    """Give the current load's number (None if there is none) and the state of each of its partitions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select load_id, source_file, source_sha256, record_kind, partition_number, first_line, first_byte,"
            " end_byte, num_lines, state from load_partition where state <> 'superseded'"
        )
        rows = cursor.fetchall()
    states = {Partition(*row[1:9]): str(row[9]) for row in rows}
    return (max(row[0] for row in rows) if rows else None), states


def supersede_load(connection: MysqlConnection) -> None:
    """End the current load: from now on nothing is complete until a new one is."""
    with connection.cursor() as cursor:
        cursor.execute("update load_partition set state = 'superseded' where state <> 'superseded'")


def begin_load(connection: MysqlConnection, partitions: Sequence[Partition]) -> int:
    """Plan a new load, all of whose partitions are `planned`, and give its number."""
    longest_statement = largest_packet(connection) // 2
    connection.begin()
    with connection.cursor() as cursor:
        cursor.max_stmt_length = min(cursor.max_stmt_length, longest_statement)  # type: ignore[misc] # the driver's way
        cursor.execute("select coalesce(max(load_id), 0) + 1 from load_partition")
        row = cursor.fetchone()
        load_id = int(row[0]) if row else 1
        cursor.executemany(
            "insert into load_partition (load_id, source_file, source_sha256, record_kind, partition_number,"
            " first_line, first_byte, end_byte, num_lines, state)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'planned')",
            [
                (
                    load_id,
                    partition.source_file,
                    partition.source_sha256,
                    partition.record_kind,
                    partition.partition_number,
                    partition.first_line,
                    partition.first_byte,
                    partition.end_byte,
                    partition.num_lines,
                )
                for partition in partitions
            ],
        )
    connection.commit()
    return load_id


def revise_partition(connection: MysqlConnection, load_id: int, partition: Partition) -> None:
    """Let a partition be landed again, if it is loaded, since some of its records are to be rejected."""
    with connection.cursor() as cursor:
        cursor.execute(
            "update load_partition set state = 'revised' where load_id = %s and source_file = %s"
            " and partition_number = %s and state = 'loaded'",
            (load_id, partition.source_file, partition.partition_number),
        )


def claim_partition(connection: MysqlConnection, load_id: int, partition: Partition) -> str:
    """Lock a partition until the transaction ends, and give its state: planned, revised, or loaded already.

    A second attempt at the same partition (a retried or speculative task) waits here for the first, and then finds
    it loaded.

    Raises:
        LoadError: the load was superseded meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select state from load_partition where load_id = %s and source_file = %s and partition_number = %s"
            " for update",
            (load_id, partition.source_file, partition.partition_number),
        )
        row = cursor.fetchone()
    state = row[0] if row else "gone"
    if state not in ("planned", "revised", "loaded"):
        raise LoadError(f"load {load_id} is {state}: another make extract has begun a new one")
    return str(state)


def mark_loaded(
    connection: MysqlConnection,
    load_id: int,
    partition: Partition,
    *,
    num_rows: int,
    num_structures: int,
    num_rejects: int,
    num_non_records: int,
) -> None:
    """Record what a partition gave, in the transaction that holds its rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "update load_partition set state = 'loaded', num_rows = %s, num_structures = %s, num_rejects = %s,"
            " num_non_records = %s, loaded_at = utc_timestamp(6)"
            " where load_id = %s and source_file = %s and partition_number = %s",
            (
                num_rows,
                num_structures,
                num_rejects,
                num_non_records,
                load_id,
                partition.source_file,
                partition.partition_number,
            ),
        )


def mark_features_loaded(connection: MysqlConnection, load_id: int, num_features: int) -> None:
    """Record that the distinct features of a load are all in staging, and how many they are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "replace into feature_load (load_id, num_features, loaded_at) values (%s, %s, utc_timestamp(6))",
            (load_id, num_features),
        )


def has_loaded_features(connection: MysqlConnection, load_id: int) -> bool:
    """Tell whether the distinct features of a load are in staging."""
    with connection.cursor() as cursor:
        cursor.execute("select 1 from feature_load where load_id = %s", (load_id,))
        return cursor.fetchone() is not None


def latest_test_run(connection: MysqlConnection, staging_database: str) -> RunOfTests | None:
    """Give the outcome of the tests that dbt has run last on the tables of a staging database, if it has run any."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select load_id, num_passed, num_warned, num_failed, is_selection, ended_at"
            f" from `{staging_database}`.test_run order by ended_at desc limit 1"
        )
        row = cursor.fetchone()
    if not row:
        return None
    load_id, passed, warned, failed, is_selection, ended_at = row
    return RunOfTests(load_id, passed, warned, failed, bool(is_selection), ended_at.replace(tzinfo=UTC))


def load_totals(connection: MysqlConnection, load_id: int) -> LoadTotals:
    """Sum what the loaded partitions of a load hold so far."""
    totals = file_totals(connection, load_id).values()
    return LoadTotals(
        num_lines=sum(total.num_lines for total in totals),
        num_rows=sum(total.num_rows for total in totals),
        num_structures=sum(total.num_structures for total in totals),
        num_rejects=sum(total.num_rejects for total in totals),
        num_non_records=sum(total.num_non_records for total in totals),
    )


def file_totals(connection: MysqlConnection, load_id: int) -> dict[RecordKind, LoadTotals]:
    """Sum what the loaded partitions of a load hold so far, for the file of each kind of records."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select record_kind, sum(num_lines), sum(num_rows), sum(num_structures), sum(num_rejects),"
            " sum(num_non_records) from load_partition where load_id = %s and state = 'loaded' group by record_kind",
            (load_id,),
        )
        return {kind: LoadTotals(*map(int, sums)) for kind, *sums in cursor.fetchall()}


def is_building(connection: MysqlConnection, staging_database: str) -> bool:
    """Tell whether a run of dbt is at work that builds from a staging database (dbt_project/macros/publication)."""
    with connection.cursor() as cursor:
        cursor.execute("select is_used_lock(%s)", (f"deepcvr:build:{staging_database}",))
        row = cursor.fetchone()
    return row is not None and row[0] is not None


@contextmanager
def staging_lock(mysql: MysqlSettings, staging_database: str) -> Iterator[None]:
    """Hold the right to change one staging database, so that two runs never load into it, nor one while dbt reads it.

    The server gives the lock back when the connection ends, however the process does. A run of dbt that builds from the
    database is waited for, which a line on standard error says.

    Raises:
        LoadError: another run holds it.
    """
    lock = f"deepcvr:{staging_database}"
    seconds = 0
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(mysql)))
        while not _takes_lock(connection, lock, seconds):
            if not is_building(connection, staging_database):
                raise LoadError(f"another make extract is loading {staging_database}: wait until it ends")
            if not seconds:
                print_line(f"waiting for the dbt run that builds from {staging_database}", sys.stderr)
            seconds = _SECONDS_BETWEEN_LOOKS
        stack.enter_context(beside(partial(_keep_lock, mysql, connection, lock)))
        yield


def _keep_lock(mysql: MysqlSettings, connection: MysqlConnection, lock: str, ended: threading.Event) -> None:
    """Speak over the connection that holds a lock: a proxy ends one that is quiet. Lost, the lock is taken anew.

    Should another have taken it by then, it has begun another load, and each partition of this one is refused.
    """
    is_held = True
    with ExitStack() as stack:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                connection.ping(reconnect=False)
                # The server may find out late that the connection before is gone, and give the lock back then.
                is_held = is_held or _takes_lock(connection, lock, 0)
            except MySQLError:
                is_held = False
                with suppress(DatabaseError):
                    connection = stack.enter_context(closing(connect(mysql)))


def _takes_lock(connection: MysqlConnection, name: str, seconds: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select get_lock(%s, %s)", (name, seconds))
        row = cursor.fetchone()
    return row is not None and row[0] == 1
