"""The whole job with secrets that can be recognized: none of them is in a command line, a page or a file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from embedded.mysql_server import connect_as_root
from embedded.s3_server import Access, S3Server, choose_ports, open_client, start_s3, stop_s3
from pipeline.files import private_folder, write_json
from pipeline.settings import MysqlSettings
from source_data import generate_archive
from tests.end_to_end.conftest import Shell
from tests.end_to_end.test_commands import ACTIVATE
from tests.integration.embedded.test_permissions import OPENED_BY_MYSQL
from tests.permissions import open_to_others
from tests.ports import free_port
from tests.processes import command_lines, descendants
from tests.secrets import files_below, found_in

pytestmark = pytest.mark.soak

# As long as those of AWS, with what programs quote: a secret that is quoted shows which forms are to be looked for.
S3_SECRET = """s3/Marker+'"%41 &<secret>\\=0123456789"""
WRONG_S3_SECRET = """wrong/Marker+'"%42 &<secret>\\=0123456789"""
WRONG_PASSWORD = """another 'marker" %43 &<secret>/+="""


@dataclass
class Watch:
    """What was seen while commands ran.

    Attributes:
        secrets: by name.
        ui_port: where Spark shows its pages.
        leaks: where which secret was.
        java: the numbers of the Java processes.
        pages: those of Spark's pages that were read.
        lines: every command line.
        readable: processes with a secret whose environment others than their owner may read.
    """

    secrets: dict[str, str]
    ui_port: int
    leaks: set[tuple[str, str]] = field(default_factory=set)
    java: set[int] = field(default_factory=set)
    pages: dict[str, bytes] = field(default_factory=dict)
    readable: set[int] = field(default_factory=set)
    lines: set[bytes] = field(default_factory=set)

    def look(self) -> None:
        """Look once at every process of the machine and at Spark's pages."""
        ours = set(descendants(os.getpid()))
        for pid, line in command_lines().items():
            if line not in self.lines:
                self.lines.add(line)
                self.leaks |= {(f"command line {line[:40]!r}", name) for name in found_in(line, self.secrets)}
            if pid in ours and b"java" in line[:200]:
                self.java.add(pid)
            with suppress(OSError):
                if pid in ours and stat.S_IMODE(Path(f"/proc/{pid}/environ").stat().st_mode) & 0o077:
                    self.readable.add(pid)
        if self.java:
            self.read_pages()

    def read_pages(self) -> None:
        """Read what Spark shows of its configuration."""
        address = f"http://127.0.0.1:{self.ui_port}"
        with suppress(OSError, IndexError, ValueError):
            for page in ("/environment/", "/executors/", "/jobs/", "/api/v1/applications"):
                self.pages[page] = read_page(address + page)
            application = self.pages["/api/v1/applications"].split(b'"id" : "')[1].split(b'"')[0].decode()
            for page in ("environment", "allexecutors", "jobs", "stages"):
                self.pages[page] = read_page(f"{address}/api/v1/applications/{application}/{page}")


def read_page(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=2) as answer:
        content: bytes = answer.read()
        return content


@pytest.fixture(scope="module")
def marked_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server whose secret key is the marker, with a small archive."""
    base = private_folder(tmp_path_factory.mktemp("marked_s3"))
    write_json(base / "s3.json", asdict(Access("AKMARKED", S3_SECRET, choose_ports(8))))
    server = start_s3(base)
    archive = base / "taobao_train.tar.gz"
    generate_archive(archive, "train", scale=0.0001, seed=7)
    client = open_client(server)
    client.create_bucket(Bucket="deepcvr-data")
    client.upload_file(str(archive), "deepcvr-data", "development/taobao_train.tar.gz")
    yield server
    stop_s3(base)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files of the job."""
    return private_folder(tmp_path_factory.mktemp("temporary"))


@pytest.fixture(scope="module")
def watch(mariadb_by_tcp: MysqlSettings) -> Watch:
    return Watch(
        {
            "S3 secret": S3_SECRET,
            "password": mariadb_by_tcp.password,
            "wrong S3 secret": WRONG_S3_SECRET,
            "wrong password": WRONG_PASSWORD,
        },
        free_port(),
    )


@pytest.fixture(scope="module")
def environment(
    marked_s3: S3Server, mariadb_by_tcp: MysqlSettings, temporary: Path, watch: Watch, project: Path
) -> dict[str, str]:
    """What a user sets; Spark's pages and its log of events are switched on."""
    configuration = project / ".home" / "spark"
    events = project / ".home" / "events"
    for folder in (configuration, events):
        folder.mkdir(parents=True)
    (configuration / "spark-defaults.conf").write_text(
        "spark.ui.enabled true\n"
        f"spark.ui.port {watch.ui_port}\n"
        "spark.eventLog.enabled true\n"
        f"spark.eventLog.dir file://{events}\n"
        f"spark.driver.extraJavaOptions -Djava.io.tmpdir={temporary}\n"
    )
    return {
        "AWS_ENDPOINT_URL": marked_s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": marked_s3.access.access_key_id,
        "AWS_SECRET_ACCESS_KEY": S3_SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MYSQL_HOST": str(mariadb_by_tcp.host),
        "MYSQL_PORT": str(mariadb_by_tcp.port),
        "MYSQL_USER": mariadb_by_tcp.user,
        "MYSQL_PASSWORD": mariadb_by_tcp.password,
        "SPARK_CONF_DIR": str(configuration),
        "TMPDIR": str(temporary),
    }


