from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import commands
from benchmarks.commands import memory_of
from pipeline.errors import PipelineError
from tests.processes import descendants

SIZE = 64 << 20
HOLD = f"held = b'x' * {SIZE}; print('holding', flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


@contextmanager
def parent_of_a_large_child() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process.pid
        process.communicate("\n")


def test_memory_counts_the_processes_below_a_command() -> None:
    with parent_of_a_large_child() as pid:
        tree = [pid, *descendants(pid)]
        assert len(tree) == 2
        assert memory_of(pid) < SIZE < sum(map(memory_of, tree)) < 3 * SIZE


def test_a_process_that_has_ended_holds_no_memory() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert memory_of(process.pid) == 0


def test_a_command_gives_its_time_and_output(tmp_path: Path) -> None:
    finished = commands.run(["sh", "-c", "sleep 0.2; pwd; echo $A"], folder=tmp_path, environment={"A": "b"})
    assert finished.output.split() == [str(tmp_path), "b"]
    assert 0.2 <= finished.seconds < 5


def test_a_command_that_fails_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"^sh -c .* failed in .*: one two$"):
        commands.run(["sh", "-c", "echo one; echo two >&2; exit 3"], folder=tmp_path, environment={})


def test_an_interrupted_command_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        commands.run(
            ["sh", "-c", "sleep 60 & echo $! > pid.new; mv pid.new pid; wait"],
            folder=tmp_path,
            environment=dict(os.environ),
        )
    deadline = time.monotonic() + 5
    child = int((tmp_path / "pid").read_text())
    while memory_of(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert memory_of(child) == 0
