"""`make down` in the middle of a job: the job says in one line what to do, and doing it ends in the right tables."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from pymysql.err import ProgrammingError

from embedded.s3_server import find_s3
from pipeline.mysql import MysqlConnection, connect
from tests.end_to_end.conftest import Shell
from tests.end_to_end.test_commands import ACTIVATE, assert_every_row_is_there, embedded, succeed

pytestmark = pytest.mark.soak

STAGING = "deepcvr_development_test_staging"
CONTINUES = "continues where this one stopped"


@pytest.fixture
def small(project: Path, shell: Shell) -> Iterator[Path]:
    """The project with small archives, many parts and many partitions, so that there is a middle to stop in."""
    settings = project / "pipeline.yml"
    before = settings.read_text()
    declared = yaml.safe_load(before)
    download, _, explode = declared["extract"]
    download |= {"part_size": "16 KiB", "connections": 1}
    explode["partition_size"] = "4 KiB"
    succeed(shell, f"{ACTIVATE}; make up && python -m embedded fill --scale 0.0001 --force")
    settings.write_text(yaml.safe_dump(declared, sort_keys=False))
    yield project
    settings.write_text(before)


def test_a_job_whose_servers_are_stopped_says_what_to_do_and_continues_to_the_right_tables(
    small: Path, shell: Shell
) -> None:
    part = small / "data/development/archives/taobao_test.tar.gz.part"

    stopped = down_in_the_middle(shell, "make extract DATASET=test FORCE=1", lambda: stall_download(small, part))
    assert_one_line(
        stopped, "error: download: s3://deepcvr-data/development/taobao_test.tar.gz: the embedded S3 server was stopped"
    )
    assert part.exists()

    with hold_tables(small, "sample_feature", "common_feature_group") as hold:
        stopped = down_in_the_middle(shell, "make extract DATASET=test", hold)
    assert "the download goes on" in stopped.stdout
    assert_one_line(stopped, "error: explode: ")

    printed = succeed(shell, "make extract DATASET=test")
    assert printed.count("skipped") == 2

    with hold_tables(small, "sample_feature", at_once=True) as hold:
        stopped = down_in_the_middle(shell, f"{ACTIVATE}; dbt run --target test", hold)
    assert stopped.returncode in (1, 2)  # as dbt counts an error of a model or of its own
    assert "MySQL server" in stopped.stdout.splitlines()[-1]
    assert "Traceback" not in stopped.stdout + stopped.stderr

    succeed(shell, f"{ACTIVATE}; make extract DATASET=test && dbt run --target test && dbt test --target test")
    assert_every_row_is_there(embedded(small), "deepcvr_development_test", small / "data/development/unpacked", "test")


def down_in_the_middle(shell: Shell, line: str, wait: Callable[[], None]) -> CompletedProcess[str]:
    """Run a line, and `make down` when it is in the middle."""
    succeed(shell, "make up")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(shell, line)
        wait()
        assert not running.done()
        succeed(shell, "make down")
        return running.result(timeout=120)


def assert_one_line(ended: CompletedProcess[str], beginning: str) -> None:
    """The command failed with one line and make's own, behind those of the progress."""
    lines = [
        line for line in ended.stderr.splitlines() if not line.startswith(("  ", "waiting for "))
    ]  # progress is set in
    assert len(lines) == 2, ended.stderr
    error, from_make = lines
    assert ended.returncode == 2
    assert error.startswith(beginning)
    assert CONTINUES in error or "run make up" in error
    assert from_make.startswith("make: ***")


def stall_download(project: Path, part: Path) -> None:
    """Wait for the first parts of a download, and have the server say no more."""
    wait_until(lambda: part.exists() and part.stat().st_blocks > 0)
    server = find_s3(project / ".embedded")
    assert server is not None
    os.kill(server.pid, signal.SIGSTOP)


@contextmanager
def hold_tables(project: Path, *tables: str, at_once: bool = False) -> Iterator[Callable[[], None]]:
    """Give what waits until a load has begun to land, and then keeps it, or its reader, from going on."""
    held: list[MysqlConnection] = []

    def hold() -> None:
        connection = connect(embedded(project), database=STAGING)
        held.append(connection)
        with connection.cursor() as cursor:

            def landing() -> int:
                """The latest load that has landed a part; the registry is made by the first that writes into it."""
                with suppress(ProgrammingError):
                    cursor.execute("select coalesce(max(load_id), 0) from load_partition where loaded_at is not null")
                    return int((cursor.fetchone() or (0,))[0])
                return 0

            before = landing()

            if not at_once:
                wait_until(lambda: landing() > before)
            cursor.execute("lock tables " + ", ".join(f"{table} write" for table in tables))

    yield hold
    for connection in held:
        with closing(connection):
            pass


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
