"""What becomes of a partition when the server fails while it lands: all of it or nothing, and a line that says why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import mysql, waiting
from pipeline.errors import DatabaseError, PipelineError
from pipeline.mysql import connect
from pipeline.registry import Partition, begin_load, current_partitions, open_registry, supersede_load
from pipeline.settings import MysqlSettings, Settings, load_settings
from pipeline.waiting import waits_reported
from spark_jobs import landing
from spark_jobs.landing import Destination, land_partitions
from spark_jobs.staging import empty_staging_tables
from tests.manifests import partitions_of
from tests.records import REAL_LINE
from tests.servers import FragileServer

DATABASE = "deepcvr_faults"
STAGING = f"{DATABASE}_staging"
NUM_LINES = 40_000
# InnoDB shows its transactions anew only to one who has not looked for a tenth of a second.
SECONDS_BETWEEN_LOOKS = 0.12


@dataclass(frozen=True)
class Job:
    """A file of many lines, planned as one partition of a load.

    Attributes:
        server: where it is to land.
    """

    server: FragileServer
    path: Path
    load_id: int
    partition: Partition

    def land(self, mysql: MysqlSettings | None = None) -> None:
        """Land the partition."""
        destination = Destination(mysql or self.server.settings, STAGING, self.load_id)
        land_partitions(destination, [(self.path, self.partition)])

    def counts(self) -> tuple[int, int, str]:
        """Rows, structures and the partition's state, as they are committed."""
        ((state,),) = self.server.as_root(f"select state from {STAGING}.load_partition where load_id = {self.load_id}")
        ((rows, structures),) = self.server.as_root(
            f"select (select count(*) from {STAGING}.sample), (select count(*) from {STAGING}.sample_feature)"
        )
        return rows, structures, state


# A server that cannot write to its own tables ends itself.
LARGER_THAN_SYSTEM_FILES = 24 << 20

NOTHING = (0, 0, "planned")
ALL = (NUM_LINES, 9 * NUM_LINES, "loaded")


def settings_for(mysql: MysqlSettings, root: Path) -> Settings:
    return replace(load_settings(root=root, environ={}), mysql=mysql, database=DATABASE)


def write_samples(path: Path, num_lines: int) -> Path:
    lines = (REAL_LINE.replace(b"1,0", b"%d,0" % number, 1) + b"\n" for number in range(num_lines))
    path.write_bytes(b"".join(lines))
    return path


def plan(server: FragileServer, path: Path, root: Path) -> Job:
    with closing(open_registry(settings_for(server.settings, root))) as connection:
        supersede_load(connection)
        empty_staging_tables(connection)
        (partition,) = partitions_of(path, "sample", "0" * 64, 1 << 30)
        return Job(server, path, begin_load(connection, [partition]), partition)


@pytest.fixture(scope="module")
def many_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("faults") / "sample_skeleton_train.csv", NUM_LINES)


@pytest.fixture
def job(fragile: FragileServer, many_samples: Path, root: Path) -> Iterator[Job]:
    yield plan(fragile, many_samples, root)
    fragile.start()


