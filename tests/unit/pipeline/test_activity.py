"""What counts the seconds: on a real terminal it gives way to whatever else is shown, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.activity import working
from tests.terminal import show

_PROGRAM = """
import sys, time
from pipeline.activity import working
from pipeline.cli import say
from pipeline.progress import track
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
    monkeypatch.setattr("pipeline.activity.SECONDS_BETWEEN_LINES", 0.3)
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
from pipeline.activity import working
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
