"""The job on a cluster of several processes, some of which are killed in the middle of their work."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from embedded.s3_server import S3Server
from pipeline.landed import write_manifest
from pipeline.mysql import MysqlConnection, connect
from pipeline.registry import (
    Partition,
    begin_load,
    current_partitions,
    open_registry,
    record_asset,
    supersede_load,
)
from pipeline.settings import MysqlSettings, RecordKind, Settings, load_settings
from spark_jobs.partitions import plan_partitions
from spark_jobs.staging import empty_staging_tables
from tests.manifests import asset_of, environ_of, move_to_bucket
from tests.ports import free_port
from tests.processes import command_line, command_lines, descendants
from tests.spark_cluster import SparkCluster, kill
from tests.surroundings import spark_environment

NUM_SAMPLES, NUM_GROUPS, FEATURES = 6000, 100, 40
PARTITION_SIZE = 256 << 10

# Partitions of the second and of the third task, of which the first takes four and the second three. The last
# partitions have each a task of their own.
IN_TWO_TASKS = (5, 8)

# A password that can be found wherever it is written, whatever that place does to unusual characters.
USER, PASSWORD = "marked", "Zq7mVt3KwPx9Rb2L"

# InnoDB shows its transactions anew only to one who has not looked for a tenth of a second.
SECONDS_BETWEEN_LOOKS = 0.12
MOST_SECONDS = 200

JOB = """
import pickle, sys
from pipeline.cli import run_command, say
from spark_jobs.explode_features import DEFAULT_PARTITION_SIZE, run_step
settings = pickle.load(sys.stdin.buffer)
sys.exit(run_command(lambda: say(run_step(settings, DEFAULT_PARTITION_SIZE).result), verbose=False))
"""


@dataclass(frozen=True)
class Load:
    """A load that is planned, none of which has landed."""

    settings: Settings
    registry: MysqlConnection
    partitions: dict[RecordKind, list[Partition]]

    def last_samples(self, numbers: Iterable[int]) -> list[int]:
        """Ids of the last samples of some partitions."""
        partitions = self.partitions["sample"]
        return [partitions[number].first_line + partitions[number].num_lines - 2 for number in numbers]

    @property
    def num_loaded(self) -> int:
        """How many partitions have landed."""
        return list(current_partitions(self.registry)[1].values()).count("loaded")

    @property
    def num_waiting(self) -> int:
        """How many transactions wait for another one."""
        return int(
            rows(self.registry, "select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT'")[0][
                0
            ]
        )


@pytest.fixture
def load(mysql_by_tcp: MysqlSettings, root: Path, tmp_path: Path) -> Iterator[Load]:
    """A load of two files, in a folder with the project's code."""
    project = tmp_path / "project"
    project.mkdir()
    for package in ("pipeline", "spark_jobs"):
        (project / package).symlink_to(root / package)
    with closing(connect(mysql_by_tcp)) as connection, connection.cursor() as cursor:
        cursor.execute(f"create user if not exists {USER} identified by '{PASSWORD}'")
        cursor.execute(f"grant all on *.* to {USER}")
    settings = replace(
        load_settings(root=root, environ={}),
        root=project,
        mysql=replace(mysql_by_tcp, user=USER, password=PASSWORD),
        database="deepcvr_cluster",
        unpacked_folder=tmp_path,
    )
    with closing(open_registry(settings)) as registry:
        supersede_load(registry)
        empty_staging_tables(registry)
        partitions: dict[RecordKind, list[Partition]] = {
            "sample": unpack(settings, registry, "sample", map(sample, range(NUM_SAMPLES))),
            "common_feature": unpack(settings, registry, "common_feature", map(group, range(NUM_GROUPS))),
        }
        begin_load(registry, [partition for planned in partitions.values() for partition in planned])
        yield Load(settings, registry, partitions)


def feature_id(number: int, place: int) -> int:
    return 9_000_000 + (number * 7 + place) % 50_000


def sample(number: int) -> bytes:
    structures = (b"210\x02%d\x031.0" % feature_id(number, place) for place in range(FEATURES))
    return b"%d,0,0,%016x,%d,%s" % (number, number % NUM_GROUPS, FEATURES, b"\x01".join(structures))


