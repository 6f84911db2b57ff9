"""Ctrl-C in the real commands, at moments spread over their lives: one line that is true, and one exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.mysql import connect
from pipeline.settings import MysqlSettings
from tests.integration.dbt.project import DbtProject, create_project
from tests.integration.dbt.staged_data import generate_load, stage

DATABASE = "deepcvr_test"  # of no other test
EXPORT = "interrupted: nothing was replaced; the same command begins again"
EXPORTED = "interrupted: the export is whole, or what was there before is put back by the same command"
REPORT = "interrupted: the page that was there stays; the same command begins again"
REPORTED = "interrupted: the page is the new one or the one that was there, and whole"
DBT = "interrupted: the tables may be of two runs; the same command puts them right and begins again"


@dataclass(frozen=True)
class Ended:
    """How a command has ended."""

    code: int
    output: str
    errors: str

    @property
    def lines(self) -> list[str]:
        """Of standard error."""
        return self.errors.splitlines()


@dataclass
class Command:
    """A command of the project, and how long it takes when it is let alone, from when it answers to its end."""

    arguments: Sequence[str]
    folder: Path
    environment: dict[str, str]
    seconds: float = field(default=0.0)

    def start(self, *, signal_switched_off: bool = False) -> subprocess.Popen[str]:
        """Start it as a shell with job control does, and wait until it answers: what comes before is Python's start."""
        del signal_switched_off
        process = subprocess.Popen(
            [sys.executable, "-m", *self.arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while process.poll() is None and not catches(process.pid, signal.SIGTERM):
            time.sleep(0.001)
        return process

    def run(self) -> Ended:
        """Run it to its end."""
        process = self.start()
        begun = time.monotonic()
        output, errors = process.communicate(timeout=60)
        self.seconds = time.monotonic() - begun
        return Ended(process.returncode, output, errors)

    def interrupt(self, after: float, number: signal.Signals = signal.SIGINT) -> Ended:
        """Send a signal to it and all that it has started, as a terminal does, some seconds after it answers."""
        process = self.start()
        time.sleep(after)
        if process.poll() is None:
            os.killpg(process.pid, number)
        output, errors = process.communicate(timeout=60)
        return Ended(process.returncode, output, errors)

    def interrupt_at_moments(self, num_moments: int, lines: set[str]) -> Iterator[Ended]:
        """Interrupt it again and again, at moments spread evenly over its life, and see that it answers each time."""
        answered = 0
        for number in range(num_moments):
            ended = self.interrupt(self.seconds * (number + 0.5) / num_moments)
            if ended.code != 0:  # the machine may have become quicker since
                answered += 1
                assert (ended.code, len(ended.lines)) == (130, 1), ended
                assert ended.lines[0] in lines
            yield ended
        assert answered >= num_moments * 2 // 3


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of a signal."""
    (caught,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.fixture(scope="module")
def built(mariadb_by_tcp: MysqlSettings, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbtProject]:
    """A project whose tables are built, and the environment of commands that read them."""
    stage(mariadb_by_tcp, DATABASE, generate_load(num_samples=700, num_groups=40), root)
    project = create_project(tmp_path_factory.mktemp("interrupts") / "root", root, mariadb_by_tcp)
    project.environment.update({"MODE": "production", "DATASET": "test", "PYTHONPATH": str(root)})
    succeeded, output = project.run("build", "--target", "test")
    assert succeeded, output
    yield project
    with closing(connect(mariadb_by_tcp)) as connection, connection.cursor() as cursor:
        for name in (DATABASE, f"{DATABASE}_staging"):
            cursor.execute(f"drop database `{name}`")


MOMENTS = [5, pytest.param(40, marks=pytest.mark.soak)]


@pytest.mark.parametrize("num_moments", MOMENTS)
def test_an_export_that_is_interrupted_at_any_moment_says_so_and_is_whole_or_the_older_one(
    built: DbtProject, root: Path, tmp_path: Path, num_moments: int
) -> None:
    folder = tmp_path / "out"
    command = Command(["export"], root, built.environment | {"OUTPUT": str(folder)})

    def exported_at() -> str:
        return str(json.loads((folder / "manifest.json").read_text())["exported_at"])

    assert command.run().code == 0
    before = exported_at()
    time.sleep(1)
    for ended in command.interrupt_at_moments(num_moments, {EXPORT, EXPORTED}):
        if ended.code:
            assert EXPORTED in ended.lines or exported_at() == before
        before = exported_at()
    assert command.run().code == 0


@pytest.mark.parametrize("num_moments", MOMENTS)
def test_a_report_that_is_interrupted_at_any_moment_says_so_and_the_page_is_whole(
    built: DbtProject, root: Path, tmp_path: Path, num_moments: int
) -> None:
    page = tmp_path / f"{DATABASE}.html"
    command = Command(["report"], root, built.environment | {"OUTPUT": str(tmp_path)})

    assert command.run().code == 0
    before = page.stat()
    for ended in command.interrupt_at_moments(num_moments, {REPORT, REPORTED}):
        if ended.code and REPORT in ended.lines:
            assert page.stat() == before
        before = page.stat()
    assert command.run().code == 0
