from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymysql.cursors import DictCursor

from pipeline.errors import DatabaseError, LoadError, PipelineError
from pipeline.load_data import StreamConnection
from pipeline.mysql import MysqlConnection, connect
from pipeline.registry import Partition, begin_load, current_partitions, supersede_load
from pipeline.settings import MysqlSettings, RecordKind
from spark_jobs.features import collect_features, land_features
from spark_jobs.landing import Destination, land_partitions
from tests.manifests import partitions_of
from tests.records import REAL_LINE

SHA256 = "0" * 64
# InnoDB shows its transactions anew only to one who has not looked for a tenth of a second.
SECONDS_BETWEEN_LOOKS = 0.12

SKELETON = "sample_skeleton_train.csv"


def plan(staging: MysqlConnection, path: Path, *, partition_size: int = 1 << 20) -> tuple[int, list[Partition]]:
    partitions = partitions_of(path, "sample", SHA256, partition_size)
    return begin_load(staging, partitions), partitions


def land(mysql: MysqlSettings, path: Path, kind: RecordKind, load_id: int, partitions: list[Partition]) -> None:
    destination = Destination(mysql, "deepcvr_landing_staging", load_id)
    land_partitions(destination, [(path, replace(partition, record_kind=kind)) for partition in partitions])


def rows(connection: MysqlConnection, query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def write(tmp_path: Path, *lines: bytes, name: str = SKELETON) -> Path:
    path = tmp_path / name
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_the_publishers_own_line_lands_value_by_value(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    path = write(tmp_path, REAL_LINE)
    land(mysql, path, "sample", *plan(staging, path))

    assert rows(staging, "select * from sample") == [(1, 0, 0, "bacff91692951881", 9, 1)]
    assert rows(staging, "select * from sample_feature order by feature_id") == [
        (1, 4186222, "1.0"),
        (1, 8316799, "1.0"),
        (1, 8416205, "1.0"),
        (1, 9052218, "1.0"),
        (1, 9064553, "1.0"),
        (1, 9093445, "1.0"),
        (1, 9154780, "1.0"),
        (1, 9351665, "1.0"),
        (1, 9355039, "0.69315"),
    ]
    destination = Destination(mysql, "deepcvr_landing_staging", 1)
    assert land_features(destination, collect_features(destination)) == 9
    assert rows(staging, "select feature_name, feature_id from feature order by feature_id") == [
        ("205", 4186222),
        ("206", 8316799),
        ("207", 8416205),
        ("210", 9052218),
        ("210", 9064553),
        ("210", 9093445),
        ("216", 9154780),
        ("301", 9351665),
        ("508", 9355039),
    ]


def test_the_edges_of_every_range_come_back_as_they_were_printed(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    edges = b"4294967295,1,1,ffffffffffffffff,3,_______________a\x020\x03-9.99999999999999999e-99"
    edges += b"\x01Z\x024294967295\x03" + b"9" * 24 + b"\x01z\x021\x03000.0"
    path = write(tmp_path, edges)
    land(mysql, path, "sample", *plan(staging, path))

    assert rows(staging, "select * from sample_feature order by feature_id") == [
        (4294967295, 0, "-9.99999999999999999e-99"),
        (4294967295, 1, "000.0"),
        (4294967295, 4294967295, "9" * 24),
    ]


def test_a_rejected_record_keeps_every_byte_its_line_number_and_its_reason(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    every_byte = bytes(byte for byte in range(256) if byte != 10)
    hostile = b"\\N\\t\\\\\\"
    path = write(tmp_path, REAL_LINE, every_byte, REAL_LINE.replace(b"1,0", b"2,0", 1), hostile, b"")
    land(mysql, path, "sample", *plan(staging, path, partition_size=300))

    assert rows(staging, "select source_file, line_number, reason, record from rejected_record") == [
        (SKELETON, 2, "wrong number of columns", every_byte),
        (SKELETON, 4, "wrong number of columns", hostile),
        (SKELETON, 5, "an empty last line, no record", b""),
    ]
    assert rows(staging, "select sample_id from sample") == [(1,), (2,)]


def test_each_partition_records_its_lines_rows_structures_and_rejects(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        b"bacff91692951881,1,101\x0231\x031.0",
        b"not a record",
        b"bacff91692951882,2,101\x0232\x031.0\x01121\x023438658\x031.0",
        name="common_features_train.csv",
    )
    load_id, partitions = plan(staging, path, partition_size=40)
    land(mysql, path, "common_feature", load_id, partitions)

    counts = "select partition_number, num_lines, num_rows, num_structures, num_rejects, state from load_partition"
    assert rows(staging, f"{counts} where load_id = {load_id}") == [
        (1, 2, 1, 1, 1, "loaded"),
        (2, 1, 1, 2, 0, "loaded"),
    ]
    assert rows(staging, "select common_feature_index, num_features, partition_number from common_feature") == [
        ("bacff91692951881", 1, 1),
        ("bacff91692951882", 2, 2),
    ]


def test_landing_a_partition_twice_lands_it_once(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    path = write(tmp_path, REAL_LINE, b"not a record")
    load_id, partitions = plan(staging, path)
    land(mysql, path, "sample", load_id, partitions)
    land(mysql, path, "sample", load_id, partitions)

    assert rows(staging, "select count(*) from sample_feature") == [(9,)]
    assert rows(staging, "select count(*) from rejected_record") == [(1,)]


def test_a_partition_with_a_key_that_is_there_stays_out_whole(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    path = write(tmp_path, REAL_LINE, REAL_LINE)
    load_id, partitions = plan(staging, path)

    land(mysql, path, "sample", load_id, partitions)

    assert rows(staging, "select count(*) from sample_feature") == [(0,)]
    assert set(current_partitions(staging)[1].values()) == {"planned"}


def test_a_superseded_load_lands_nothing_more(mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path) -> None:
    path = write(tmp_path, REAL_LINE)
    load_id, partitions = plan(staging, path)
    supersede_load(staging)

    with pytest.raises(LoadError, match="superseded"):
        land(mysql, path, "sample", load_id, partitions)

    assert rows(staging, "select count(*) from sample") == [(0,)]


def test_a_process_killed_while_it_lands_leaves_nothing_and_the_next_attempt_lands_all(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path, root: Path
) -> None:
    lines = [REAL_LINE.replace(b"1,0", b"%d,0" % number, 1) for number in range(60_000)]
    path = write(tmp_path, *lines)
    load_id, partitions = plan(staging, path, partition_size=1 << 30)
    script = (
        "import pickle, sys; from spark_jobs.landing import land_partitions;"
        "land_partitions(*pickle.load(sys.stdin.buffer))"
    )
    task = (Destination(mysql, "deepcvr_landing_staging", load_id), [(path, partitions[0])])
    process = subprocess.Popen([sys.executable, "-c", script], cwd=root, stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(pickle.dumps(task))
    process.stdin.close()
    while not rows_in_transaction(mysql) and process.poll() is None:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    while rows_in_transaction(mysql):  # the server takes what it has done back
        time.sleep(SECONDS_BETWEEN_LOOKS)
    assert rows(staging, "select count(*) from sample_feature") == [(0,)]
    land(mysql, path, "sample", load_id, partitions)
    assert rows(staging, "select count(*) from sample_feature") == [(9 * len(lines),)]
    assert rows(staging, "select count(*) from sample") == [(len(lines),)]


def rows_in_transaction(mysql: MysqlSettings) -> int:
    """How many rows the transaction that has changed most has changed."""
    with closing(connect(mysql)) as connection, connection.cursor(DictCursor) as cursor:
        cursor.execute("select coalesce(max(trx_rows_modified), 0) as modified from information_schema.innodb_trx")
        row = cursor.fetchone()
        return int(row["modified"]) if row else 0


def test_a_server_that_asks_for_another_file_gets_none(mysql: MysqlSettings, staging: MysqlConnection) -> None:
    """A hostile server, played by a statement that names a file of the client's."""
    with (
        closing(connect(mysql, database="deepcvr_landing_staging", connection_class=StreamConnection)) as connection,
        connection.cursor() as cursor,
        pytest.raises(LoadError, match="asked for a file"),
    ):
        cursor.execute("load data local infile '/etc/hostname' into table rejected_record (record)")

    assert rows(staging, "select count(*) from rejected_record") == [(0,)]


def test_a_server_that_is_down_is_named_in_one_line(tmp_path: Path) -> None:
    embedded = MysqlSettings(host=None, port=0, user="root", password="", unix_socket=tmp_path / "none.sock")
    own = MysqlSettings(host="127.0.0.1", port=1, user="me", password="hidden", unix_socket=tmp_path / "none.sock")

    with pytest.raises(DatabaseError, match=r"^the embedded MySQL server is not running: run make up$"):
        connect(embedded)
    with pytest.raises(PipelineError, match=r"no MySQL server answers at 127\.0\.0\.1:1: check MYSQL_HOST") as caught:
        connect(own)
    assert "hidden" not in str(caught.value)
