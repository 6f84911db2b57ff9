"""What a server gets that asks its client for files: `LOAD DATA LOCAL` lets it ask at any moment, for any name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import get_args

import pymysql
import pytest

from pipeline.errors import DatabaseError, LoadError, PipelineError
from pipeline.load_data import StreamConnection
from pipeline.mysql import connect, explained
from pipeline.settings import MysqlSettings
from tests.hostile import HostileServer, Moment
from tests.integration.dbt.project import create_project

SECRET = b"nobody may read this"
ROWS = b"1\t0\t0\n"
MOMENTS: tuple[Moment, ...] = get_args(Moment)[1:]

# Clears the screen, sets the title, and hides in both control sets and in the direction of writing.
COMMANDS = "Host '\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\u2028' is blocked\r\nall is well"


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


@pytest.mark.parametrize("line", [("-m", "extract", "--verbose"), ("-m", "embedded", "status"), ("-m", "export")])
def test_what_a_server_says_before_log_in_commands_no_terminal(root: Path, line: Sequence[str]) -> None:
    with HostileServer("before log-in", COMMANDS) as server:
        address = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(server.port), "MYSQL_USER": "me"}
        source = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "MYSQL_PASSWORD": ""}
        ended = subprocess.run(
            [sys.executable, *line],
            cwd=root,
            env=os.environ | address | source,
            capture_output=True,
            check=False,
        )
    printed = (ended.stdout + ended.stderr).decode()

    assert "is blocked" in printed
    assert [character for character in "\x1b\x07\x9b\u202e\u2028\r" if character in printed] == []
    assert "all is well" not in printed.splitlines()


def test_dbt_sends_no_file(secret: Path, tmp_path: Path, root: Path) -> None:
    with HostileServer("at any statement", str(secret)) as server:
        project = create_project(tmp_path / "project", root, settings_of(server, tmp_path))
        succeeded, output = project.run("debug")

    assert not succeeded, output
    assert server.num_asked
    assert SECRET not in server.received
