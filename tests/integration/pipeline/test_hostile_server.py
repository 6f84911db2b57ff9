"""What a server gets that asks its client for files: `LOAD DATA LOCAL` lets it ask at any moment, for any name."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import get_args

import pymysql
import pytest

from pipeline.errors import DatabaseError, LoadError, PipelineError
from pipeline.mysql import connect, explained
from pipeline.settings import MysqlSettings
from spark_jobs.landing import StreamConnection
from tests.hostile import HostileServer, Moment
from tests.integration.dbt.project import create_project

SECRET = b"nobody may read this"
ROWS = b"1\t0\t0\n"
MOMENTS: tuple[Moment, ...] = get_args(Moment)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


def settings_of(server: HostileServer, tmp_path: Path) -> MysqlSettings:
    return MysqlSettings("127.0.0.1", server.port, "me", "", tmp_path / "none.sock")


def load_rows(settings: MysqlSettings) -> None:
    with explained(settings), closing(connect(settings, connection_class=StreamConnection)) as connection:
        assert isinstance(connection, StreamConnection)
        connection.load("sample", "sample_id", [ROWS])


def test_a_client_that_trusts_the_server_sends_it_any_file(secret: Path) -> None:
    """Otherwise the other tests here would show nothing."""
    with (
        HostileServer("at any statement", str(secret)) as server,
        pymysql.connect(host="127.0.0.1", port=server.port, user="me", local_infile=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("select 1")
    assert SECRET in server.received


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_loader_sends_its_rows_once_and_no_file(secret: Path, tmp_path: Path, moment: Moment) -> None:
    with HostileServer(moment, str(secret)) as server:
        settings = settings_of(server, tmp_path)
        with suppress(PipelineError):
            load_rows(settings)

    assert server.num_asked
    assert SECRET not in server.received
    assert server.received.count(ROWS) == (moment == "for the same name twice")


@pytest.mark.parametrize("moment", ["at any statement", "for another name", "for the same name twice"])
def test_the_loader_says_what_the_server_asked_for(secret: Path, tmp_path: Path, moment: Moment) -> None:
    with HostileServer(moment, str(secret)) as server, pytest.raises(LoadError, match="asked for a file") as caught:
        load_rows(settings_of(server, tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("moment", ["on log-in", "at any statement"])
def test_a_connection_that_loads_nothing_sends_nothing(secret: Path, tmp_path: Path, moment: Moment) -> None:
    with HostileServer(moment, str(secret)) as server:
        settings = settings_of(server, tmp_path)
        with suppress(DatabaseError), closing(connect(settings)) as connection, connection.cursor() as cursor:
            cursor.execute("select 1")

    assert server.num_asked
    assert SECRET not in server.received


def test_a_connection_that_loads_nothing_says_what_the_server_asked_for(secret: Path, tmp_path: Path) -> None:
    with (
        HostileServer("at any statement", str(secret)) as server,
        pytest.raises(DatabaseError, match="asked for a file of this machine, and was given none: do not trust it"),
    ):
        connect(settings_of(server, tmp_path))


def test_dbt_sends_no_file(secret: Path, tmp_path: Path, root: Path) -> None:
    with HostileServer("at any statement", str(secret)) as server:
        project = create_project(tmp_path / "project", root, settings_of(server, tmp_path))
        succeeded, output = project.run("debug")

    assert not succeeded, output
    assert server.num_asked
    assert SECRET not in server.received
