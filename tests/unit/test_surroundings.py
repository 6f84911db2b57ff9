"""Whoever runs the tests, in whatever shell: what they find around them is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.settings import load_settings
from tests.surroundings import CHECKOUT, clean_environment, copy_project

# What people have set, each to something that would change or stop a test.
HOSTILE = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_PROFILE": "no-such",
    "COLUMNS": "20",
    "DATASET": "tset",
    "DBT_PROFILES_DIR": "/nowhere",
    "DBT_TARGET": "nowhere",
    "DEEPCVR_MODE": "production",
    "FORCE": "1",
    "GIT_DIR": "/nowhere",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "LANG": "tr_TR.ISO-8859-9",
    "MAKEFLAGS": "n",
    "MODE": "producton",
    "MYSQL_HOST": "db.example",
    "NO_COLOR": "1",
    "OUTPUT": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "SPARK_HOME": "/nowhere",
    "TZ": "Asia/Kathmandu",
    "VIRTUAL_ENV": "/nowhere",
    "https_proxy": "http://127.0.0.1:9",
}


def test_nothing_that_a_shell_has_set_reaches_a_test() -> None:
    home = Path("/home/of/the/tests")
    needed = {"PATH": "/usr/bin", "TMPDIR": "/large", "JAVA_HOME": "/java", "OPENBLAS_CORETYPE": "Haswell"}

    assert clean_environment(HOSTILE | needed, home) == clean_environment(needed, home)
    assert clean_environment(needed, home).items() >= needed.items()


def test_this_test_has_such_an_environment_and_a_home_of_the_tests_own() -> None:
    home = Path(os.environ["HOME"])

    of_pytest = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    assert dict(os.environ) == clean_environment(os.environ, home) | of_pytest
    assert home.is_relative_to(tempfile.gettempdir())
    assert os.umask(0o022) == 0o022


def test_a_copy_of_the_project_has_what_the_project_has_and_nothing_that_was_made_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "a checkout in use"
    copy_project(checkout)
    for made in ("data", "target", "logs", ".git", "pipeline/__pycache__"):
        (checkout / made).mkdir()
        (checkout / made / "made").write_text("made")
    (checkout / ".embedded" / "data").mkdir()
    (checkout / "not yet added.py").write_text("")
    with (checkout / "sample_train.tar.gz").open("wb") as archive:
        archive.truncate(1 << 40)
    monkeypatch.setattr("tests.surroundings.CHECKOUT", checkout)
    copy = copy_project(tmp_path / "copy")

    assert load_settings(root=copy, environ={}).root == copy
    assert (copy / "not yet added.py").exists()
    assert not any((copy / made).exists() for made in ("data", "target", "logs", ".git", "sample_train.tar.gz"))
    assert {path.name for path in (copy / ".embedded").iterdir()} <= {"java", "mysql", "mycli"}
    assert list(copy.rglob("made")) == []


def test_the_last_lines_of_a_failed_run_repeat_each_failure_alone(tmp_path: Path) -> None:
    module = tmp_path / "test_module.py"
    module.write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('word', ['good', \"isn't\"])\n"
        "def test_word(word): assert word == 'good'\n"
        "@pytest.mark.soak\n"
        "def test_long(): raise OSError\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(tmp_path)]
    command += ["-m", "soak or not soak", "-c", str(CHECKOUT / "pyproject.toml"), str(module)]
    environment = clean_environment(os.environ, tmp_path)  # without what this run of pytest was told
    ended = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 1, ended.stdout + ended.stderr
    again = "again, alone: .venv/bin/python -m pytest"
    assert ended.stdout.splitlines()[-2:] == [
        f"""{again} 'test_module.py::test_word[isn'"'"'t]'""",
        f"{again} -m soak test_module.py::test_long",
    ]
