"""Ctrl-C in the real commands, at moments spread over their lives: one line that is true, and one exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embedded.mysql_server import find_mysql
from pipeline.mysql import connect
from pipeline.settings import MysqlSettings
from tests.integration.dbt.project import DbtProject, create_project
from tests.integration.dbt.staged_data import generate_load, stage
from tests.ports import free_port
from tests.processes import command_line, descendants, listeners

DATABASE = "deepcvr_test"  # of no other test
START = "interrupted: run the same command again"  # before the command knows what it is
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

    def start(self) -> subprocess.Popen[str]:
        """Start it as a shell with job control does, and wait until it answers: what comes before is Python's start."""
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
                assert ended.lines[0] in lines | {START}
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
    succeeded, output = project.run("run", "--target", "test")
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
        if ended.code and REPORTED not in ended.lines:
            assert page.stat() == before
        before = page.stat()
    assert command.run().code == 0


def test_dbt_that_is_interrupted_ends_in_one_line_and_the_next_build_puts_all_right(built: DbtProject) -> None:
    command = Command(["pipeline.run_dbt", "build", "--target", "test"], built.folder, built.environment)
    process = command.start()
    assert process.stdout
    printed = ""
    while "START" not in printed:  # of a model: dbt is at work
        printed = process.stdout.readline()
        assert printed
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, f"{DBT}\n")
    assert "Traceback" not in output
    assert "KeyboardInterrupt" not in output

    ended = command.run()
    assert (ended.code, ended.errors) == (0, "")
    assert "Completed successfully" in ended.output


def test_dbt_that_is_interrupted_while_it_starts_ends_in_one_line(built: DbtProject) -> None:
    command = Command(["pipeline.run_dbt", "docs", "generate", "--target", "test"], built.folder, built.environment)
    ended = command.interrupt(0.3, signal.SIGTERM)

    assert (ended.code, ended.errors) == (143, "interrupted: the same command begins again\n")
    assert "Traceback" not in ended.output


@pytest.mark.soak
def test_dbt_has_its_own_arguments_exit_codes_and_words(built: DbtProject) -> None:
    arguments = ["--no-use-colors", "ls", "--profile", "no-such"]
    own = subprocess.run(
        [Path(sys.executable).with_name("dbt"), *arguments],
        cwd=built.folder,
        env=built.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    ended = Command(["pipeline.run_dbt", *arguments], built.folder, built.environment).run()

    assert ended.code == own.returncode == 2
    times = r"\d\d:\d\d:\d\d"
    assert re.sub(times, "", ended.output) == re.sub(times, "", own.stdout)
    assert ended.errors == own.stderr


def test_a_summary_that_is_interrupted_says_so(built: DbtProject, root: Path) -> None:
    command = Command(["report.summary"], root, built.environment)
    command.run()

    for ended in command.interrupt_at_moments(3, {"interrupted: nothing was changed; the same command counts again"}):
        assert ended.code in (0, 130)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_documentation_is_served_at_the_port_until_a_signal(
    documented: Path, number: signal.Signals, code: int
) -> None:
    port = free_port()
    command = Command(["pipeline.docs"], documented, os.environ | {"PORT": str(port)})
    process = command.start()
    assert process.stdout
    assert process.stdout.readline() == f"documentation: http://localhost:{port} until Ctrl-C\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        assert answer.read() == b"<html>"
    assert [listener.address for listener in listeners(process.pid)] == ["127.0.0.1"]

    second = command.run()
    assert (second.code, second.output) == (1, "")
    assert second.errors == (
        f"error: cannot listen on port {port} of 127.0.0.1, another program has it: name another, such as"
        f" PORT={second.errors.rpartition('=')[2].strip()}\n"
    )
    other = int(second.errors.rpartition("=")[2])
    assert other not in (0, port)

    os.killpg(process.pid, number)
    assert process.communicate(timeout=10) == (
        "",
        "interrupted: the documentation is served no longer; it stays in target\n",
    )
    assert process.returncode == code
    again = command.start()  # at once, at the same port
    assert again.stdout
    assert "until Ctrl-C" in again.stdout.readline()
    os.killpg(again.pid, number)
    again.communicate(timeout=10)


@pytest.fixture
def documented(root: Path, tmp_path: Path) -> Path:
    """A folder in which `python -m pipeline.docs` finds documentation."""
    shutil.copytree(root / "pipeline", tmp_path / "copy" / "pipeline")
    (tmp_path / "copy" / "target").mkdir()
    (tmp_path / "copy" / "target" / "index.html").write_text("<html>")
    return tmp_path / "copy"


@pytest.mark.parametrize("port", ["0", "65536", "80a", "-1", "٣"])
def test_a_port_that_is_none_is_a_mistake_in_the_settings(documented: Path, port: str) -> None:
    for arguments in ([], ["--check"]):
        ended = Command(["pipeline.docs", *arguments], documented, os.environ | {"PORT": port}).run()
        assert (ended.code, ended.output) == (2, "")
        assert ended.errors == f"error: PORT is {port!r}, expected a number from 1 to 65535\n"


@pytest.mark.parametrize("program", ["venv", pytest.param("pip install", marks=pytest.mark.soak)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_set_up_that_is_interrupted_says_so_and_leaves_no_program_behind(
    root: Path, tmp_path: Path, program: str, number: signal.Signals, code: int
) -> None:
    for name in ("embedded", "pipeline", "dbt_adapter"):
        shutil.copytree(root / name, tmp_path / name)
    for name in ("requirements.txt", "requirements-checks.txt", "requirements-dbt.txt", "pipeline.yml"):
        shutil.copy2(root / name, tmp_path / name)
    (tmp_path / ".embedded").mkdir()
    if (root / ".embedded" / "java").exists():
        (tmp_path / ".embedded" / "java").symlink_to((root / ".embedded" / "java").resolve())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environment = os.environ | {
            "MYSQL_HOST": "127.0.0.1",
            "MYSQL_USER": "me",
            "PIP_INDEX_URL": index,
            "PYTHONUTF8": "1",
        }
        process = Command(["embedded.setup"], tmp_path, environment).start()
        while not (started := [pid for pid in descendants(process.pid) if program in command_line(pid)]):
            assert process.poll() is None
            time.sleep(0.005)
        family = descendants(process.pid)
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)  # by itself it has to end the others
        output, errors = process.communicate(timeout=30)
    assert started
    assert (process.returncode, output) == (code, "")
    *progress, last = errors.splitlines()  # every ten seconds, where the machine is that slow
    assert last == "interrupted: what is set up stays; the same command goes on from there"
    assert all(line.startswith("  Python packages into .venv: ") for line in progress)
    assert not [pid for pid in family if command_line(pid)]


def test_servers_that_up_has_started_outlive_its_interrupt(root: Path) -> None:
    """And it leaves no other process; the next one finds them, or starts what is missing."""
    command = Command(["embedded", "up"], root, dict(os.environ))
    line = "interrupted: what was started runs on, make down stops it; the same command does the rest\n"
    try:
        process = command.start()
        assert process.stdout
        assert process.stdout.readline().startswith("MySQL: ")
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=20)[1] == line
        assert process.returncode == 130
        server = find_mysql(root / ".embedded")
        assert server

        process = command.start()
        assert process.stdout
        assert process.stdout.readline().startswith("MySQL: ")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[1] == line
        assert process.returncode == 143
        found = find_mysql(root / ".embedded")
        assert found
        assert found.pid == server.pid
    finally:
        assert Command(["embedded", "down"], root, dict(os.environ)).run().code == 0
