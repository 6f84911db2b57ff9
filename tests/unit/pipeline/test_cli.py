from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import run_command, say
from pipeline.errors import LoadError, SettingsError
from pipeline.progress import track


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError("MODE is odd"), 2, "error: MODE is odd"),
        (LoadError("a row is missing"), 1, "error: a row is missing"),
        (ValueError("two\nlines"), 1, "error: ValueError: two lines (unexpected; --verbose shows where)"),
        (ValueError(), 1, "error: ValueError (unexpected; --verbose shows where)"),
    ],
)
def test_an_error_ends_in_one_line_and_its_exit_code(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(raising(error), verbose=False) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"{line}\n"


def test_verbose_shows_the_traceback_before_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(raising(LoadError("a row is missing")), verbose=True) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "error: a row is missing"


@pytest.mark.parametrize("kind", [LoadError, ValueError])
def test_what_a_server_says_commands_no_terminal(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        with track("from \x1b[1m", 1, "B") as progress:
            progress.advance(1)
        say("a member \x1b[2J\u202e")
        raise kind("refused: \x1b]0;title\x07\r\ndone \ud800")

    assert run_command(command, verbose=True) == 1
    printed = capsys.readouterr()
    assert printed.out == "a member \\u001b[2J\\u202e\n"
    assert "\nerror: " in printed.err
    assert "refused: \\u001b]0;title\\u0007" in printed.err.splitlines()[-1]
    assert not set("\x1b\x07\r\ud800") & set(printed.err)


def test_a_command_that_ends_well_ends_with_zero() -> None:
    assert run_command(lambda: None, verbose=False) == 0


@pytest.mark.parametrize(
    "module",
    [
        *("embedded.__main__", "embedded.setup", "export.__main__", "extract.__main__", "extract.sample"),
        *("pipeline.docs", "pipeline.run_dbt", "report.__main__"),
    ],
)
def test_ctrl_c_is_answered_before_the_packages_are_imported_which_takes_long(root: Path, module: str) -> None:
    program = f"""
import sys
import {module}
heavy = {{"boto3", "pymysql", "pyspark", "yaml", "isal", "numpy", "pyarrow", "dbt"}} & sys.modules.keys()
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)


def test_what_a_shell_holds_for_python_reaches_no_command_of_make(root: Path) -> None:
    """Any of the first three would end it."""
    foreign = {"PYTHONHOME": "/none", "PYTHONHASHSEED": "nonsense", "PYTHONSAFEPATH": "1", "PYTHONVERBOSE": "1"}
    ended = subprocess.run(
        ["make", "status"], cwd=root, env=os.environ | foreign, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")