def group(number: int) -> bytes:
    return b"%016x,1,101\x02%d\x031.0" % (number, number + 1)


def unpack(settings: Settings, registry: MysqlConnection, kind: RecordKind, lines: Iterable[bytes]) -> list[Partition]:
    """Leave a CSV file where unpacking would, recorded as unpacking would, and cut it."""
    path, content = settings.member_path(kind), b"".join(line + b"\n" for line in lines)
    path.write_bytes(content)
    asset = asset_of(path, uri=settings.member_uri(kind))
    write_manifest(path, asset)
    record_asset(registry, asset)
    return plan_partitions(path, kind, asset, PARTITION_SIZE)


class Job:
    """The job in a process of its own, and what Spark tells of it."""

    def __init__(self, load: Load, environment: dict[str, str], events: Path) -> None:
        self._log = load.settings.root / "logs" / "spark.log"
        self._printed = load.settings.root / "printed.txt"
        self._events = events
        with self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-c", JOB],
                cwd=load.settings.root,
                env=spark_environment() | environment,
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=printed,
            )
        assert self.process.stdin
        self.process.stdin.write(pickle.dumps(replace(load.settings, spark_master=environment["SPARK_MASTER"])))
        self.process.stdin.close()

    def wait_until(self, what: str, load: Load, expected: int) -> None:
        """Wait until the load is as expected, while the job goes on."""
        deadline = time.monotonic() + MOST_SECONDS
        while getattr(load, what) != expected:
            assert self.process.poll() is None, self.account()
            assert time.monotonic() < deadline, f"{what} is {getattr(load, what)}, not {expected}\n{self.account()}"
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def succeed(self) -> str:
        """Wait for the job's end, which must be a good one, and give what it printed."""
        assert self.process.wait(timeout=MOST_SECONDS) == 0, self.account()
        return self._printed.read_text()

    def fail(self) -> str:
        """Wait for the job's end, which must be a failure, and give its last line."""
        assert self.process.wait(timeout=MOST_SECONDS) == 1, self.account()
        printed = self._printed.read_text()
        assert "Traceback" not in printed
        assert "Warning" not in printed
        return printed.splitlines()[-1]

    def account(self) -> str:
        """All that was printed."""
        return self._printed.read_text() + (self._log.read_text()[-3000:] if self._log.exists() else "")

    def ended_tasks(self) -> list[dict[str, Any]]:
        """What Spark's own log of events has of each attempt at a task that ended."""
        events = [json.loads(line) for file in self._events.iterdir() for line in file.read_text().splitlines()]
        return [event for event in events if event["Event"] == "SparkListenerTaskEnd"]


@contextmanager
def running(load: Load, environment: dict[str, str], events: Path) -> Iterator[Job]:
    job = Job(load, environment, events)
    try:
        yield job
    finally:
        job.process.kill()
        job.process.wait()


def logging_events(folder: Path) -> tuple[Path, dict[str, str]]:
    """A folder for Spark's log of events, and the settings that send it there."""
    events = folder / "events"
    events.mkdir()
    names = {"enabled": "true", "dir": f"file:{events}", "compress": "false", "rolling.enabled": "false"}
    return events, {f"spark.eventLog.{name}": value for name, value in names.items()}


@contextmanager
def held_up(load: Load, sample_ids: Iterable[int]) -> Iterator[MysqlConnection]:
    """Hold up the tasks that land some samples in the middle of their transactions, until a rollback."""
    with closing(connect(load.settings.mysql, database=load.settings.staging_database)) as connection:
        connection.begin()
        for sample_id in sample_ids:
            rows(connection, f"insert into sample values ({sample_id}, 0, 0, '{'0' * 16}', 0, 0)")
        yield connection


