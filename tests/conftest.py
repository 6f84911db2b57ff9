"""The real servers that the tests share, one of each for a whole run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.mysql_server import Sizes, TcpOptions, start_mysql, stop_mysql
from embedded.programs import Kind, provide_mysql_program
from embedded.s3_server import S3Server, start_s3, stop_s3
from pipeline.settings import MysqlSettings
from tests.certificates import Authority, create_authority
from tests.ports import free_port
from tests.servers import FragileServer
from tests.spark_cluster import SparkCluster, start_cluster
from tests.watchdog import watched

ROOT = Path(__file__).resolve().parents[1]

# A password that would break out of a shell word, an SQL text or a URL.
PASSWORD = """it's a "secret" w%rd @/:;"""
USER = "deepcvr"

_SIZES = Sizes(buffer_pool_bytes=256 << 20, redo_log_bytes=256 << 20)


@pytest.fixture(scope="session", autouse=True)
def _no_process_outlives_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """However they end, by SIGKILL too."""
    with watched(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session", autouse=True)
def _heed_ctrl_c() -> None:
    """Also where the tests run in the background of a script, whose shell has SIGINT ignored by all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def mysql_by_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MysqlSettings]:
    """A server like the embedded one: the machine's MySQL, or the one that set-up unpacked, on a socket alone."""
    base = tmp_path_factory.mktemp("mysql")
    server = start_mysql(provide_mysql_program(ROOT / ".embedded"), base, sizes=_SIZES)
    yield MysqlSettings(host=None, port=0, user="root", password="", unix_socket=server.unix_socket)
    stop_mysql(base)


@pytest.fixture(scope="session")
def mariadb_by_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MysqlSettings]:
    """A server like a user's own: MariaDB over TCP, with a password."""
    base = tmp_path_factory.mktemp("mariadb")
    tcp = TcpOptions(port=free_port(), user=USER, password=PASSWORD)
    server = start_mysql(provide_mysql_program(ROOT / ".embedded", kind="mariadb"), base, tcp=tcp, sizes=_SIZES)
    yield MysqlSettings(host="127.0.0.1", port=tcp.port, user=USER, password=PASSWORD, unix_socket=server.unix_socket)
    stop_mysql(base)


@pytest.fixture(scope="session", params=["mysql", "mariadb"])
def mysql(request: pytest.FixtureRequest) -> MysqlSettings:
    """Each supported server in turn."""
    kind: Kind = request.param
    settings: MysqlSettings = request.getfixturevalue("mysql_by_socket" if kind == "mysql" else "mariadb_by_tcp")
    return settings


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority, and the certificate of a server on 127.0.0.1 that it has signed."""
    return create_authority(tmp_path_factory.mktemp("authority"), address="127.0.0.1")


@pytest.fixture(scope="session", params=["mysql", "mariadb"])
def fragile(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[FragileServer]:
    """A server of each kind over TCP, with TLS, that tests may kill, starve and restart."""
    kind: Kind = request.param
    server = FragileServer(
        program=provide_mysql_program(ROOT / ".embedded", kind=kind),
        base=tmp_path_factory.mktemp(f"fragile_{kind}"),
        tcp=TcpOptions(port=free_port(), user=USER, password=PASSWORD),
        tls=authority.server_options,
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server."""
    base = tmp_path_factory.mktemp("s3")
    yield start_s3(base)
    stop_s3(base)


@pytest.fixture(scope="session")
def mysql_by_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MysqlSettings]:
    """A server like a user's own: MySQL over TCP, with a password."""
    base = tmp_path_factory.mktemp("mysql-tcp")
    tcp = TcpOptions(port=free_port(), user=USER, password=PASSWORD)
    server = start_mysql(provide_mysql_program(ROOT / ".embedded", kind="mysql"), base, tcp=tcp, sizes=_SIZES)
    yield MysqlSettings(host="127.0.0.1", port=tcp.port, user=USER, password=PASSWORD, unix_socket=server.unix_socket)
    stop_mysql(base)


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A Spark standalone cluster: a master and two workers."""
    java = ROOT / ".embedded" / "java"
    with start_cluster(tmp_path_factory.mktemp("cluster"), java if java.is_dir() else None) as cluster:
        yield cluster
