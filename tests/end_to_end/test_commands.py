"""The commands of the README, typed as they stand there, and every row that they leave behind."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pyarrow import parquet
from pymysql.cursors import SSCursor

from embedded.cleaning import AT_ROOT, made_anywhere
from embedded.mysql_server import find_mysql
from embedded.s3_server import S3Server, find_s3, open_client
from pipeline.settings import MysqlSettings
from source_data import write_csvs
from tests.end_to_end import processes
from tests.end_to_end.conftest import Shell, environment_of
from tests.manifests import environ_of
from tests.ports import free_port
from tests.spark_cluster import SparkCluster

Row = tuple[object, ...]

ACTIVATE = ". .venv/bin/activate"
COLUMNS = {
    "sample": "sample_id, click_label, conversion_label, common_feature_index",
    "feature": "feature_id, feature_name",
    "sample_feature": "sample_id, feature_id, feature_value",
    "common_feature_group": "common_feature_index, feature_id, feature_value",
}
TRAIN, TEST = "deepcvr_development_train", "deepcvr_development_test"


def embedded(project: Path) -> MysqlSettings:
    """The copy's own embedded server."""
    return MysqlSettings(host=None, port=0, user="root", password="", unix_socket=project / ".embedded" / "mysql.sock")


def stream(mysql: MysqlSettings, database: str, query: str) -> Iterator[Row]:
    """Rows of a query, read with nothing of the project's code."""
    address: dict[str, Any] = (
        {"unix_socket": str(mysql.unix_socket)} if mysql.host is None else {"host": mysql.host, "port": mysql.port}
    )
    with (
        closing(pymysql.connect(user=mysql.user, password=mysql.password, database=database, **address)) as connection,
        connection.cursor(SSCursor) as cursor,
    ):
        cursor.execute(query)
        yield from cursor


def read_plainly(path: Path) -> Iterator[tuple[list[str], list[tuple[str, int, str]]]]:
    """Each line of a CSV file: its columns but the last two, and its feature structures."""
    with path.open(encoding="ascii", newline="") as file:
        for *header, num_features, features_list in csv.reader(file, quoting=csv.QUOTE_NONE):
            structures = [re.split("[\x02\x03]", text) for text in features_list.split("\x01")]
            assert len(structures) == int(num_features)
            yield header, [(name, int(feature_id), value) for name, feature_id, value in structures]


@cache
def rows_of_the_source(unpacked: Path, data_set: str, changed_at: int) -> dict[str, set[Row]]:
    """What the four tables must hold, from a plain reading of the two CSV files as they were changed last."""
    del changed_at
    names: dict[int, str] = {}
    samples: set[Row] = set()
    sample_features: set[Row] = set()
    common: set[Row] = set()
    for (sample_id, click, conversion, index), structures in read_plainly(unpacked / f"sample_skeleton_{data_set}.csv"):
        samples.add((int(sample_id), int(click), int(conversion), index))
        sample_features.update((int(sample_id), feature_id, value) for _, feature_id, value in structures)
        names.update((feature_id, name) for name, feature_id, _ in structures)
    for (index,), structures in read_plainly(unpacked / f"common_features_{data_set}.csv"):
        common.update((index, feature_id, value) for _, feature_id, value in structures)
        names.update((feature_id, name) for name, feature_id, _ in structures)
    return {
        "sample": samples,
        "feature": set(names.items()),
        "sample_feature": sample_features,
        "common_feature_group": common,
    }


@cache
def digests_of_the_source(unpacked: Path, data_set: str, changed_at: int) -> dict[str, Row]:
    """For each table, how many rows it must have, and the sum of their digests."""
    expected = rows_of_the_source(unpacked, data_set, changed_at)
    return {table: (len(rows), sum(map(digest, rows))) for table, rows in expected.items()}


def digest(row: Row) -> int:
    """60 bits of the SHA-256 of a row's text: what `digested` computes on the server."""
    return int(hashlib.sha256(",".join(map(str, row)).encode()).hexdigest()[:15], 16)


def digested(mysql: MysqlSettings, database: str, table: str, columns: str) -> Row:
    """How many rows a table has, and the sum of their digests."""
    each = f"cast(conv(left(sha2(concat_ws(',', {columns}), 256), 15), 16, 10) as unsigned)"
    (found,) = stream(mysql, database, f"select count(*), sum({each}) from {table}")
    return found


