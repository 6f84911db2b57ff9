"""The probe of a server: silent where all is well, and all that is missing in one line where it is not."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DatabaseError
from pipeline.probe import require_server
from pipeline.settings import MysqlSettings, Settings, TlsSettings, load_settings
from tests.integration.dbt.test_server_faults import documented_grants
from tests.servers import FragileServer
from tests.surroundings import copy_project
from tests.way import way_to

DATABASE = "deepcvr_development_train"
PRIVILEGES = ["create", "drop", "alter", "references", "select", "insert", "update", "delete", "create view"]


def settings_of(root: Path, mysql: MysqlSettings) -> Settings:
    return replace(load_settings(root=root, environ={}), mysql=mysql)


def told(root: Path, mysql: MysqlSettings) -> str:
    """The one line of a probe that fails."""
    with pytest.raises(DatabaseError) as raised:
        require_server(settings_of(root, mysql))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def left_by_probes(server: FragileServer) -> int:
    ((number,),) = server.as_root(
        "select count(*) from information_schema.tables where table_name like '%deepcvr\\_probe%'"
    )
    return int(number)


def test_a_sound_server_is_probed_silently_and_nothing_is_left(
    fragile: FragileServer, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # What a probe that was killed has left is in nobody's way.
    for database in (DATABASE, f"{DATABASE}_staging"):
        fragile.as_root(
            f"create database if not exists {database}",
            f"create table {database}.deepcvr_probe (id int)",
            f"create table {database}.deepcvr_probe_child__next (id int)",
            f"create table {database}.deepcvr_probe_parent (id int)",
        )
    fragile.as_root(f"drop table {DATABASE}.deepcvr_probe, {DATABASE}_staging.deepcvr_probe_child__next")
    fragile.as_root(f"drop table {DATABASE}_staging.deepcvr_probe_parent")
    probes = [threading.Thread(target=require_server, args=(settings_of(root, fragile.settings),)) for _ in range(2)]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join()
    require_server(settings_of(root, fragile.settings))
    assert capfd.readouterr() == ("", "")
    assert left_by_probes(fragile) == 0


@pytest.mark.parametrize("gone", [{name} for name in PRIVILEGES] + [{"create", "update", "create view"}])
def test_a_privilege_that_is_missing_is_named_with_its_grant(
    fragile: FragileServer, root: Path, gone: set[str]
) -> None:
    grants = [
        statement.replace(
            "create, drop, alter, references, select, insert, update, delete, create view", ", ".join(kept)
        )
        for statement in documented_grants(root)
        for kept in ([name for name in PRIVILEGES if name not in gone],)
    ]
    with fragile.user("deepcvr_elt", "sesame", grants=grants) as user:
        if gone == {"references"} and fragile.kind == "mariadb":
            require_server(settings_of(root, user))
            return
        line = told(root, user)
    assert f"the user lacks the privileges {', '.join(sorted(gone))}: let an administrator `grant " in line
    assert f"`grant {', '.join(sorted(gone))} on `{DATABASE}_staging`.* to 'deepcvr_elt'@'%'`" in line
    assert left_by_probes(fragile) == 0 or "drop" in gone


@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_the_documented_grants_hold_where_patterns_grant_nothing(fragile: FragileServer, root: Path) -> None:
    with fragile.variable("partial_revokes", "on"):
        with fragile.user("deepcvr_elt", "sesame", grants=documented_grants(root)) as user:
            require_server(settings_of(root, user))
        pattern = f"grant {', '.join(PRIVILEGES)} on `deepcvr\\_%`.* to deepcvr_elt"
        with fragile.user("deepcvr_elt", "sesame", grants=[pattern]) as user:
            assert "partial_revokes is on, so that % and _ in the name of a database stand for" in told(root, user)


def test_load_data_local_that_is_off_and_a_missing_privilege_are_told_together(
    fragile: FragileServer, root: Path
) -> None:
    with (
        fragile.variable("local_infile", "0"),
        fragile.user(
            "deepcvr_elt", "s", grants=[each.replace(" alter,", "") for each in documented_grants(root)]
        ) as user,
    ):
        line = told(root, user)
    assert "let an administrator `set global local_infile = on`" in line
    assert "(LOAD DATA LOCAL: " in line
    assert "lacks the privileges alter: " in line


def test_a_server_that_takes_no_changes_is_told_once(fragile: FragileServer, root: Path) -> None:
    with fragile.user("deepcvr_elt", "sesame", grants=documented_grants(root)) as user:
        require_server(settings_of(root, user))
        with fragile.variable("read_only", "1"):
            line = told(root, user)
    assert line.count("name the primary in MYSQL_HOST") == 1
    assert "create a table: " in line


@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_a_server_that_wants_keys_has_nothing_to_complain_of(fragile: FragileServer, root: Path) -> None:
    with fragile.variable("sql_require_primary_key", "1"):
        require_server(settings_of(root, fragile.settings))


@contextmanager
def proxy_without_load_data(server: FragileServer) -> Iterator[MysqlSettings]:
    """A way to a server that answers LOAD DATA LOCAL itself: it does not know the command."""
    refusal = b"\xff" + (1047).to_bytes(2, "little") + b"#08S01Unknown command"

    def carry(source: socket.socket, sink: socket.socket, is_client: bool) -> None:
        while data := source.recv(1 << 16):
            if is_client and b"load data local" in data:
                source.sendall(len(refusal).to_bytes(3, "little") + b"\x01" + refusal)
            else:
                sink.sendall(data)

    with way_to(server.tcp.port, carry) as port:
        yield replace(server.settings, port=port, tls=TlsSettings("disabled"))


@pytest.mark.parametrize("fragile", ["mariadb"], indirect=True)
def test_a_proxy_that_refuses_load_data_is_told(fragile: FragileServer, root: Path) -> None:
    with proxy_without_load_data(fragile) as settings:
        line = told(root, settings)
    assert "a proxy on the way does not know the command" in line
    assert "(LOAD DATA LOCAL: Unknown command, error 1047)" in line


@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_extract_ends_in_the_probe_before_it_downloads(fragile: FragileServer, tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    mysql = fragile.settings
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "MYSQL_HOST": "127.0.0.1",
        "MYSQL_PORT": str(mysql.port),
        "MYSQL_USER": mysql.user,
        "MYSQL_PASSWORD": mysql.password,
        # Nobody is there to download from.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    with fragile.variable("local_infile", "0"):
        ended = subprocess.run(
            [sys.executable, "-m", "extract"], cwd=project, env=environment, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 1
    assert re.fullmatch(r"error: .+ lacks what a run needs: let an administrator .+\n", ended.stderr), ended.stderr
    assert not list(project.glob("data/**/*.part"))