def run(watch: Watch, shell: Shell, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line under watch."""
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            watch.look()
            ended.wait(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        result = shell(line, **environment)
    finally:
        ended.set()
        thread.join()
    for name in found_in((result.stdout + result.stderr).encode(), watch.secrets):
        watch.leaks.add((f"output of {line}", name))
    return result


@pytest.fixture(scope="module")
def whole_job(shell: Shell, watch: Watch, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`make run`, begun anew, under watch."""
    return run(watch, shell, "umask 000; make run FORCE=1", **environment)


def test_a_secret_in_a_command_line_would_be_seen() -> None:
    watch = Watch({"marker": WRONG_S3_SECRET}, free_port())
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", WRONG_S3_SECRET]) as process:
        watch.look()
        process.kill()
    assert {name for _, name in watch.leaks} == {"marker"}


def test_the_whole_job_leaks_no_secret_and_leaves_nothing_temporary(
    whole_job: subprocess.CompletedProcess[str], watch: Watch, temporary: Path
) -> None:
    assert whole_job.returncode == 0, whole_job.stdout + whole_job.stderr
    assert watch.leaks == set()
    assert any(b"SparkSubmit" in line for line in watch.lines)
    assert any(b"dbt\0build" in line for line in watch.lines)
    assert watch.readable == set()
    assert sorted(temporary.rglob("*")) == []
    # Java keeps these in /tmp, whatever it is told.
    assert watch.java
    ended_java = [pid for pid in watch.java if not Path(f"/proc/{pid}").exists()]  # a cluster of other tests lives on
    assert ended_java
    assert [path for pid in ended_java for path in Path("/tmp").glob(f"hsperfdata_*/{pid}")] == []


@pytest.mark.usefixtures("whole_job")
def test_sparks_pages_show_no_secret(watch: Watch) -> None:
    assert b"spark.master" in watch.pages["environment"]
    assert b"</html>" in watch.pages["/environment/"]
    assert {(page, name) for page, content in watch.pages.items() for name in found_in(content, watch.secrets)} == set()


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("python -m extract --verbose --force --step download", {"AWS_SECRET_ACCESS_KEY": WRONG_S3_SECRET}),
        ("python -m extract --verbose", {"MYSQL_PASSWORD": WRONG_PASSWORD}),
        ("python spark_jobs/explode_features.py --verbose", {"MYSQL_PASSWORD": WRONG_PASSWORD}),
        ("dbt --debug run", {"MYSQL_PASSWORD": WRONG_PASSWORD}),
        ("dbt debug", {"MYSQL_PASSWORD": WRONG_PASSWORD}),
        ("python -m report.summary --verbose", {"MYSQL_PASSWORD": WRONG_PASSWORD}),
    ],
)
def test_a_run_that_is_refused_shows_no_secret(
    shell: Shell, watch: Watch, environment: dict[str, str], line: str, changed: dict[str, str]
) -> None:
    ended = run(watch, shell, f"{ACTIVATE}; {line}", **environment | changed)

    assert ended.returncode in (1, 2)
    assert "efuse" in ended.stdout + ended.stderr or "denied" in ended.stdout + ended.stderr
    assert watch.leaks == set()


@pytest.mark.usefixtures("whole_job")
def test_a_task_that_fails_shows_no_secret(
    shell: Shell, watch: Watch, environment: dict[str, str], mariadb_by_tcp: MysqlSettings
) -> None:
    base = mariadb_by_tcp.unix_socket.parent
    with connect_as_root(base) as connection, connection.cursor() as cursor:
        cursor.execute("set global local_infile = 0")
        try:
            ended = run(watch, shell, f"{ACTIVATE}; python -m extract --verbose --force --step explode", **environment)
        finally:
            cursor.execute("set global local_infile = 1")

    assert ended.returncode == 1
    assert watch.leaks == set()


@pytest.mark.usefixtures("whole_job")
def test_what_the_job_wrote_is_its_owners_alone_whatever_the_umask(project: Path) -> None:
    spark_log = (project / "logs" / "spark.log").stat().st_mode
    # The programs that set-up unpacked are anybody's, in a folder that is not.
    programs = ("mysql/", "java/")
    found = {name for name in open_to_others(project / ".embedded") if not name.startswith(programs)}
    found = {name for name in found if not name.endswith(".vif")}

    assert (project / "data" / "development" / "unpacked").is_dir()
    assert open_to_others(project / "data") == {}
    assert found <= {"mysql.sock", *OPENED_BY_MYSQL}
    assert not stat.S_IMODE(spark_log) & 0o077


@pytest.mark.usefixtures("whole_job")
def test_no_file_holds_a_secret_after_all_of_this(
    project: Path, watch: Watch, temporary: Path, marked_s3: S3Server, mariadb_by_tcp: MysqlSettings
) -> None:
    logs = (marked_s3.base / "log", mariadb_by_tcp.unix_socket.parent / "log")
    sources = project / "tests"  # which name the secrets
    searched = [path for path in files_below(project, temporary, *logs) if not path.is_relative_to(sources)]
    leaks = {(str(path), name) for path in searched for name in found_in(path.read_bytes(), watch.secrets)}

    names = {path.name for path in searched}
    assert {"spark.log", "dbt.log", "manifest.json", "run_results.json", "catalog.json", "s3.log", "mysql.log"} <= names
    assert any((project / ".home" / "events").iterdir())
    assert leaks == set()
    assert not [name for name in names if name.startswith(("core.", "hs_err_pid"))]
