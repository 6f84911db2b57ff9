"""The whole job: real Spark, real MySQL, real files."""

from __future__ import annotations

import pickle
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkContext

from embedded.s3_server import S3Server, open_client
from pipeline.errors import LoadError, SourceError
from pipeline.landed import write_manifest
from pipeline.mysql import MysqlConnection
from pipeline.registry import (
    begin_load,
    current_partitions,
    load_totals,
    record_asset,
    staging_lock,
)
from pipeline.settings import RECORD_KINDS, MysqlSettings, RecordKind, Settings, load_settings
from spark_jobs import explode_features
from spark_jobs.context import spark_context
from spark_jobs.explode_features import DEFAULT_PARTITION_SIZE, run_step
from spark_jobs.landing import Destination, land_partitions
from spark_jobs.partitions import plan_partitions
from tests.manifests import asset_of, environ_of, move_to_bucket
from tests.surroundings import spark_environment

SMALL_PARTITIONS = 4 << 10
NUM_SAMPLES, NUM_GROUPS = 500, 40


@pytest.fixture
def settings(mysql_by_socket: MysqlSettings, root: Path, tmp_path: Path) -> Settings:
    """Settings of a run whose files are in a folder of the test's own."""
    return replace(
        load_settings(root=root, environ={}),
        mysql=mysql_by_socket,
        database="deepcvr_spark",
        unpacked_folder=tmp_path,
        spark_master="local[2]",
    )


def sample(number: int) -> bytes:
    return b"%d,%d,0,%016x,2,205\x02%d\x031.0\x01508\x02%d\x030.69315" % (
        *(number, number % 20 == 0, number % NUM_GROUPS, 4_190_000 + number, 9_354_000 + number),
    )


def group(number: int) -> bytes:
    return b"%016x,1,101\x02%d\x031.0" % (number, number + 1)


def unpack(settings: Settings, registry: MysqlConnection, kind: RecordKind, lines: list[bytes]) -> None:
    """Leave a CSV file where unpacking would, recorded as unpacking would."""
    content = b"".join(line + b"\n" for line in lines)
    settings.member_path(kind).write_bytes(content)
    asset = asset_of(settings.member_path(kind), uri=settings.member_uri(kind))
    write_manifest(settings.member_path(kind), asset)
    record_asset(registry, asset)


@pytest.fixture
def unpacked(settings: Settings, registry: MysqlConnection) -> Callable[..., None]:
    """Unpack good files, with more samples appended."""

    def write(*more: bytes) -> None:
        unpack(settings, registry, "sample", [*map(sample, range(1, NUM_SAMPLES + 1)), *more])
        unpack(settings, registry, "common_feature", list(map(group, range(NUM_GROUPS))))

    return write


