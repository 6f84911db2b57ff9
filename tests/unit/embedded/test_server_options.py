"""What the servers are told on their command lines, and what they are kept from."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from embedded import mysql_server, s3_server
from embedded.mysql_server import Sizes, TcpOptions, choose_sizes, memory_bytes, start_mysql
from embedded.programs import Kind, MysqlProgram
from embedded.s3_server import choose_ports, ports_are_free, read_access
from pipeline.errors import ServiceError
from pipeline.files import write_json

MIB = 1 << 20


def program(kind: Kind, version: str) -> MysqlProgram:
    return MysqlProgram(kind, version, ("/p/mysqld",), Path("/p"), is_unpacked=False)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_the_server_listens_on_its_socket_alone(kind: Kind) -> None:
    command = mysql_server.server_command(program(kind, "11.4.2"), Path("/b"), Sizes(MIB), None)
    assert "--skip-networking" in command
    assert ("--mysqlx=OFF" in command) == (kind == "mysql")
    assert not [option for option in command if option.startswith(("--port", "--bind-address"))]


def test_a_tcp_port_is_on_loopback_and_its_password_not_on_the_command_line() -> None:
    tcp = TcpOptions(3399, "someone", "a secret")
    command = mysql_server.server_command(program("mysql", "9.7.4"), Path("/b"), Sizes(MIB), tcp)
    assert {"--bind-address=127.0.0.1", "--port=3399"} < set(command)
    assert not [option for option in command if "secret" in option]
    assert "secret" not in repr(tcp)


@pytest.mark.parametrize(
    ("kind", "version", "option"),
    [
        ("mysql", "9.7.4", f"--innodb-redo-log-capacity={64 * MIB}"),
        ("mysql", "8.0.30", f"--innodb-redo-log-capacity={64 * MIB}"),
        ("mysql", "8.0.29", f"--innodb-log-file-size={32 * MIB}"),
        ("mariadb", "10.6.1", f"--innodb-log-file-size={64 * MIB}"),
    ],
)
def test_the_redo_log_has_its_size_on_every_version(kind: Kind, version: str, option: str) -> None:
    sizes = Sizes(MIB, redo_log_bytes=64 * MIB)
    assert option in mysql_server.server_command(program(kind, version), Path("/b"), sizes, None)


@pytest.mark.parametrize(("memory", "pool"), [(256, 128), (8 * 1024, 2 * 1024), (256 * 1024, 4 * 1024)])
def test_the_cache_is_a_quarter_of_the_memory_within_limits(memory: int, pool: int) -> None:
    assert choose_sizes(memory * MIB).buffer_pool_bytes == pool * MIB


def test_the_limit_of_a_container_counts_as_the_memory(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemFree: 1 kB\nMemTotal:       4096 kB\n")
    assert memory_bytes(tmp_path) == 4 * MIB
    limit = tmp_path / "sys" / "fs" / "cgroup" / "memory.max"
    limit.parent.mkdir(parents=True)
    limit.write_text("max\n")
    assert memory_bytes(tmp_path) == 4 * MIB
    limit.write_text(f"{MIB}\n")
    assert memory_bytes(tmp_path) == MIB


@pytest.mark.parametrize("maker", [("mariadb", "9.7.4"), ("mysql", "8.0.36")])
def test_databases_of_another_server_are_refused_and_kept(tmp_path: Path, maker: tuple[str, str]) -> None:
    folder = mysql_server.data_folder(tmp_path)
    folder.mkdir(parents=True)
    marker = json.dumps({"kind": maker[0], "version": maker[1]})
    (folder / "deepcvr.json").write_text(marker)
    with pytest.raises(ServiceError, match=r"were made by .*, and the server at hand is MySQL 9\.7\.4: remove .*mysql"):
        start_mysql(program("mysql", "9.7.4"), tmp_path)
    assert (folder / "deepcvr.json").read_text() == marker


def test_databases_of_unknown_origin_are_refused_and_kept(tmp_path: Path) -> None:
    folder = mysql_server.data_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "ibdata1").write_bytes(b"precious")
    with pytest.raises(ServiceError, match="was not made by this project"):
        start_mysql(program("mysql", "9.7.4"), tmp_path)
    assert (folder / "ibdata1").read_bytes() == b"precious"


def test_every_part_of_the_s3_server_is_on_loopback_and_reports_to_nobody() -> None:
    command = s3_server.server_command(Path("/p/weed"), range(9000, 9008))
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-filer.disableHttp"} < set(command)
    assert {"-s3.port=9006", "-s3.port.grpc=9007", "-s3.port.iceberg=0", "-s3.port.lance=0"} < set(command)


def test_chosen_ports_are_free_and_differ() -> None:
    ports = choose_ports(8)
    assert len(set(ports)) == 8
    assert ports_are_free(ports)


def test_a_port_in_use_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not ports_are_free([listener.getsockname()[1]])


def test_keys_are_written_for_the_owner_alone_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "s3.json"
    content = {"access_key_id": "AK1", "secret_access_key": "hush", "ports": [1, 2, 3, 4, 5, 6, 7, 8]}
    path.write_text("of another mode")
    write_json(path, content)
    access = read_access(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert access is not None
    assert access.endpoint_url == "http://127.0.0.1:7"
    assert "hush" not in repr(access)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"access_key_id": "AK1"}'])
def test_damaged_keys_count_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "s3.json").write_text(content)
    assert read_access(tmp_path / "s3.json") is None
