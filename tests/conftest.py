"""The real servers that the tests share, one of each for a whole run."""

from __future__ import annotations

import gc
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from embedded.mysql_server import Sizes, TcpOptions, start_mysql, stop_mysql
from embedded.programs import Kind
from embedded.s3_server import S3Server, start_s3, stop_s3
from pipeline.settings import MysqlSettings
from tests.certificates import Authority, create_authority
from tests.ports import free_port
from tests.servers import FragileServer
from tests.spark_cluster import SparkCluster, start_cluster
from tests.surroundings import copy_project, mysql_program, put_back, replace_surroundings
from tests.watchdog import watched

# A password that would break out of a shell word, an SQL text or a URL.
PASSWORD = """it's a "secret" w%rd @/:;"""
USER = "deepcvr"

_ENVIRONMENT = pytest.StashKey[Mapping[str, str]]()

_SIZES = Sizes(buffer_pool_bytes=256 << 20, redo_log_bytes=256 << 20)


class _ByFolderAndServer(LoadScopeScheduling):  # type: ignore[misc] # it comes without types
    """Gives a worker all tests of a folder on one kind of server, for which the same things are started once."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, name = nodeid.partition("::")
        if path.startswith("tests/unit/"):
            return path
        return f"{path.rpartition('/')[0]} {'mariadb' if 'mariadb' in name.partition('[')[2] else 'mysql'}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Where several workers share the tests; the folders come in order, and the short unit tests last."""
    config.option.loadscopereorder = False
    return _ByFolderAndServer(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported: what it imports may look at the environment too."""
    home = tempfile.TemporaryDirectory(prefix="deepcvr-home-")
    config.add_cleanup(home.cleanup)
    # As pipeline/run_dbt.py has it: dbt, and what it has parsed, would be looked at again and again.
    gc.set_threshold(100_000, 50, 50)
    config.stash[_ENVIRONMENT] = replace_surroundings(Path(home.name))


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name bytes by their argument: they are hard to type, and what gzip makes of them has the time in it."""
    del config
    return argname if isinstance(val, bytes) else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """End with the commands that repeat, each alone, what has failed."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    failed = {report.nodeid: report for each in ("failed", "error") for report in reporter.stats.get(each, ())}
    for nodeid, report in failed.items():
        if ".py" not in nodeid:  # a worker itself has failed
            continue
        soak = "-m soak " if "soak" in getattr(report, "keywords", ()) else ""
        reporter.write_line(f"again, alone: .venv/bin/python -m pytest {soak}{shlex.quote(nodeid)}")


@pytest.fixture(scope="session", autouse=True)
def _no_process_outlives_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """However they end, by SIGKILL too."""
    with watched(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(autouse=True)
def _the_environment_is_put_back(pytestconfig: pytest.Config) -> Iterator[None]:
    """Whatever a test, a fixture that several share, or the code that they call has set is gone for the next one."""
    put_back(pytestconfig.stash[_ENVIRONMENT])
    yield
    put_back(pytestconfig.stash[_ENVIRONMENT])


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: what it holds and what runs in it is no matter of the checkout's."""
    return copy_project(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="session")
def mysql_by_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MysqlSettings]:
    """A server like the embedded one: the machine's MySQL, or the one that set-up unpacked, on a socket alone."""
    base = tmp_path_factory.mktemp("mysql")
    server = start_mysql(mysql_program("mysql"), base, sizes=_SIZES)
    yield MysqlSettings(host=None, port=0, user="root", password="", unix_socket=server.unix_socket)
    stop_mysql(base)


@pytest.fixture(scope="session")
def mariadb_by_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MysqlSettings]:
    """A server like a user's own: MariaDB over TCP, with a password."""
    base = tmp_path_factory.mktemp("mariadb")
    tcp = TcpOptions(port=free_port(), user=USER, password=PASSWORD)
    server = start_mysql(mysql_program("mariadb"), base, tcp=tcp, sizes=_SIZES)
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
        program=mysql_program(kind),
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
    server = start_mysql(mysql_program("mysql"), base, tcp=tcp, sizes=_SIZES)
    yield MysqlSettings(host="127.0.0.1", port=tcp.port, user=USER, password=PASSWORD, unix_socket=server.unix_socket)
    stop_mysql(base)


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A Spark standalone cluster: a master and two workers."""
    with start_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
