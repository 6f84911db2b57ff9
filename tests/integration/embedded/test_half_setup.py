"""`make down`, `make status` and `make clean` where set-up was broken off, or its Python is gone, while servers run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded.mysql_server import data_folder, find_mysql, start_mysql
from embedded.processes import find_process
from embedded.running import stop_services
from embedded.s3_server import find_s3, start_s3
from tests.servers import SMALL
from tests.surroundings import copy_project, mysql_program

Make = Callable[..., subprocess.CompletedProcess[str]]
PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project with servers of its own, which each test starts."""
    copy = copy_project(tmp_path_factory.mktemp("half"))
    yield copy
    stop_services(copy / ".embedded", print)


@pytest.fixture
def make(project: Path) -> Make:
    """Calls make in the copy."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", *words, f"PYTHON={PYTHON}"]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    return call


def start(project: Path) -> None:
    start_mysql(mysql_program("mysql"), project / ".embedded", sizes=SMALL)
    start_s3(project / ".embedded")


def run(project: Path) -> tuple[bool, bool]:
    """Which of the two servers run."""
    return find_mysql(project / ".embedded") is not None, find_s3(project / ".embedded") is not None


def break_off_first(environment: Path) -> None:
    """As Ctrl-C leaves the first set-up: an environment without a package."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(environment)], check=True)
    (environment / "made-by-make-setup").touch()


def break_off_second(environment: Path) -> None:
    """As Ctrl-C leaves one for new requirements: some packages are there, one is half replaced."""
    break_off_first(environment)
    (folder,) = environment.glob("lib/python*/site-packages")
    for name in ("yaml", "boto3", "numpy"):
        (folder / name).symlink_to(Path(sys.prefix).glob(f"lib/python*/site-packages/{name}").__next__())
    (folder / "pymysql").mkdir()
    (folder / "pymysql" / "__init__.py").write_text("from .connections import Connection\n")


def remove_python(environment: Path) -> None:
    """As an upgrade of the system leaves it, which has removed the Python that it was made with."""
    break_off_first(environment)
    (environment / "requirements-stamp").touch()
    for name in ("python", "python3"):
        (environment / "bin" / name).unlink(missing_ok=True)
        (environment / "bin" / name).symlink_to("/usr/bin/python3.1")


def replace_python(environment: Path) -> None:
    """The same, where the system has put another Python in its place, which looks for packages elsewhere."""
    break_off_first(environment)
    (environment / "requirements-stamp").touch()


def remove(environment: Path) -> None:
    """As who wants to begin anew leaves it."""
    del environment


STATES = (break_off_first, break_off_second, remove_python, replace_python, remove)
# To start and to stop the servers takes seconds.
ONE_STATE = [state if state is break_off_second else pytest.param(state, marks=pytest.mark.soak) for state in STATES]


def name_of(state: Callable[[Path], None]) -> str:
    return state.__name__


@pytest.fixture(params=STATES, ids=name_of)
def broken(project: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    environment = project / ".venv"
    whole = environment.rename(project / ".venv-whole")
    request.param(environment)
    yield
    shutil.rmtree(environment, ignore_errors=True)
    whole.rename(environment)


def shape(told: Any) -> Any:
    """The keys of what a program reads, whatever is told under them."""
    if isinstance(told, dict):
        return {key: None if key == "facts" else shape(value) for key, value in told.items()}
    return [shape(each) for each in told] if isinstance(told, list) else None


@pytest.fixture(scope="module")
def whole_shape(project: Path) -> Any:
    """What `make status JSON=1` has where everything is set up."""
    command = ["make", "status", "JSON=yes"]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return shape(json.loads(ended.stdout))


@pytest.mark.usefixtures("broken")
def test_status_tells_of_the_servers_and_what_is_next(project: Path, make: Make, whole_shape: Any) -> None:
    start(project)
    status = make("status")
    assert (status.returncode, status.stderr) == (0, "")
    mysql, s3, blank, last = status.stdout.splitlines()
    assert " running since " in mysql
    assert " running since " in s3
    assert not blank
    assert last.startswith("set-up is not complete, ")
    assert "make setup completes it" in last

    told = json.loads(make("status", "JSON=1").stdout)
    assert shape(told) == whole_shape
    assert [one["next"] for one in told["data_sets"]] == [
        "make run",
        "make run DATASET=test",
        "make run MODE=production",
        "make run DATASET=test MODE=production",
    ]
    assert [service["is_running"] for service in told["services"]] == [True, True]


@pytest.mark.parametrize("broken", ONE_STATE, indirect=True, ids=name_of)
@pytest.mark.usefixtures("broken")
def test_down_stops_the_servers(project: Path, make: Make) -> None:
    start(project)
    down = make("down", "DATASET=tset")
    assert (down.returncode, down.stderr) == (0, "")
    assert [line.split(" in ")[0] for line in down.stdout.splitlines()] == ["S3: stopped", "MySQL: stopped"]
    assert run(project) == (False, False)
    assert make("down").stdout == ""


@pytest.mark.soak
def test_a_checkout_that_was_moved_stops_its_servers(project: Path, make: Make) -> None:
    start(project)
    moved = project.rename(project.with_name("moved"))
    try:
        ended = subprocess.run(["make", "down"], cwd=moved, capture_output=True, text=True, check=True)
        assert ended.stdout.count("stopped in") == 2
        assert run(moved) == (False, False)
    finally:
        moved.rename(project)
    assert make("down").stdout == ""


@pytest.mark.parametrize("value", ["maybe", "2", "on"])
def test_json_is_a_flag(make: Make, value: str) -> None:
    ended = make("status", f"JSON={value}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: JSON is {value!r}, expected 1, 0, true, false, yes or no\n")
    assert make("status", "JSON=0").stdout.startswith("MySQL: ")


def test_production_is_removed_only_when_that_is_asked_for(
    project: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_mysql(mysql_program("mysql"), project / ".embedded", sizes=SMALL)
    for name in ("deepcvr_development_train", "deepcvr_train_staging"):
        (data_folder(project / ".embedded") / name).mkdir()
        (data_folder(project / ".embedded") / name / "sample.ibd").write_bytes(bytes(2_000_000))
    archive = project / "data" / "production" / "archives" / "taobao_train.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(bytes(3_000_000))
    before = sorted(project.rglob("*"))

    monkeypatch.setenv("ALL", "1")  # of a shell, by chance
    ended = make("clean")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[0] == (
        "error: nothing is removed, for some of it may take hours to make again: database deepcvr_train_staging"
        " (2.0 MB), data/production (3.0 MB): make clean ALL=1 removes that too"
    )
    assert [path for path in before if not path.exists()] == []
    assert find_mysql(project / ".embedded")
    assert make("clean", "ALL=2").returncode == 2
    assert make("clean", "ALL=no").returncode == 2
    assert archive.exists()

    ended = make("clean", "ALL=1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not (project / ".embedded").exists()
    assert not archive.exists()
    assert find_process(data_folder(project / ".embedded"), "mysqld", is_removed=True) is None
    assert (Path(sys.prefix) / "bin" / "python").exists()  # .venv was a link
