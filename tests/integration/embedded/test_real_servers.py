"""The real servers, started, killed, found and stopped in folders of their own."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest
from botocore.exceptions import ClientError

from embedded import s3_server
from embedded.mysql_server import (
    MysqlServer,
    Sizes,
    connect_as_root,
    find_mysql,
    start_mysql,
    stop_mysql,
)
from embedded.processes import find_process
from embedded.programs import Kind, MysqlProgram
from embedded.s3_server import S3Server, find_s3, open_client, start_s3, stop_s3
from pipeline.errors import DatabaseError, ServiceError
from pipeline.mysql import connect
from pipeline.settings import MysqlSettings
from tests.processes import listeners
from tests.surroundings import mysql_program

SIZES = Sizes(buffer_pool_bytes=128 << 20, redo_log_bytes=64 << 20)


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def program(request: pytest.FixtureRequest) -> MysqlProgram:
    """Each kind of server program."""
    kind: Kind = request.param
    return mysql_program(kind)


@pytest.fixture(scope="module")
def base(program: MysqlProgram, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server's folder, too deep for the address of a socket."""
    folder = tmp_path_factory.mktemp(program.kind) / ("deep" * 20) / ("deeper" * 10)
    yield folder
    stop_mysql(folder)


@pytest.fixture
def server(program: MysqlProgram, base: Path) -> MysqlServer:
    """The running server."""
    return start_mysql(program, base, sizes=SIZES)


def query(base: Path, sql: str) -> tuple[tuple[object, ...], ...]:
    with connect_as_root(base) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def kill(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    ended, _, _ = select.select([descriptor], [], [], 30)
    os.close(descriptor)
    assert ended


def test_the_server_answers_on_its_socket_and_on_no_port(server: MysqlServer, base: Path) -> None:
    assert query(base, "select @@skip_networking, @@local_infile, @@character_set_server, @@time_zone, @@log_bin") == (
        (1, 1, "utf8mb4", "+00:00", 0),
    )
    assert query(base, "select current_user()") == (("root@localhost",),)
    assert server.unix_socket.stat().st_uid == os.getuid()
    assert base.stat().st_mode & 0o777 == 0o700


def test_the_only_user_is_a_local_root(server: MysqlServer, base: Path) -> None:
    del server
    users = query(base, "select host, user from mysql.user where user not like 'mysql.%' and user not like 'mariadb.%'")
    assert users == (("localhost", "root"),)


def test_the_server_writes_only_below_its_folder(server: MysqlServer, base: Path) -> None:
    del server
    (folders,) = query(base, "select @@datadir, @@tmpdir, @@secure_file_priv")
    assert all(Path(str(folder)).is_relative_to(base) for folder in folders)


def test_a_second_start_finds_the_first(server: MysqlServer, program: MysqlProgram, base: Path) -> None:
    again = start_mysql(program, base, sizes=SIZES)
    assert (again.pid, again.was_running) == (server.pid, True)


def test_data_outlives_a_kill(server: MysqlServer, program: MysqlProgram, base: Path) -> None:
    query(base, "create database if not exists kept")
    query(base, "create table if not exists kept.rows_ (id int primary key)")
    query(base, "replace into kept.rows_ values (42)")
    kill(server.pid)
    assert find_mysql(base) is None
    # What a machine that was switched off leaves: a lock file that names a process of another kind.
    (base / "mysql.sock.lock").write_text(f"{os.getpid()}\n")
    restarted = start_mysql(program, base, sizes=SIZES)
    assert restarted.pid != server.pid
    assert query(base, "select id from kept.rows_") == ((42,),)


def test_a_server_that_is_stopped_is_gone(server: MysqlServer, base: Path) -> None:
    del server
    assert stop_mysql(base)
    assert find_mysql(base) is None
    assert not stop_mysql(base)
    with pytest.raises(pymysql.err.OperationalError):
        query(base, "select 1")


def test_the_other_kind_of_server_does_not_touch_the_databases(
    server: MysqlServer, program: MysqlProgram, base: Path
) -> None:
    del server
    stop_mysql(base)
    other: Kind = "mariadb" if program.kind == "mysql" else "mysql"
    with pytest.raises(ServiceError, match=f"were made by {program.title}, and the server at hand is"):
        start_mysql(mysql_program(other), base, sizes=SIZES)
    assert start_mysql(program, base, sizes=SIZES).kind == program.kind


def test_a_user_over_tcp_needs_the_password(mariadb_by_tcp: MysqlSettings) -> None:
    connect(mariadb_by_tcp).close()
    for user, password in ((mariadb_by_tcp.user, "wrong"), ("root", "")):
        with pytest.raises(DatabaseError, match="refuses user"):
            connect(replace(mariadb_by_tcp, user=user, password=password))


@pytest.fixture(scope="module")
def s3_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An S3 server's folder."""
    folder = tmp_path_factory.mktemp("own_s3")
    yield folder
    stop_s3(folder)


def test_objects_outlive_a_kill_even_when_the_port_is_taken(s3_base: Path) -> None:
    first = start_s3(s3_base)
    client = open_client(first)
    client.create_bucket(Bucket="kept")
    client.put_object(Bucket="kept", Key="a/b", Body=b"content")
    kill(first.pid)
    assert find_s3(s3_base) is None
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", first.access.ports[6]))
        squatter.listen()
        second = start_s3(s3_base)
    assert second.endpoint_url != first.endpoint_url
    assert second.access.secret_access_key == first.access.secret_access_key
    assert open_client(second).get_object(Bucket="kept", Key="a/b")["Body"].read() == b"content"
    assert start_s3(s3_base).was_running


def test_a_wrong_key_and_no_key_are_refused(s3: S3Server) -> None:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    wrong = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=s3.access.access_key_id,
        aws_secret_access_key="wrong",
    )
    anonymous = boto3.client(
        "s3", endpoint_url=s3.endpoint_url, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
    )
    for client in (wrong, anonymous):
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|AccessDenied"):
            client.list_buckets()


def test_no_secret_is_in_a_process_list_and_keys_are_the_owners_alone(s3: S3Server) -> None:
    found = find_process(s3_server.data_folder(s3.base), s3_server.PROGRAM)
    assert found is not None
    assert not [argument for argument in found.arguments if s3.access.secret_access_key in argument]
    assert (s3.base / "s3.json").stat().st_mode & 0o777 == 0o600


def test_the_server_listens_on_loopback_alone(s3: S3Server) -> None:
    found = [listener for listener in listeners(s3.pid) if listener.port]
    assert {listener.port for listener in found} == set(s3.access.ports)
    assert {listener.address for listener in found} == {"127.0.0.1"}