class Outcome(threading.Thread):
    """Runs something beside the test and keeps what it raised."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self.work = work
        self.error: PipelineError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.work()
        except PipelineError as error:
            self.error = error

    def message(self) -> str:
        """The one line of what it raised."""
        self.join(60)
        assert not self.is_alive()
        assert self.error is not None
        assert "\n" not in str(self.error)
        return str(self.error)


def wait_for(condition: Callable[[], Any]) -> Any:
    """Wait until a condition gives something, and give that."""
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return found


def loading(server: FragileServer) -> int | None:
    """The connection that is in the middle of a LOAD, once it has changed rows."""
    found = server.as_root(
        "select trx_mysql_thread_id from information_schema.innodb_trx"
        " where trx_rows_modified > 0 and trx_query like 'load data%'"
    )
    return int(found[0][0]) if found else None


def test_a_connection_that_is_killed_in_the_middle_of_a_load_leaves_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "_SECONDS_TO_WRITE", 2)
    outcome = Outcome(job.land)
    connection = wait_for(lambda: loading(job.server))
    job.server.as_root(f"kill {connection}")

    assert "the connection was lost: run the same command again, it continues" in outcome.message()
    wait_for(lambda: not loading(job.server))
    assert job.counts() == NOTHING
    monkeypatch.undo()
    job.land()
    assert job.counts() == ALL


def test_a_server_that_is_killed_in_the_middle_of_a_load_leaves_nothing(job: Job) -> None:
    outcome = Outcome(job.land)
    wait_for(lambda: loading(job.server))
    job.server.kill()

    assert "the connection was lost: run the same command again, it continues" in outcome.message()
    with pytest.raises(DatabaseError, match="no MySQL server answers at 127"):
        job.land()
    job.server.start()
    assert job.counts() == NOTHING
    job.land()
    job.land()
    assert job.counts() == ALL


def test_a_disk_that_fills_up_leaves_nothing(fragile: FragileServer, root: Path, tmp_path: Path) -> None:
    """Its files may not grow: the server cannot tell this from a disk without room, and any user can arrange it."""
    num_lines = 110_000
    job = plan(fragile, write_samples(tmp_path / "sample_skeleton_train.csv", num_lines), root)
    with fragile.files_limited_to(LARGER_THAN_SYSTEM_FILES):
        message = Outcome(job.land).message()
    assert "the server has no room to write: free some of its disk, then run the same command again" in message
    assert job.counts() == NOTHING

    job.land()
    assert job.counts() == (num_lines, 9 * num_lines, "loaded")


def test_packets_fit_a_server_that_takes_small_ones(job: Job, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "sample_skeleton_train.csv"
    path.write_bytes(b"x" * 300_000 + b"\n" + (REAL_LINE + b"\n") * 1)
    with job.server.variable("max_allowed_packet", "65536"):
        job.land()
        assert job.counts() == ALL
        with closing(open_registry(settings_for(job.server.settings, root))) as connection:
            supersede_load(connection)
            empty_staging_tables(connection)
            partitions = partitions_of(path, "sample", "0" * 64, 1 << 30)
            many = [replace(partitions[0], partition_number=number) for number in range(1, 1000)]
            load_id = begin_load(connection, many)
            assert len(current_partitions(connection)[1]) == len(many)
        land_partitions(Destination(job.server.settings, STAGING, load_id), [(path, many[0])])

    assert job.server.as_root(f"select length(record) from {STAGING}.rejected_record") == [(300_000,)]


def test_a_server_that_forbids_load_data_local_is_told_what_to_set(job: Job) -> None:
    with job.server.variable("local_infile", "0"):
        assert "let an administrator `set global local_infile = on`" in Outcome(job.land).message()
        assert job.counts() == NOTHING


def test_a_server_that_takes_no_changes_any_more_is_told(job: Job) -> None:
    with (
        job.server.user("loader", "sesame", grants=[f"grant all on {STAGING}.* to loader"]) as loader,
        job.server.variable("read_only", "1"),
    ):
        message = Outcome(lambda: job.land(loader)).message()
    assert "the server takes no changes (read_only, super_read_only, or a replica): name the primary" in message
    assert job.counts() == NOTHING


def test_a_server_that_ends_quiet_connections_does_not_end_these(fragile: FragileServer) -> None:
    with (
        fragile.variable("wait_timeout", "1"),
        closing(connect(fragile.settings)) as connection,
        connection.cursor() as cursor,
    ):
        time.sleep(2)
        cursor.execute("select 1")
        assert cursor.fetchall() == ((1,),)


def test_strict_mode_is_the_connections_own(job: Job) -> None:
    with job.server.variable("sql_mode", "''"):
        job.land()
        assert job.counts() == ALL
        with (
            closing(connect(job.server.settings, database=STAGING)) as connection,
            connection.cursor() as cursor,
            pytest.raises(Exception, match="Out of range value"),
        ):
            cursor.execute("insert into common_feature values ('bacff91692951881', -1, 1)")


@pytest.mark.parametrize("granted", ["usage on *.*", f"create, select on {STAGING}.*"])
def test_what_a_user_may_not_do_is_told_with_where_the_grants_are_listed(job: Job, root: Path, granted: str) -> None:
    server = job.server
    server.as_root("drop user if exists poor", "create user poor identified by 'sesame'", f"grant {granted} to poor")
    poor = replace(server.settings, user="poor", password="sesame")

    def use() -> None:
        if granted.startswith("usage"):
            open_registry(replace(settings_for(poor, root), database="deepcvr_other"))
        else:
            job.land(poor)

    message = Outcome(use).message()

    assert "grant the user what docs/mysql.md lists" in message
    assert " denied " in message
    assert "sesame" not in message
    assert job.counts() == NOTHING


def empty(job: Job) -> None:
    with closing(connect(job.server.settings, database=STAGING)) as connection:
        empty_staging_tables(connection)


@pytest.mark.parametrize(
    ("lock", "work", "statement"),
    [
        ("select * from load_partition for update", Job.land, "select state from load_partition"),
        ("lock tables sample_feature read", Job.land, "load data local infile"),
        ("select * from sample_feature", empty, "drop table if exists `sample_feature`"),
    ],
    ids=["row", "table", "open transaction"],
)
def test_a_lock_of_another_client_is_waited_for_and_told(
    job: Job,
    lock: str,
    work: Callable[[Job], None],
    statement: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(waiting, "SECONDS_TO_BE_QUIET", 1)
    told: list[str] = []

    def line() -> bool:
        told.append(capfd.readouterr().err)
        return "\n" in "".join(told)

    with closing(connect(job.server.settings, database=STAGING)) as other, other.cursor() as cursor:
        other.begin()
        cursor.execute(lock)
        with waits_reported(job.server.settings, STAGING):
            outcome = Outcome(lambda: work(job))
            wait_for(line)
            assert outcome.is_alive()
            other.rollback()
            cursor.execute("unlock tables")
            outcome.join(60)

    assert outcome.error is None
    assert "".join(told).startswith(f"waiting for a lock in {STAGING} that another client holds: connection ")
    assert f"has been at `{statement}" in "".join(told)
    job.land()
    assert job.counts() == ALL


def test_a_lock_that_is_held_for_too_long_ends_in_one_line(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "_SECONDS_TO_WAIT_FOR_OTHER_ATTEMPT", 1)
    with closing(connect(job.server.settings, database=STAGING)) as other, other.cursor() as cursor:
        other.begin()
        cursor.execute("select * from load_partition for update")
        assert "another client held a lock for too long (`show processlist`" in Outcome(job.land).message()

    job.land()
    assert job.counts() == ALL
