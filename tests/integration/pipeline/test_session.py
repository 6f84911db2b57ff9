"""What a server sets for all sessions, and a server or a way to it that falls silent: no load is changed or lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pymysql.err import MySQLError

from embedded.mysql_server import Sizes, TcpOptions, start_mysql, stop_mysql
from embedded.programs import Kind
from pipeline import mysql, registry
from pipeline.errors import DatabaseError
from pipeline.mysql import connect
from pipeline.registry import begin_load, current_partitions, open_registry, staging_lock
from pipeline.settings import MysqlSettings, load_settings
from spark_jobs.features import collect_features, land_features
from spark_jobs.landing import Destination, land_partitions
from spark_jobs.staging import empty_staging_tables
from tests.integration.dbt.project import DATABASE, create_project, expected_contents
from tests.integration.dbt.staged_data import generate_load, stage
from tests.manifests import partitions_of
from tests.ports import free_port, greeting, port_of_a_stranger
from tests.records import REAL_LINE
from tests.servers import MARIADB_IN_SOAK, FragileServer
from tests.surroundings import mysql_program
from tests.way import way_to

STAGING = f"{DATABASE}_staging"
NUM_LINES = 1000

# What an administrator may have set, and an ordinary user may set otherwise. A server takes those that it knows.
HOSTILE = {
    "autocommit": "0",
    "sql_mode": "'ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    "time_zone": "'-11:00'",
    "completion_type": "2",
    "unique_checks": "0",
    "foreign_key_checks": "0",
    "check_constraint_checks": "0",
    "sql_safe_updates": "1",
    "sql_auto_is_null": "1",
    "sql_big_selects": "0",
    "max_join_size": "1",
    "sql_select_limit": "1",
    "group_concat_max_len": "4",
    "max_sort_length": "8",
    "div_precision_increment": "0",
    "max_execution_time": "1",
    "max_statement_time": "0.001",
    "idle_transaction_timeout": "1",
    "idle_readonly_transaction_timeout": "1",
    "idle_write_transaction_timeout": "1",
    "wait_timeout": "1",
    "net_read_timeout": "1",
    "lock_wait_timeout": "1",
    "innodb_lock_wait_timeout": "1",
    "transaction_isolation": "'SERIALIZABLE'",
    "tx_isolation": "'SERIALIZABLE'",
    "transaction_read_only": "1",
    "tx_read_only": "1",
    "character_set_server": "latin1",
    "collation_connection": "latin1_german2_ci",
    "default_storage_engine": "MyISAM",
    "innodb_default_row_format": "redundant",
}


@pytest.fixture
def hostile(fragile: FragileServer) -> Iterator[FragileServer]:
    """A server that sets all sessions otherwise; a new start takes it all back."""
    taken = []
    for name, value in HOSTILE.items():
        with suppress(MySQLError):
            fragile.as_root(f"set global {name} = {value}")
            taken.append(name)
    assert len(taken) >= 25, taken
    yield fragile
    fragile.stop()
    fragile.start()


def land(settings: MysqlSettings, root: Path, folder: Path) -> None:
    """A load as the Spark job does it, but without Spark."""
    path = folder / "sample_skeleton_train.csv"
    path.write_bytes(b"".join(REAL_LINE.replace(b"1,0", b"%d,0" % line, 1) + b"\n" for line in range(NUM_LINES)))
    run = replace(load_settings(root=root, environ={}), mysql=settings)
    with staging_lock(settings, STAGING), closing(open_registry(run)) as connection:
        empty_staging_tables(connection)
        partitions = partitions_of(path, "sample", "0" * 64, 64 << 10)
        destination = Destination(settings, STAGING, begin_load(connection, partitions))
        land_partitions(destination, [(path, partition) for partition in partitions])
        assert land_features(destination, collect_features(destination)) == 9
        assert set(current_partitions(connection)[1].values()) == {"loaded"}


def counts(settings: MysqlSettings) -> dict[str, int]:
    with closing(connect(settings, database=STAGING)) as connection, connection.cursor() as cursor:
        found = {}
        for table in ("sample", "sample_feature", "feature"):
            cursor.execute(f"select count(*) from {table}")
            found[table] = (cursor.fetchone() or (0,))[0]
        return found


def test_what_a_server_sets_for_all_sessions_changes_no_load_and_no_build(
    hostile: FragileServer, root: Path, tmp_path: Path
) -> None:
    land(hostile.settings, root, tmp_path)
    assert counts(hostile.settings) == {"sample": NUM_LINES, "sample_feature": 9 * NUM_LINES, "feature": 9}

    load = generate_load(num_samples=300, num_groups=12)
    stage(hostile.settings, DATABASE, load, root)
    project = create_project(tmp_path / "root", root, hostile.settings)
    succeeded, output = project.run("build")
    assert succeeded, output
    assert "WARN=0 ERROR=0 SKIP=0" in output
    assert project.contents() == expected_contents(load)


@pytest.mark.parametrize("kind", MARIADB_IN_SOAK)
def test_pages_of_4_kib_are_enough(kind: Kind, root: Path, tmp_path: Path) -> None:
    program = mysql_program(kind)
    # Behind all other options, when the databases are made too.
    command = ("sh", "-c", 'exec "$@" --innodb-page-size=4k', "sh", *program.command)
    tcp, sizes = (
        TcpOptions(free_port(), "deepcvr", "sesame"),
        Sizes(buffer_pool_bytes=64 << 20, redo_log_bytes=16 << 20),
    )
    start_mysql(replace(program, command=command), tmp_path / "server", tcp=tcp, sizes=sizes)
    settings = MysqlSettings("127.0.0.1", tcp.port, tcp.user, tcp.password, tmp_path / "server/mysql.sock")
    try:
        with closing(connect(settings)) as connection, connection.cursor() as cursor:
            cursor.execute("select @@innodb_page_size")
            assert cursor.fetchone() == (4096,)
        land(settings, root, tmp_path)
        load = generate_load(num_samples=300, num_groups=12)
        stage(settings, DATABASE, load, root)
        project = create_project(tmp_path / "root", root, settings)
        project.succeed("build")
        assert project.contents() == expected_contents(load)
    finally:
        stop_mysql(tmp_path / "server")


@contextmanager
def stopped(server: FragileServer) -> Iterator[None]:
    """A server that is there and does nothing; the system still takes connections for it."""
    os.kill(server.pid, signal.SIGSTOP)
    threads = Path(f"/proc/{server.pid}/task")
    while any(each.read_text().rpartition(")")[2].split()[0] != "T" for each in threads.glob("*/stat")):
        time.sleep(0.001)  # a thread may have an answer under way
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql, "_SECONDS_BETWEEN_LOOKS", 1)
    monkeypatch.setattr(mysql, "_SECONDS_TO_CONNECT", 1)
    monkeypatch.setattr(registry, "_SECONDS_BETWEEN_LOOKS", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("by_socket", [False, True])
@pytest.mark.parametrize("fragile", MARIADB_IN_SOAK, indirect=True)
def test_a_server_that_falls_silent_ends_a_statement_soon(fragile: FragileServer, *, by_socket: bool) -> None:
    settings = fragile.settings
    if by_socket:
        settings = replace(settings, host=None, user="root", password="")
    begun = time.monotonic()
    with (
        closing(connect(settings)) as connection,
        connection.cursor() as cursor,
        stopped(fragile),
        pytest.raises(DatabaseError, match=r"the connection was lost: .+ \(.+silent for \d s, and no answer to a new"),
        mysql.explained(settings),
    ):
        cursor.execute("select 1")
    assert time.monotonic() - begun < 10


@pytest.mark.usefixtures("impatient")
def test_a_statement_that_takes_long_is_waited_for(fragile: FragileServer) -> None:
    with closing(connect(fragile.settings)) as connection, connection.cursor() as cursor:
        cursor.execute("select sleep(3)")
        assert cursor.fetchone() == (0,)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\5\0\0\0\x0a8.0\0",
        greeting(),
        greeting()[:50],
        greeting(offers_tls=False),
    ],
    ids=["nothing", "HTTP", "SSH", "too little", "a greeting with TLS", "half a greeting", "a greeting"],
)
def test_a_port_where_no_server_is_is_told_soon(words: bytes, *, closes: bool) -> None:
    begun = time.monotonic()
    with (
        port_of_a_stranger(words, closes=closes) as port,
        pytest.raises(
            DatabaseError, match=rf"^no MySQL server answers at 127\.0\.0\.1:{port}: check MYSQL_HOST and"
        ) as told,
    ):
        connect(MysqlSettings("127.0.0.1", port, "u", "p", Path("none")))
    assert time.monotonic() - begun < 5
    assert str(told.value).isprintable()


def test_an_address_and_a_password_that_cannot_be_sent_are_told() -> None:
    with pytest.raises(
        DatabaseError, match=r"answers at a\.\.b:3306: check MYSQL_HOST and MYSQL_PORT \(UnicodeError\)"
    ):
        connect(MysqlSettings("a..b", 3306, "u", "p", Path("none")))
    with (
        port_of_a_stranger(greeting(offers_tls=False)) as port,
        pytest.raises(DatabaseError, match=r"check MYSQL_USER and MYSQL_PASSWORD \(UnicodeEncodeError\)"),
    ):
        connect(MysqlSettings("127.0.0.1", port, "u\udcff", "p", Path("none")))


@pytest.mark.parametrize("fragile", MARIADB_IN_SOAK, indirect=True)
def test_a_password_of_any_script_is_sent_as_the_shell_has_it(fragile: FragileServer) -> None:
    with fragile.user("script", "Größe€ßλ", grants=[]) as user:
        connect(user).close()


@pytest.mark.soak
@pytest.mark.parametrize("words", [b"", greeting()], ids=["nothing", "a greeting with TLS"])
def test_every_command_ends_soon_where_no_server_is(root: Path, words: bytes) -> None:
    commands = ["-m extract", "-m export", "-m report", "-m report.summary", "-m embedded sql", "-m embedded status"]
    commands += ["spark_jobs/explode_features.py", "-m dbt.cli.main debug", "-m dbt.cli.main run"]
    for command in commands:
        with port_of_a_stranger(words) as port:
            address = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(port), "MYSQL_USER": "me", "MYSQL_PASSWORD": "x"}
            ended = subprocess.run(
                [sys.executable, *command.split()],
                cwd=root,
                env=os.environ | address,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        said = ended.stdout + ended.stderr
        assert f"no MySQL server answers at 127.0.0.1:{port}: check MYSQL_HOST and MYSQL_PORT" in said, said
        assert "Traceback" not in said


@contextmanager
def middlebox(server: FragileServer, seconds: float) -> Iterator[MysqlSettings]:
    """A way to a server on which a connection that is quiet for some seconds is ended."""

    def carry(source: socket.socket, sink: socket.socket, _: bool) -> None:
        source.settimeout(seconds)
        while data := source.recv(1 << 16):
            sink.sendall(data)

    with way_to(server.tcp.port, carry) as port:
        yield replace(server.settings, port=port)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def holder(server: FragileServer) -> int | None:
    connection: int | None
    ((connection,),) = server.as_root(f"select is_used_lock('deepcvr:{STAGING}')")
    return connection


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fragile", MARIADB_IN_SOAK, indirect=True)
def test_the_lock_on_staging_outlives_a_middlebox_and_a_kill(fragile: FragileServer) -> None:
    with middlebox(fragile, 1) as settings:
        with staging_lock(settings, STAGING):
            first = holder(fragile)
            time.sleep(2.5)
            assert holder(fragile) == first is not None
            fragile.as_root(f"kill {first}")
            wait_until(lambda: holder(fragile) not in (None, first))
        wait_until(lambda: holder(fragile) is None)
