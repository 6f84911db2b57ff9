"""The tests' own servers end with the tests, however these end; those of `make up` do not end with make."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from embedded.s3_server import find_s3, stop_s3

STARTS_A_SERVER = """
import sys, time
from contextlib import nullcontext
from pathlib import Path
from embedded.s3_server import start_s3
from tests.watchdog import watched

folder = Path(sys.argv[1])
with watched(folder) if sys.argv[2] == "watched" else nullcontext():
    start_s3(folder / "server")
    print("ready", flush=True)
    time.sleep(600)
"""


def start_and_kill(root: Path, folder: Path, how: str) -> None:
    command = [sys.executable, "-c", STARTS_A_SERVER, str(folder), how]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)


def test_a_server_of_killed_tests_is_ended_and_one_of_make_up_is_not(root: Path, tmp_path: Path) -> None:
    for how in ("watched", "alone"):
        (tmp_path / how).mkdir()
        start_and_kill(root, tmp_path / how, how)

    deadline = time.monotonic() + 30
    while find_s3(tmp_path / "watched" / "server") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert find_s3(tmp_path / "watched" / "server") is None
    assert find_s3(tmp_path / "alone" / "server") is not None
    assert stop_s3(tmp_path / "alone" / "server")
