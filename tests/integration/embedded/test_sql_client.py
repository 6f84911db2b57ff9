"""`make sql`: the real client, on each kind of server, and what of it others can see."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from embedded.sql_client import client_arguments, client_environment, provide_client
from pipeline.mysql import connect
from pipeline.settings import TLS_MODES, MysqlSettings, TlsMode, load_settings
from tests.certificates import Authority, create_authority
from tests.processes import command_lines
from tests.servers import FragileServer

DATABASE = "deepcvr_development_train"


@pytest.fixture(scope="session")
def client(root: Path) -> Path:
    """The client, installed as `make sql` installs it."""
    return provide_client(load_settings(root=root, environ={}))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for what the client writes there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    return tmp_path


def ask(client: Path, root: Path, mysql: MysqlSettings, statement: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [client, *client_arguments(mysql, "mysql")],
        env=client_environment(replace(load_settings(root=root, environ={}), mysql=mysql)),
        input=statement,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.usefixtures("home")
def test_statements_through_a_pipe_are_answered_by_each_kind_of_server(
    client: Path, root: Path, mysql: MysqlSettings
) -> None:
    answered = ask(client, root, mysql, "select 6 * 7 as answer;")
    assert (answered.returncode, answered.stdout.split()) == (0, ["answer", "42"]), answered.stderr


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("mode", TLS_MODES)
def test_each_tls_mode_means_the_same_to_the_client(
    client: Path, root: Path, fragile: FragileServer, authority: Authority, mode: TlsMode
) -> None:
    ca = authority.ca if mode.startswith("verify") else None
    answered = ask(client, root, fragile.trusting(ca, mode), "show session status like 'Ssl_cipher';")
    assert answered.returncode == 0, answered.stderr
    assert (len(answered.stdout.split()) == 4) == (mode != "disabled")


@pytest.mark.usefixtures("home")
def test_the_client_refuses_a_server_that_another_authority_signed_or_that_has_another_name(
    client: Path, root: Path, fragile: FragileServer, authority: Authority, tmp_path: Path
) -> None:
    stranger = create_authority(tmp_path, address="127.0.0.1")
    assert ask(client, root, fragile.trusting(stranger.ca, "verify_ca"), "select 1;").returncode != 0
    by_name = replace(fragile.trusting(authority.ca, "verify_identity"), host="localhost")
    assert ask(client, root, by_name, "select 1;").returncode != 0
    assert ask(client, root, fragile.trusting(authority.ca, "verify_identity"), "select 1;").returncode == 0


def read_until(descriptor: int, wanted: str, *, seconds: float = 30) -> str:
    """What a terminal shows until a text is on it, or its program has ended."""
    shown, deadline = b"", time.monotonic() + seconds
    with suppress(OSError):  # the end of the program
        while wanted.encode() not in shown and time.monotonic() < deadline:
            shown += os.read(descriptor, 65536)
            if b"\x1b[6n" in shown:
                os.write(descriptor, b"\x1b[1;1R")  # where the cursor is, for whoever asks
                shown = shown.replace(b"\x1b[6n", b"")
    return shown.decode(errors="replace")


def test_on_a_terminal_it_opens_the_database_of_the_run_and_shows_the_password_to_nobody(
    root: Path, home: Path, mariadb_by_tcp: MysqlSettings, client: Path
) -> None:
    with closing(connect(mariadb_by_tcp)) as connection, connection.cursor() as cursor:
        cursor.execute(f"create database if not exists {DATABASE}")
    environment = os.environ | {
        "HOME": str(home),
        "TERM": "xterm",
        "MYSQL_HOST": str(mariadb_by_tcp.host),
        "MYSQL_PORT": str(mariadb_by_tcp.port),
        "MYSQL_USER": mariadb_by_tcp.user,
        "MYSQL_PASSWORD": mariadb_by_tcp.password,
    }
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "embedded", "sql"],
        cwd=root,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        shown = read_until(master, f"{DATABASE}>")
        assert f"{DATABASE}>" in shown
        command_line = command_lines()[process.pid]
        assert str(client).encode() in command_line  # the process is the client now
        os.write(master, b"select 6 * 7 as answer;\r")
        shown += read_until(master, "42")
        assert "42" in shown
        os.write(master, b"exit\r")
        shown += read_until(master, "nothing more")
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"select 6 * 7" in written  # the history
    for content in (command_line, shown.encode(), written):
        assert mariadb_by_tcp.password.encode() not in content


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({}, "error: the embedded MySQL server is not running: run make up"),
        ({"MODE": "producton"}, "error: MODE is 'producton', expected development or production"),
    ],
)
def test_what_stands_in_the_way_is_told_in_one_line(root: Path, environ: dict[str, str], line: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "embedded", "sql"],
        cwd=root,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == f"{line}\n"
    assert ended.returncode != 0


def test_a_database_that_is_not_there_yet_is_told_with_what_makes_it(
    root: Path, tmp_path: Path, mariadb_by_tcp: MysqlSettings
) -> None:
    for name in ("pipeline", "embedded"):
        shutil.copytree(root / name, tmp_path / name)
    declared = (root / "pipeline.yml").read_text()
    (tmp_path / "pipeline.yml").write_text(declared.replace("deepcvr_{data_set}", "nobodys_{data_set}"))
    environment = os.environ | {
        "MODE": "production",
        "DATASET": "test",
        "MYSQL_HOST": str(mariadb_by_tcp.host),
        "MYSQL_PORT": str(mariadb_by_tcp.port),
        "MYSQL_USER": mariadb_by_tcp.user,
        "MYSQL_PASSWORD": mariadb_by_tcp.password,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "embedded", "sql"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.endswith("has no database nobodys_test yet: run make run DATASET=test MODE=production\n")