def rows(connection: MysqlConnection, query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def test_every_structure_of_both_files_lands_and_a_second_run_changes_nothing(
    settings: Settings, registry: MysqlConnection, unpacked: Callable[..., None]
) -> None:
    unpacked(b"not a record")

    first = run_step(settings, SMALL_PARTITIONS).result
    loaded_at = rows(registry, "select partition_number, loaded_at from load_partition where state = 'loaded'")
    second = run_step(settings, SMALL_PARTITIONS).result

    assert first.startswith("540 rows, 1,040 structures, 1 rejected records in ")
    assert second == "skipped: 540 rows, 1,040 structures, 1 rejected records are in staging already"
    assert len(loaded_at) > 4
    assert rows(registry, "select partition_number, loaded_at from load_partition where state = 'loaded'") == loaded_at
    expected = [
        row
        for number in range(1, NUM_SAMPLES + 1)
        for row in [(number, 4_190_000 + number, "1.0"), (number, 9_354_000 + number, "0.69315")]
    ]
    assert rows(registry, "select * from sample_feature order by sample_id, feature_id") == expected
    assert rows(registry, "select * from common_feature_group order by feature_id") == [
        (f"{number:016x}", number + 1, "1.0") for number in range(NUM_GROUPS)
    ]
    assert rows(registry, "select line_number, record from rejected_record") == [(NUM_SAMPLES + 1, b"not a record")]


STAGED = ("sample", "common_feature", "sample_feature", "common_feature_group", "feature", "rejected_record")


def test_files_in_a_bucket_give_what_the_same_files_here_give(
    settings: Settings,
    registry: MysqlConnection,
    unpacked: Callable[..., None],
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One is repeated, and one gives an id a second name, for which the driver reads again.
    unpacked(b"not a record", sample(7), b"900,0,0,%016x,1,206\x02%d\x031.0" % (1, 4_190_007), b"")
    run_step(settings, SMALL_PARTITIONS)
    expected = {table: sorted(rows(registry, f"select * from {table}")) for table in STAGED}
    bucket = move_to_bucket(settings, registry, s3)
    for name, value in environ_of(s3).items():
        monkeypatch.setenv(name, value)
    parallelize, sent = SparkContext.parallelize, list[bytes]()

    def watched(context: SparkContext, tasks: list[Any], number: int) -> Any:
        sent.append(pickle.dumps(tasks))
        return parallelize(context, tasks, number)

    monkeypatch.setattr(SparkContext, "parallelize", watched)
    told = run_step(replace(settings, force=True), SMALL_PARTITIONS).result

    # For a moment they are in a file, where the search of a cluster's files would not find them.
    assert len(sent) == 3
    assert not [tasks for tasks in sent if s3.access.secret_access_key.encode() in tasks]
    assert list(settings.unpacked_folder.rglob("*.csv")) == []
    assert "3 rejected records, 1 lines that are no records in " in told
    assert {table: sorted(rows(registry, f"select * from {table}")) for table in STAGED} == expected
    assert run_step(settings, SMALL_PARTITIONS).result.startswith("skipped: ")

    @contextmanager
    def replacing_context(settings: Settings, name: str, *, log: Path | None) -> Iterator[SparkContext]:
        body, key = b"1,0,0\n" * 20_000, f"some/where/{settings.member_path('sample').name}"
        open_client(s3).put_object(Bucket=bucket, Key=key, Body=body)
        with spark_context(settings, name, log=log) as context:
            yield context

    monkeypatch.setattr(explode_features, "spark_context", replacing_context)
    with pytest.raises(
        LoadError, match=r"^s3://\S+\.csv was replaced meanwhile: run the same command again with FORCE=1$"
    ):
        run_step(replace(settings, force=True), SMALL_PARTITIONS)
    assert rows(registry, "select count(*) from sample") == [(0,)]
    with pytest.raises(SourceError, match="was replaced meanwhile"):
        run_step(replace(settings, force=True), SMALL_PARTITIONS)


def test_a_run_that_was_cut_off_is_continued_not_repeated(
    settings: Settings, registry: MysqlConnection, unpacked: Callable[..., None]
) -> None:
    unpacked()
    planned = [
        partition
        for kind in RECORD_KINDS
        for path in [settings.member_path(kind)]
        for partition in plan_partitions(path, kind, asset_of(path), SMALL_PARTITIONS)
    ]
    load_id = begin_load(registry, planned)
    landed = set(planned[::2])
    parts = [(settings.member_path(partition.record_kind), partition) for partition in landed]
    land_partitions(Destination(settings.mysql, settings.staging_database, load_id), parts)
    before = load_totals(registry, load_id)

    told = run_step(settings, SMALL_PARTITIONS).result

    again, states = current_partitions(registry)
    assert again == load_id
    own = load_totals(registry, load_id).without(before)
    assert own.num_rows > 0
    assert before.num_rows > 0
    assert told.startswith(
        f"{own.num_rows:,} rows, {own.num_structures:,} structures, 0 rejected records in"
        f" {len(states) - len(landed)} partition"
    )
    ((seconds, rate, whole),) = re.findall(r" features, ([\d.]+) s \(([\d,]+) structures/s\); (.*)", told)
    assert int(rate.replace(",", "")) == pytest.approx(own.num_structures / float(seconds), rel=0.1)
    assert whole == (
        f"with those of earlier runs 540 rows, 1,040 structures, 0 rejected records in {len(states)} partitions"
    )
    assert set(states.values()) == {"loaded"}
    assert landed <= states.keys()
    assert rows(registry, "select count(*) from sample_feature") == [(2 * NUM_SAMPLES,)]


def test_changed_files_and_force_each_begin_a_new_load(
    settings: Settings, registry: MysqlConnection, unpacked: Callable[..., None]
) -> None:
    unpacked()
    run_step(settings, SMALL_PARTITIONS)
    first, _ = current_partitions(registry)
    unpacked(sample(NUM_SAMPLES + 1))
    run_step(settings, SMALL_PARTITIONS)
    second, _ = current_partitions(registry)
    run_step(replace(settings, force=True), 1 << 20)
    third, states = current_partitions(registry)

    assert first is not None
    assert (second, third) == (first + 1, first + 2)
    assert len(states) == 2
    assert rows(registry, "select count(*) from sample") == [(NUM_SAMPLES + 1,)]


def test_files_that_have_not_landed_are_named(settings: Settings, registry: MysqlConnection) -> None:
    rows(registry, "delete from asset")
    with pytest.raises(LoadError, match=r"sample_skeleton_train\.csv has not landed: run make extract"):
        run_step(settings, DEFAULT_PARTITION_SIZE)


def content_of_staging(registry: MysqlConnection) -> list[object]:
    states = rows(registry, "select load_id, partition_number, state from load_partition order by 1, 2")
    return [states, *(rows(registry, f"select count(*) from {table}") for table in ("sample", "sample_feature"))]


@pytest.mark.parametrize("lines", [[], [b"", b""], [b"sample_id,click,conversion,group,number,list", b""]])
def test_two_files_without_a_record_are_refused_and_what_is_in_staging_stays(
    settings: Settings, registry: MysqlConnection, unpacked: Callable[..., None], lines: list[bytes]
) -> None:
    unpacked()
    run_step(settings, SMALL_PARTITIONS)
    before = content_of_staging(registry)
    unpack(settings, registry, "sample", lines)
    unpack(settings, registry, "common_feature", [])

    with pytest.raises(LoadError, match=r"sample_skeleton_train\.csv and .*common_features_train\.csv hold no records"):
        run_step(settings, SMALL_PARTITIONS)
    assert content_of_staging(registry) == before


def test_a_file_of_another_form_is_refused_and_what_is_in_staging_stays(
    settings: Settings, registry: MysqlConnection, unpacked: Callable[..., None]
) -> None:
    unpacked()
    run_step(settings, SMALL_PARTITIONS)
    before = content_of_staging(registry)
    unpack(settings, registry, "common_feature", [group(number).replace(b",", b"\t") for number in range(NUM_GROUPS)])

    with pytest.raises(LoadError, match="does not hold common feature records: its columns are separated by a tab"):
        run_step(settings, SMALL_PARTITIONS)
    assert content_of_staging(registry) == before


@pytest.mark.parametrize("force", [False, True])
def test_a_file_that_changed_since_it_was_unpacked_is_not_loaded_under_its_old_checksum(
    settings: Settings,
    registry: MysqlConnection,
    unpacked: Callable[..., None],
    force: bool,
) -> None:
    unpacked()
    run_step(settings, SMALL_PARTITIONS)
    before = content_of_staging(registry)
    path = settings.member_path("sample")
    time.sleep(0.05)  # more than a tick of the clock that files get their times from
    path.write_bytes(path.read_bytes().replace(b"1.0", b"2.0"))

    with pytest.raises(LoadError, match=r"is not the file that was unpacked: run make extract"):
        run_step(replace(settings, force=force), SMALL_PARTITIONS)
    assert content_of_staging(registry) == before


def test_lines_that_are_no_records_land_with_reasons_of_their_own(
    settings: Settings, registry: MysqlConnection
) -> None:
    header = b"sample_id,click_label,conversion_label,common_feature_index,num_features,features_list"
    good = [sample(number) + b"\r" for number in range(1, NUM_SAMPLES + 1)]
    unpack(settings, registry, "sample", [b"\xef\xbb\xbf" + header, *good[:7], b"", *good[7:], b"\r", b""])
    unpack(settings, registry, "common_feature", list(map(group, range(NUM_GROUPS))))

    result = run_step(settings, SMALL_PARTITIONS).result

    assert result.startswith("540 rows, 1,040 structures, 1 rejected records, 3 lines that are no records in ")
    assert rows(registry, "select line_number, reason, record from rejected_record order by 1") == [
        (1, "a header line, no record", header),
        (9, "wrong number of columns", b""),
        (NUM_SAMPLES + 3, "an empty last line, no record", b""),
        (NUM_SAMPLES + 4, "an empty last line, no record", b""),
    ]
    counts = "select sum(num_lines), sum(num_rows), sum(num_rejects), sum(num_non_records) from load_partition"
    assert rows(registry, f"{counts} where state = 'loaded' and record_kind = 'sample'") == [(504, 500, 1, 3)]


def test_two_loads_of_one_data_set_do_not_meet(settings: Settings, unpacked: Callable[..., None]) -> None:
    unpacked()
    with (
        staging_lock(settings.mysql, settings.staging_database),
        pytest.raises(LoadError, match="another make extract is loading deepcvr_spark_staging"),
    ):
        run_step(settings, DEFAULT_PARTITION_SIZE)


def test_a_task_that_spark_runs_twice_lands_its_partition_once(
    settings: Settings, registry: MysqlConnection, unpacked: Callable[..., None]
) -> None:
    unpacked()
    run_step(settings, SMALL_PARTITIONS)
    load_id, states = current_partitions(registry)
    assert load_id is not None
    destination = Destination(settings.mysql, settings.staging_database, load_id)
    for partition in states:
        land_partitions(destination, [(settings.member_path(partition.record_kind), partition)])

    assert rows(registry, "select count(*) from sample_feature") == [(2 * NUM_SAMPLES,)]


def test_the_job_runs_on_executors_in_processes_of_their_own(
    settings: Settings,
    registry: MysqlConnection,
    unpacked: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masters = []

    @contextmanager
    def watched_context(settings: Settings, name: str, *, log: Path | None) -> Iterator[SparkContext]:
        with spark_context(settings, name, log=log) as context:
            masters.append((name, context.master))
            yield context

    monkeypatch.setattr(explode_features, "spark_context", watched_context)
    unpacked()
    run_step(replace(settings, spark_master="local-cluster[1,2,1024]"), SMALL_PARTITIONS)

    assert masters == [("deepcvr explode", "local-cluster[1,2,1024]")]
    assert rows(registry, "select count(*) from sample_feature") == [(2 * NUM_SAMPLES,)]


def test_executors_that_cannot_run_python_are_told_in_one_line(
    settings: Settings,
    registry: MysqlConnection,
    unpacked: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", "/no/python")
    unpacked()
    message = (
        r'^the Spark job failed: Cannot run program "/no/python": .+ on \S+ \(.*spark\.log has Spark\'s own account\)$'
    )
    with pytest.raises(LoadError, match=message):
        run_step(replace(settings, spark_master="local-cluster[1,1,1024]"), SMALL_PARTITIONS)

    assert set(current_partitions(registry)[1].values()) == {"planned"}


def test_what_a_task_raises_unexpectedly_is_told_in_one_line(
    settings: Settings,
    registry: MysqlConnection,
    unpacked: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'pymysql'")

    monkeypatch.setattr(explode_features, "land_partitions", broken)
    unpacked()
    with pytest.raises(LoadError, match=r"^the Spark job failed: ModuleNotFoundError: No module named 'pymysql' \("):
        run_step(settings, SMALL_PARTITIONS)

    assert set(current_partitions(registry)[1].values()) == {"planned"}


def test_a_spark_that_does_not_start_is_told_in_one_line(
    settings: Settings, registry: MysqlConnection, unpacked: Callable[..., None]
) -> None:
    unpacked()
    message = r"^Spark does not start with master no-such-master: .+ \(.*spark\.log has its own account\)$"
    with pytest.raises(LoadError, match=message):
        run_step(replace(settings, spark_master="no-such-master"), SMALL_PARTITIONS)

    assert "planned" in current_partitions(registry)[1].values()


def test_a_spark_master_that_is_not_there_is_told_at_once(
    settings: Settings, registry: MysqlConnection, unpacked: Callable[..., None]
) -> None:
    unpacked()
    with pytest.raises(LoadError, match=r"^no Spark master answers at spark://127\.0\.0\.1:1: check SPARK_MASTER$"):
        run_step(replace(settings, spark_master="spark://127.0.0.1:1"), SMALL_PARTITIONS)

    assert "planned" in current_partitions(registry)[1].values()


def test_spark_submit_shows_the_jobs_help(root: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        ["spark-submit", root / "spark_jobs" / "explode_features.py", "--help"],
        cwd=tmp_path,
        env=spark_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    assert "usage: explode_features.py" in answer.stdout
    assert "--partition-size" in answer.stdout
