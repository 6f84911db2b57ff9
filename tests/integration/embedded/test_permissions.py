"""What the servers keep is their owner's alone, whatever the umask of who starts them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.mysql_server import Sizes, connect_as_root, start_mysql, stop_mysql
from embedded.programs import Kind
from embedded.s3_server import open_client, start_s3, stop_s3
from tests.permissions import open_to_others
from tests.surroundings import mysql_program

# What MySQL opens whatever it is told, in a folder that is its owner's alone: public keys, folders of private files.
OPENED_BY_MYSQL = {
    f"data/mysql/{name}"
    for name in ("public_key.pem", "ca.pem", "server-cert.pem", "client-cert.pem", "#innodb_temp", "#innodb_redo")
}

SIZES = Sizes(buffer_pool_bytes=128 << 20, redo_log_bytes=64 << 20)


@pytest.fixture(
    params=[0o000, pytest.param(0o022, marks=pytest.mark.soak)], ids=["umask 000", "umask 022"], autouse=True
)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_nothing_of_the_s3_server_is_open_to_others(tmp_path: Path) -> None:
    base = tmp_path / "above" / "base"
    server = start_s3(base)
    client = open_client(server)
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="folder/key", Body=bytes(100_000))
    found = open_to_others(base)
    stop_s3(base)

    # SeaweedFS opens these to everybody, which tell the version of a volume; the folder does not let them in.
    assert {name for name in found if not name.endswith(".vif")} == set()
    assert not stat.S_IMODE(base.stat().st_mode) & 0o077
    assert not stat.S_IMODE(base.parent.stat().st_mode) & 0o077


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_nothing_of_the_mysql_server_is_open_to_others(tmp_path: Path, kind: Kind) -> None:
    base = tmp_path / "above" / "base"
    start_mysql(mysql_program(kind), base, sizes=SIZES)
    with connect_as_root(base) as connection, connection.cursor() as cursor:
        cursor.execute("create database made")
        cursor.execute("create table made.table_ (id int primary key)")
    found = open_to_others(base)
    stop_mysql(base)

    # Both servers open their sockets to everybody; the folder does not let them in.
    assert found.keys() <= {"mysql.sock", *OPENED_BY_MYSQL}
    assert not stat.S_IMODE(base.stat().st_mode) & 0o077