def assert_every_row_is_there(mysql: MysqlSettings, database: str, unpacked: Path, data_set: str) -> None:
    """Compare all four tables with a plain reading of the two CSV files, and name a row where they differ."""
    changed_at = (unpacked / f"sample_skeleton_{data_set}.csv").stat().st_mtime_ns
    expected = rows_of_the_source(unpacked, data_set, changed_at)
    for table, wanted in digests_of_the_source(unpacked, data_set, changed_at).items():
        assert expected[table], f"the source gives {table} nothing"
        if digested(mysql, database, table, COLUMNS[table]) == wanted:
            continue
        for row in stream(mysql, database, f"select {COLUMNS[table]} from {table}"):
            assert row in expected[table], f"{table} has a row that the source has not: {row}"
        raise AssertionError(f"{table} has not every row of the source, or one of them twice")


def succeed(shell: Shell, line: str, **environment: str) -> str:
    """Run a line that must end well, and give all that it printed."""
    ended = shell(line, **environment)
    assert ended.returncode == 0, f"{line} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout + ended.stderr


@pytest.fixture(scope="session")
def run(shell: Shell) -> str:
    """What `make run` printed, after which the train data set is built and its servers run."""
    return succeed(shell, "make run")


@pytest.fixture
def built(run: str, shell: Shell, project: Path) -> None:
    """The train data set is built, and its servers run, whatever other tests have done to them."""
    assert run
    if not (find_mysql(project / ".embedded") and find_s3(project / ".embedded")):
        succeed(shell, "make up")


