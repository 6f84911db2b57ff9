"""What shows that work goes on: on a real terminal it gives way to what is printed, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.progress import track, working
from tests.terminal import show

_PROGRAM = """
import sys, time
from pipeline.cli import say
from pipeline.progress import track, working
with working("outer"):
    time.sleep(1.4)
    say("a line that is longer than what is drawn over it by the seconds that follow")
    with track("bar", 100, "rows") as progress:
        progress.advance(50)
        time.sleep(0.8)
        say("a line beside a bar")
        time.sleep(0.8)
    with working("inner") as tell:
        tell("half of it")
        time.sleep(1.4)
    time.sleep(0.4)
say("the end")
"""


def test_on_a_terminal_only_the_lines_that_were_printed_are_left(root: Path) -> None:
    shown = show([sys.executable, "-c", _PROGRAM], cwd=root, env=os.environ | {"NO_COLOR": "1"})

    assert shown.exit_code == 0
    assert shown.lines == [
        "a line that is longer than what is drawn over it by the seconds that follow",
        "a line beside a bar",
        "the end",
        "",
    ]
    for drawn in ("\r  outer: 1 s", "\r  bar:  50%", "\r  inner: 1 s, half of it", "\r  outer: 5 s"):
        assert drawn in shown.text
    assert shown.text.count("\r  bar:  50%") > 2  # it goes on while nothing advances it
    assert "\x1b" not in shown.text


def test_in_a_log_there_are_plain_lines_and_only_where_it_takes_long(root: Path) -> None:
    program = _PROGRAM.replace("time.sleep(", "time.sleep(0.1 * ")
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)

    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) == 3
    assert "\r" not in ended.stdout


def test_in_a_log_long_work_is_told_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.progress.SECONDS_BETWEEN_WORDS", 0.3)
    stream = io.StringIO()
    with working("start S3", stream=stream) as tell:
        tell("the last part")
        time.sleep(1.2)

    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    assert all(line.startswith("  start S3: ") and line.endswith(" s, the last part") for line in lines)


def test_an_error_takes_the_seconds_off_the_terminal_before_its_line(root: Path) -> None:
    program = """
import sys, time
from pipeline.progress import working
from pipeline.cli import run_command
from pipeline.errors import LoadError
def fail():
    with working("load"):
        time.sleep(1.4)
        raise LoadError("a row is missing")
sys.exit(run_command(fail, verbose=False))
"""
    shown = show([sys.executable, "-c", program], cwd=root, env=os.environ)

    assert shown.exit_code == 1
    assert "load: 1 s" in shown.text
    assert shown.lines == ["error: a row is missing", ""]


class Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_plain_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 1.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr("pipeline.progress.time.monotonic", lambda: next(now))
    stream = io.StringIO()
    with track("download", 4_000_000, "B", stream=stream) as counter:
        for _ in range(4):
            counter.advance(600_000)

    assert stream.getvalue().splitlines() == [
        "  download: 1.2 MB of 4.0 MB, 200.0 kB/s, 14.0 s left",
        "  download: 2.4 MB of 4.0 MB, 200.0 kB/s, 8.0 s left",
    ]


def test_a_terminal_gets_a_bar_that_leaves_nothing_behind() -> None:
    stream = Terminal()
    with track("explode", 100, "rows", stream=stream) as counter:
        counter.advance(50)

    drawn = stream.getvalue()
    assert "explode" in drawn
    assert "\n" not in drawn
    assert drawn.endswith("\r")
