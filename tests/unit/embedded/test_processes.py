"""Servers are found by program and folder, and only they are stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embedded.processes import (
    find_process,
    folder_size,
    lock,
    open_log,
    require_free_space,
    start_detached,
    started_at,
    stop_process,
)
from pipeline.errors import ServiceError
from pipeline.files import private_folder

Start = Callable[[Path, str], int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a stand-in for a server: a script of a given name, in a given folder."""
    started = []

    def start_script(folder: Path, script: str) -> int:
        folder.mkdir(exist_ok=True)
        program = tmp_path / "serverd"
        # As pip does it: the path of Python may hold blanks, which a first line does not take.
        starter = f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"
        program.write_text(f"{starter}import signal, time\n{script}\n")
        program.chmod(0o755)
        log = open_log(tmp_path / "log" / "server.log")
        process = start_detached([str(program), "--option"], folder=folder, log=log)
        started.append(process)
        for _ in range(500):
            if log.read_text().endswith("ready\n"):
                return process.pid
            time.sleep(0.01)
        raise AssertionError(log.read_text())

    yield start_script
    for process in started:
        process.kill()
        process.wait()


WAIT = "print('ready', flush=True); time.sleep(60)"
STUBBORN = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"


def test_a_server_is_found_by_its_program_and_folder_alone(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "data"
    assert find_process(folder, "serverd") is None
    pid = start(folder, WAIT)
    found = find_process(folder, "serverd")
    assert found is not None
    assert found.pid == pid
    assert find_process(folder, "otherd") is None
    assert find_process(tmp_path, "serverd") is None


def test_a_server_is_found_after_its_folder_has_moved(tmp_path: Path, start: Start) -> None:
    pid = start(tmp_path / "data", WAIT)
    (tmp_path / "data").rename(tmp_path / "moved")
    found = find_process(tmp_path / "moved", "serverd")
    assert found is not None
    assert found.pid == pid


def test_a_server_outlives_its_starter_in_a_session_of_its_own(tmp_path: Path, start: Start) -> None:
    pid = start(tmp_path / "data", WAIT)
    assert os.getsid(pid) == pid


def test_a_server_stops_when_it_is_asked(tmp_path: Path, start: Start) -> None:
    start(tmp_path / "data", WAIT)
    assert stop_process(tmp_path / "data", "serverd", patience_seconds=30)
    assert find_process(tmp_path / "data", "serverd") is None
    assert not stop_process(tmp_path / "data", "serverd", patience_seconds=30)


def test_a_server_that_does_not_stop_is_ended(tmp_path: Path, start: Start) -> None:
    start(tmp_path / "data", STUBBORN)
    assert stop_process(tmp_path / "data", "serverd", patience_seconds=0.2)
    assert find_process(tmp_path / "data", "serverd") is None


def test_another_program_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as bystander:
        assert not stop_process(tmp_path, "serverd", patience_seconds=1)
        assert bystander.poll() is None
        bystander.kill()


def test_a_server_whose_folder_was_removed_is_an_orphan(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "data"
    start(folder, WAIT)
    shutil.rmtree(folder)
    folder.mkdir()
    assert find_process(folder, "serverd") is None
    assert stop_process(folder, "serverd", patience_seconds=30, is_removed=True)
    assert find_process(folder, "serverd", is_removed=True) is None


def test_the_time_of_the_start_is_known(tmp_path: Path, start: Start) -> None:
    pid = start(tmp_path / "data", WAIT)
    assert abs(datetime.now(UTC) - started_at(pid)) < timedelta(seconds=10)


def test_a_lock_keeps_others_out_until_it_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with (
        lock(path, "setting up"),
        pytest.raises(ServiceError, match="another command has been setting up for too long"),
        lock(path, "setting up", wait_seconds=0.2),
    ):
        pass
    with lock(path, "setting up", wait_seconds=0.2):
        pass


def test_a_folder_that_others_may_enter_is_closed_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    private_folder(folder)
    private_folder(tmp_path / "new")
    assert {path.stat().st_mode & 0o777 for path in (folder, tmp_path / "new")} == {0o700}


def test_a_disk_without_room_is_a_clear_error(tmp_path: Path) -> None:
    require_free_space(tmp_path, 1, "the server")
    with pytest.raises(ServiceError, match=r"too little disk space for the server: .* free at .*, 10\d+\.\d TB needed"):
        require_free_space(tmp_path, 10**18, "the server")


def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "log" / "server.log"
    open_log(log).write_bytes(b"x" * 10_000_001)
    assert open_log(log).stat().st_size == 0
    assert log.with_name("server.log.old").stat().st_size == 10_000_001


def test_the_size_of_a_folder_is_what_it_takes_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**9)
    assert 100_000 <= folder_size(tmp_path) < 1_000_000