def test_make_run_takes_the_archive_to_tested_tables(run: str, project: Path) -> None:
    source = "s3://deepcvr-data/development/taobao_train.tar.gz (generated data, the default in development mode)"
    assert run.startswith(f"extract train, development: {source}\n")
    assert not {"\x1b", "\r"} & set(run)  # neither colours nor bars in a log
    assert re.search(r"sample +42,300 rows +42,300 of the 42,300 lines of sample_skeleton_train\.csv", run)
    assert re.search(r"rejected records: 0\n +tests: [1-9]\d* passed, 0 warned, 0 failed\n", run)
    (shown,) = re.findall(r"^```text\n(\[1/3\] .*?)^```", (project / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    *_, last = shown.splitlines()
    assert f"{last}\n" in run
    assert_every_row_is_there(embedded(project), TRAIN, project / "data/development/unpacked", "train")
    catalog, manifest = project / "target" / "catalog.json", project / "target" / "manifest.json"
    assert catalog.stat().st_size > 10_000
    assert manifest.stat().st_size > 100_000


@pytest.mark.usefixtures("built")
def test_make_export_writes_every_sample_and_group(shell: Shell, project: Path) -> None:
    printed = succeed(shell, "make export")

    folder = project / "data" / "development" / "export" / "train"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "export of train: 42,300 samples with " in printed
    assert manifest["sample"]["rows"] == parquet.read_table(folder / "sample").num_rows == 42_300
    for side, table in (("sample", "sample_feature"), ("common_feature_group", "common_feature_group")):
        counted = stream(embedded(project), TRAIN, f"select count(*) from {table}")
        assert list(counted) == [(manifest[side]["features"],)]
    printed = succeed(shell, "make export VOCABULARY=10 SHUFFLE=1")
    assert re.search(
        r"  indexes for [0-9,]+ ids that are in at least 10 impressions of deepcvr_development_train", printed
    )
    assert set(parquet.read_table(folder / "sample", columns=["sample_id"])["sample_id"].to_pylist()) == {
        *range(1, 42_301)
    }


@pytest.mark.usefixtures("built")
def test_the_publishers_own_line_is_in_the_tables_value_by_value(project: Path) -> None:
    own_features = "select feature_name, feature_id, feature_value from sample_feature join feature using (feature_id)"

    assert list(stream(embedded(project), TRAIN, "select * from sample where sample_id = 1")) == [
        (1, 0, 0, "bacff91692951881")
    ]
    assert set(stream(embedded(project), TRAIN, f"{own_features} where sample_id = 1")) == {
        ("210", 9052218, "1.0"),
        ("210", 9064553, "1.0"),
        ("210", 9093445, "1.0"),
        ("216", 9154780, "1.0"),
        ("301", 9351665, "1.0"),
        ("205", 4186222, "1.0"),
        ("206", 8316799, "1.0"),
        ("207", 8416205, "1.0"),
        ("508", 9355039, "0.69315"),
    }


@pytest.mark.usefixtures("built")
def test_the_same_commands_a_second_time_change_nothing(shell: Shell, project: Path) -> None:
    query = "select load_id, partition_number, loaded_at from load_partition order by load_id, partition_number"
    staging = f"{TRAIN}_staging"
    before = list(stream(embedded(project), staging, query))

    printed = succeed(shell, f"{ACTIVATE}; make extract && dbt run && dbt test")

    assert printed.count("skipped") == 3
    assert list(stream(embedded(project), staging, query)) == before
    assert_every_row_is_there(embedded(project), TRAIN, project / "data/development/unpacked", "train")


@pytest.mark.usefixtures("built")
def test_make_report_writes_a_page_about_the_tables(shell: Shell, project: Path) -> None:
    printed = succeed(shell, "make report")

    assert "page: target/report/deepcvr_development_train.html, " in printed
    page = (project / "target/report/deepcvr_development_train.html").read_text()
    assert "Ali-CCP train, development: 42,300 impressions" in page
    assert "Generated data in the form of Ali-CCP" in page
    assert page.count("✓ agree") == 2


def require_answers(project: Path, *, of_test: bool) -> None:
    """Each question of docs/marts.md has the answer that stands there: those that ask of test, or the others."""
    page = (project / "docs/marts.md").read_text()
    questions = re.findall(r"^```sql\n(.*?);\n```\n\n\|.*?\n\|[-|]+\n(.*?)\n(?:\n|\Z)", page, re.MULTILINE | re.DOTALL)
    assert len(questions) == 10
    for query, table in questions:
        if (TEST in query) is of_test:
            shown = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in table.splitlines()]
            rows = stream(embedded(project), TRAIN, query)
            assert [tuple("null" if cell is None else f"{cell}" for cell in row) for row in rows] == shown, query


@pytest.mark.usefixtures("built")
def test_the_questions_in_sql_have_the_answers_of_the_page(shell: Shell, project: Path) -> None:
    printed = succeed(shell, f"{ACTIVATE}; dbt build -s marts")

    assert re.search(r"PASS=\d+ WARN=0 ERROR=0 SKIP=0", printed)
    require_answers(project, of_test=False)


def partitions_have_landed(project: Path) -> bool:
    """Whether some partitions of the test data set are in staging."""
    query = "select count(*) from load_partition where state = 'loaded'"
    try:
        return list(stream(embedded(project), f"{TEST}_staging", query)) > [(0,)]
    except pymysql.err.MySQLError:
        return False  # the table is not there yet


@pytest.mark.soak
def test_an_extract_that_is_killed_three_times_is_continued_by_the_same_command(
    shell: Shell, project: Path, tmp_path: Path
) -> None:
    """By Ctrl-C, by SIGTERM and by SIGKILL, each in another step; `make soak` does it at many moments."""
    succeed(shell, "make up")
    log = tmp_path / "extract.log"
    moments: list[tuple[signal.Signals, Callable[[], bool]]] = [
        (signal.SIGINT, lambda: "extract test" in log.read_text()),
        (signal.SIGTERM, lambda: "unpack: " in log.read_text()),
        (signal.SIGKILL, lambda: partitions_have_landed(project)),
    ]
    for number, has_come in moments:
        make = processes.start(["make", "extract", "DATASET=test"], project, environment_of(project), log)
        deadline = time.monotonic() + 60
        while not has_come() and time.monotonic() < deadline:
            time.sleep(0.01)
        killed = processes.kill(make, number, "all", log)
        assert make.returncode != 0, f"{number.name} came too late"
        if number is not signal.SIGKILL:
            assert killed.left == []
            assert killed.seconds_to_answer is not None
            assert killed.seconds_to_answer < 1
            assert "interrupted: run the same command again, it continues where this one stopped" in killed.errors
            assert "Traceback" not in killed.errors

    printed = succeed(shell, "make extract DATASET=test")
    assert processes.wait_for_none(make.pid, seconds=5) == []  # Spark's workers end by themselves
    assert printed.count("skipped") == 2
    rest = re.search(r"records in (\d) partitions?,", printed)
    assert rest
    assert 0 < int(rest[1]) < len(list(stream(embedded(project), f"{TEST}_staging", "select * from load_partition")))
    succeed(shell, f"{ACTIVATE}; dbt run --target test")
    assert_every_row_is_there(embedded(project), TEST, project / "data/development/unpacked", "test")


@pytest.mark.soak
@pytest.mark.usefixtures("built")
def test_what_test_has_that_train_does_not_is_what_the_page_says(shell: Shell, project: Path) -> None:
    succeed(shell, f"{ACTIVATE}; make extract DATASET=test && dbt run --target test")
    succeed(shell, f"{ACTIVATE}; dbt build -s marts && dbt build -s marts --target test")

    require_answers(project, of_test=True)


@pytest.mark.usefixtures("built")
def test_a_sample_of_the_test_data_set_is_drawn_uploaded_and_built_beside_the_train_data_set(
    shell: Shell, project: Path
) -> None:
    printed = succeed(shell, "make sample DATASET=test MARGIN=20% CONFIDENCE=90% SEED=3 UPLOAD=1")
    (shown,) = re.findall(r"^```text\n(  size: .*?)^```", (project / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown in printed
    printed = succeed(
        shell, f"{ACTIVATE}; make extract DATASET=test && dbt run --target test && dbt test --target test"
    )
    # A sample without its common feature group would be a warning in development mode.
    assert len(re.findall(r"PASS=\d+ WARN=0 ERROR=0 SKIP=0", printed)) == 2
    drawn = json.loads((project / "data/development/sample/test/manifest.json").read_text())
    assert list(stream(embedded(project), TEST, "select count(*) from sample")) == [(drawn["samples"]["sample"],)]
    assert_every_row_is_there(embedded(project), TEST, project / "data/development/unpacked", "test")
    assert list(stream(embedded(project), TRAIN, "select count(*) from sample")) == [(42_300,)]


def test_the_same_job_runs_on_a_mariadb_server_over_tcp(
    shell: Shell, project: Path, mariadb_by_tcp: MysqlSettings
) -> None:
    server = {
        "MYSQL_HOST": str(mariadb_by_tcp.host),
        "MYSQL_PORT": str(mariadb_by_tcp.port),
        "MYSQL_USER": mariadb_by_tcp.user,
        "MYSQL_PASSWORD": mariadb_by_tcp.password,
    }
    printed = succeed(shell, f"{ACTIVATE}; make extract && dbt run && dbt test", **server)

    assert mariadb_by_tcp.password not in printed
    assert_every_row_is_there(mariadb_by_tcp, TRAIN, project / "data/development/unpacked", "train")


def test_the_same_job_runs_on_a_spark_cluster(
    shell: Shell, project: Path, mysql_by_tcp: MysqlSettings, spark_cluster: SparkCluster
) -> None:
    server = {
        "MYSQL_HOST": str(mysql_by_tcp.host),
        "MYSQL_PORT": str(mysql_by_tcp.port),
        "MYSQL_USER": mysql_by_tcp.user,
        "MYSQL_PASSWORD": mysql_by_tcp.password,
    }
    cluster = {"SPARK_MASTER": spark_cluster.master, "SPARK_CONF_DIR": str(spark_cluster.conf_folder)}
    printed = succeed(shell, "make extract", **server, **cluster)

    assert "[3/3] explode: 43,031 rows, " in printed
    assert len(list(spark_cluster.folder.glob("work-*/app-*/*/stderr"))) >= 2  # executors on both workers
    assert_every_row_is_there(mysql_by_tcp, f"{TRAIN}_staging", project / "data/development/unpacked", "train")


@pytest.mark.soak
def test_the_same_job_reads_files_that_no_disk_of_the_cluster_has(
    shell: Shell, project: Path, mysql_by_tcp: MysqlSettings, spark_cluster: SparkCluster, s3: S3Server, tmp_path: Path
) -> None:
    client = open_client(s3)
    client.create_bucket(Bucket="unpacked")
    write_csvs(tmp_path, "train", scale=0.0002, seed=7)
    for path in tmp_path.glob("*.csv"):
        client.upload_file(str(path), "unpacked", f"ali-ccp/train/{path.name}")
        path.unlink()
    environment = {
        "MYSQL_HOST": str(mysql_by_tcp.host),
        "MYSQL_PORT": str(mysql_by_tcp.port),
        "MYSQL_USER": mysql_by_tcp.user,
        "MYSQL_PASSWORD": mysql_by_tcp.password,
        "SPARK_MASTER": spark_cluster.master,
        "SPARK_CONF_DIR": str(spark_cluster.conf_folder),
        "SOURCE": "s3://unpacked/ali-ccp",
        "MODE": "production",
        **environ_of(s3),
    }
    printed = succeed(shell, f"{ACTIVATE}; make extract && dbt build --threads 2", **environment)
    again = succeed(shell, "make extract", **environment)
    sampled = succeed(shell, "make sample MARGIN=90%", **environment)

    assert "extract train, production: s3://unpacked/ali-ccp/train (SOURCE is s3://unpacked/ali-ccp)" in printed
    assert not [
        path for folder in (project / "data/production", spark_cluster.folder) for path in folder.rglob("*.csv")
    ]
    assert "[2/3] unpack: skipped: " in again
    assert "[3/3] explode: skipped: " in again
    assert re.search(r"\[3/3\] draw: [1-9]\S* of 8,460 impressions with ", sampled)
    assert " in place " in succeed(shell, "make status", **environment)
    write_csvs(tmp_path, "train", scale=0.0002, seed=7)
    assert_every_row_is_there(mysql_by_tcp, "deepcvr_train", tmp_path, "train")


def test_production_without_credentials_says_in_one_line_what_to_set(shell: Shell) -> None:
    ended = shell("make --no-print-directory extract MODE=production", AWS_EC2_METADATA_DISABLED="true")

    assert ended.returncode == 2
    (source,) = ended.stdout.splitlines()
    assert source.endswith("s3://deepcvr-data/production (the default in production mode)")
    message, from_make = ended.stderr.splitlines()
    assert "needs an S3 store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message
    assert from_make.startswith("make: ***")
    assert from_make.endswith("Error 2")


@pytest.mark.usefixtures("built")
def test_an_extract_with_nothing_to_do_needs_no_spark(shell: Shell) -> None:
    printed = succeed(shell, "make extract")

    assert printed.count("skipped") == 3


def test_the_documentation_is_served_with_its_lineage(shell: Shell) -> None:
    succeed(shell, "make up")
    port = free_port()
    serve = f"{ACTIVATE}; dbt docs generate && (dbt docs serve --no-browser --port {port} & echo $! > serve.pid; wait)"
    with ThreadPoolExecutor() as pool:
        served = pool.submit(shell, serve)
        try:
            manifest = fetch(f"http://127.0.0.1:{port}/manifest.json", seconds=60)
            page = fetch(f"http://127.0.0.1:{port}/", seconds=10)
        finally:
            shell("kill $(cat serve.pid)")
        served.result()

    assert b"<html" in page
    nodes = json.loads(manifest)["nodes"]
    lineage = json.loads(manifest)["parent_map"]
    assert nodes["model.deepcvr.sample_feature"]["description"].startswith("One row per ")
    assert lineage["model.deepcvr.stg_sample_feature"] == ["source.deepcvr.staging.sample_feature"]
    assert "model.deepcvr.stg_sample_feature" in lineage["model.deepcvr.sample_feature"]


def test_make_docs_serves_until_ctrl_c_and_a_port_that_is_taken_is_told_before_anything_is_done(
    shell: Shell, project: Path, tmp_path: Path
) -> None:
    port = free_port()
    log = tmp_path / "docs.log"
    make = processes.start(["make", "docs", f"PORT={port}"], project, environment_of(project), log)
    try:
        assert b"<html" in fetch(f"http://127.0.0.1:{port}/", seconds=60)
        second = shell(f"make --no-print-directory docs PORT={port}")
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr.startswith(f"error: cannot listen on port {port} of 127.0.0.1, another program has it: ")
        assert len(second.stderr.splitlines()) == 2  # the other is make's
    finally:
        killed = processes.kill(make, signal.SIGINT, "all", log)
    assert killed.left == []
    told, *of_make = killed.errors.splitlines()
    assert told == "interrupted: the documentation is served no longer; it stays in target"
    assert all(line.startswith("make: ***") for line in of_make)


def fetch(url: str, *, seconds: float) -> bytes:
    """Read a page of a server that may still be starting."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                content: bytes = answer.read()
                return content
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "command",
    [
        "make",
        "make status",
        "make status JSON=1",
        "make sql <<< 'select count(*) from sample'",
        f"{ACTIVATE}; python -m extract --help",
        f"{ACTIVATE}; python -m extract.sample --help",
        f"{ACTIVATE}; python -m report --help",
        f"{ACTIVATE}; python -m embedded fill --scale 0.001",
    ],
)
def test_the_other_commands_answer(shell: Shell, command: str) -> None:
    assert succeed(shell, command)


@pytest.mark.usefixtures("built")
def test_archives_that_a_browser_has_downloaded_are_read_where_they_are(
    shell: Shell, project: Path, tmp_path: Path
) -> None:
    downloads = tmp_path / "Downloads"
    downloads.mkdir()
    for data_set in ("train", "test"):
        succeed(shell, f"make extract DATASET={data_set}")
        archive = project / f"data/development/archives/taobao_{data_set}.tar.gz"
        archive.rename(downloads / f"sample_{data_set}.tar.gz")
    downloads.chmod(0o500)
    for line, data_set in (("make run", "train"), ("make run DATASET=test", "test")):
        printed = succeed(shell, f"SOURCE=~/Downloads {line}", HOME=str(tmp_path))
        path = downloads / f"sample_{data_set}.tar.gz"
        assert printed.startswith(f"extract {data_set}, development: {path} (SOURCE names it)\n")
        assert f"deepcvr_development_{data_set}, from file://{path}\n" in printed
        assert not (project / f"data/development/archives/taobao_{data_set}.tar.gz").exists()
    assert_every_row_is_there(embedded(project), TRAIN, project / "data/development/unpacked", "train")

    unpack = "mkdir ~/csv && tar -xf ~/Downloads/sample_train.tar.gz -C ~/csv"
    printed = succeed(shell, f"{unpack} && SOURCE=~/csv make sample MARGIN=20%", HOME=str(tmp_path))
    assert f"sample train, development: {tmp_path}/csv (SOURCE names it)" in printed
    drawn = json.loads((project / "data/development/sample/train/manifest.json").read_text())
    assert drawn["source"]["uri"].startswith(f"file://{tmp_path}/csv")


@pytest.mark.usefixtures("built")
def test_whatever_the_commands_leave_make_clean_removes(project: Path, root: Path) -> None:
    """What the tests before have typed; the home folder and the file of a process are the tests' own."""
    left = {path.relative_to(project) for path in project.rglob("*") if not path.is_dir()}
    left -= {path.relative_to(root) for path in root.rglob("*") if not path.is_dir()}
    removed = {path for path in left if path.parts[0] in AT_ROOT or any(made_anywhere(part) for part in path.parts)}

    assert {"target", "logs", "data", ".embedded"} <= {path.parts[0] for path in removed}
    assert {str(path) for path in left - removed if path.parts[0] != ".home"} <= {"serve.pid"}


def test_make_down_stops_what_make_up_started(shell: Shell) -> None:
    succeed(shell, "make up")
    succeed(shell, "make down")
    printed = succeed(shell, "make status")

    assert "not running" in printed


def test_every_command_of_the_readme_has_been_typed(root: Path, typed: list[str]) -> None:
    if len(typed) < 10:
        pytest.skip("the tests before this one were not all run")
    blocks = re.findall(r"^```sh\n(.*?)^```", (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    commands = {command.strip() for line in lines if line for command in line.split("&&")}
    typed_commands = {part.strip(" ()") for line in typed for part in re.split("&&|;|&", line)}
    not_typed = {command for command in commands if not any(part.startswith(command) for part in typed_commands)}

    assert len(commands) > 8
    assert not_typed == {"make test"}  # which runs this test