def rows(connection: MysqlConnection, query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def assert_each_partition_landed_once(load: Load) -> None:
    """Compare counts and sums: with the primary keys, the rows could then hardly be others."""
    registry = load.registry
    assert set(current_partitions(registry)[1].values()) == {"loaded"}
    assert rows(registry, "select sum(num_rows), sum(num_structures) from load_partition where state = 'loaded'") == [
        (NUM_SAMPLES + NUM_GROUPS, NUM_SAMPLES * FEATURES + NUM_GROUPS)
    ]
    assert rows(registry, "select count(*), count(distinct sample_id), sum(feature_id) from sample_feature") == [
        (
            NUM_SAMPLES * FEATURES,
            NUM_SAMPLES,
            sum(feature_id(number, place) for number in range(NUM_SAMPLES) for place in range(FEATURES)),
        )
    ]
    assert rows(registry, "select count(*), sum(num_features) from sample") == [(NUM_SAMPLES, NUM_SAMPLES * FEATURES)]
    assert rows(registry, "select count(*), sum(feature_id) from common_feature_group") == [
        (NUM_GROUPS, NUM_GROUPS * (NUM_GROUPS + 1) // 2)
    ]


def python_workers(pid: int) -> list[int]:
    """The processes below this one in which Spark runs Python tasks."""
    daemons = [child for child in descendants(pid) if "spark_jobs.python_daemon" in command_line(child)]
    return [worker for daemon in daemons for worker in descendants(daemon)]


def test_python_workers_killed_in_the_middle_of_their_tasks_are_replaced(load: Load, tmp_path: Path) -> None:
    events, conf = logging_events(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "spark-defaults.conf").write_text("".join(f"{name} {conf[name]}\n" for name in conf))
    environment = {"SPARK_MASTER": "local[2]", "SPARK_CONF_DIR": str(tmp_path / "conf")}
    with held_up(load, load.last_samples(IN_TWO_TASKS)) as holding, running(load, environment, events) as job:
        job.wait_until("num_waiting", load, 2)
        workers = python_workers(job.process.pid)
        for worker in workers:
            kill(worker)
        holding.rollback()
        job.succeed()

    assert len(workers) >= 2
    failed = [task for task in job.ended_tasks() if task["Task Info"]["Failed"]]
    assert len(failed) == 2
    assert all("Python worker exited unexpectedly" in json.dumps(task["Task End Reason"]) for task in failed)
    assert_each_partition_landed_once(load)


def test_a_jvm_killed_in_the_middle_of_the_job_is_told_with_its_remedy_and_the_next_run_continues(
    load: Load, tmp_path: Path
) -> None:
    environment = {"SPARK_MASTER": "local[2]"}
    with held_up(load, load.last_samples(IN_TWO_TASKS)) as holding, running(load, environment, tmp_path) as job:
        job.wait_until("num_waiting", load, 2)
        for jvm in (pid for pid in descendants(job.process.pid) if "SparkSubmit" in command_line(pid)):
            kill(jvm)
        told = job.fail()
        holding.rollback()
    with running(load, environment, tmp_path) as job:
        job.succeed()

    assert told.startswith(
        "error: the Spark job failed: Spark's JVM ended in the middle of the job, most likely killed"
    )
    assert ": free memory, or use fewer cores by SPARK_MASTER='local[1]', then run the same command again (" in told
    assert_each_partition_landed_once(load)


def test_python_workers_killed_again_and_again_are_told_with_the_remedy_and_the_next_run_continues(
    load: Load, tmp_path: Path
) -> None:
    environment = {"SPARK_MASTER": "local[2]"}
    with held_up(load, load.last_samples(IN_TWO_TASKS)) as holding, running(load, environment, tmp_path) as job:
        job.wait_until("num_waiting", load, 2)
        while job.process.poll() is None:
            for worker in python_workers(job.process.pid):
                kill(worker)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        told = job.fail()
        holding.rollback()
    with running(load, environment, tmp_path) as job:
        job.succeed()

    assert told.startswith("error: the Spark job failed: Spark's Python workers ended again and again, most likely")
    assert "SPARK_MASTER='local[1]'" in told
    assert_each_partition_landed_once(load)


def test_an_executor_lost_in_the_middle_of_the_job_is_replaced(
    load: Load, spark_cluster: SparkCluster, tmp_path: Path
) -> None:
    events, conf = logging_events(tmp_path)
    environment = spark_cluster.environment(tmp_path, **conf)
    with held_up(load, load.last_samples(IN_TWO_TASKS)) as holding, running(load, environment, events) as job:
        job.wait_until("num_waiting", load, 2)
        num_loaded = load.num_loaded
        executors = spark_cluster.executor_pids()
        kill(executors[0])
        holding.rollback()
        job.succeed()

    assert num_loaded > 0
    assert len(executors) == 2
    lost = [task for task in job.ended_tasks() if task["Task End Reason"]["Reason"] == "ExecutorLostFailure"]
    assert len(lost) == 1
    assert_each_partition_landed_once(load)


@pytest.mark.soak
def test_a_task_that_speculation_runs_twice_at_once_lands_its_partition_once(
    load: Load, spark_cluster: SparkCluster, tmp_path: Path
) -> None:
    events, conf = logging_events(tmp_path)
    conf |= {"spark.speculation": "true", "spark.speculation.quantile": "0.5", "spark.speculation.multiplier": "1.5"}
    environment = spark_cluster.environment(tmp_path, **conf)
    with held_up(load, load.last_samples([-1])) as holding, running(load, environment, events) as job:
        job.wait_until("num_waiting", load, 2)  # the first attempt for the sample, the second for the partition
        num_loaded = load.num_loaded
        holding.rollback()
        job.succeed()

    assert num_loaded == sum(map(len, load.partitions.values())) - 1
    assert any(task["Task Info"]["Speculative"] for task in job.ended_tasks())
    assert_each_partition_landed_once(load)


def test_no_secret_is_in_a_command_line_a_page_or_a_file_of_the_cluster(
    load: Load, spark_cluster: SparkCluster, s3: S3Server, tmp_path: Path
) -> None:
    move_to_bucket(load.settings, load.registry, s3)
    events, conf = logging_events(tmp_path)
    local, page = tmp_path / "local", f"http://127.0.0.1:{free_port()}"
    conf |= {"spark.ui.enabled": "true", "spark.ui.port": page.rpartition(":")[2], "spark.local.dir": str(local)}
    conf |= {"spark.log.level": "INFO", "spark.broadcast.compress": "false"}
    environment = spark_cluster.environment(tmp_path, **conf) | environ_of(s3)
    with held_up(load, load.last_samples([5])) as holding, running(load, environment, events) as job:
        job.wait_until("num_waiting", load, 1)
        (application,) = json.loads(read(f"{page}/api/v1/applications"))
        addresses = [f"{page}/environment/", f"{page}/api/v1/applications/{application['id']}/environment"]
        said = {address: read(address) for address in [*addresses, *spark_cluster.pages]}
        said |= {f"process {pid}": line for pid, line in command_lines().items()}
        said |= contents(spark_cluster.folder, tmp_path)
        holding.rollback()
        said["printed"] = job.succeed().encode()
    said |= contents(spark_cluster.folder, tmp_path)

    assert "spark.authenticate.secret" in said[addresses[0]].decode()  # shown, its value not
    assert any(spark_cluster.master.encode() in said[name] for name in said if name.startswith("process"))
    assert any(b"CoarseGrainedExecutorBackend" in said[name] for name in said if name.startswith("process"))
    assert any(spark_cluster.master.encode() in said[name] for name in said if name.startswith(str(events)))
    marks = [PASSWORD.encode(), s3.access.secret_access_key.encode(), *map(sample, (0, NUM_SAMPLES - 1))]
    assert [name for name in said if any(mark in said[name] for mark in marks)] == []
    assert_each_partition_landed_once(load)
    private = {str(folder / "spark-defaults.conf") for folder in (spark_cluster.conf_folder, tmp_path / "client-conf")}
    assert {name for name in said if spark_cluster.secret.encode() in said[name]} == private
    assert all(Path(name).stat().st_mode & 0o077 == 0 for name in private)


def read(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        page: bytes = answer.read()
        return page


def contents(*folders: Path) -> dict[str, bytes]:
    """Each file below some folders, but for those that end meanwhile and what a link leads to."""
    found = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        try:
            if path.is_file() and not path.is_symlink():
                found[str(path)] = path.read_bytes()
        except FileNotFoundError:
            continue
    return found
