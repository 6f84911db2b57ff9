"""A copy of the project, as a new user has it after `make setup`, with data and servers of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Shell = Callable[..., subprocess.CompletedProcess[str]]

# Whatever the person who runs the tests has set must not reach the commands.
_PREFIXES = ("AWS_", "MYSQL_", "DEEPCVR_", "DBT_", "SPARK_", "PYSPARK_", "MAKE", "MFLAGS")
_NAMES = ("DATASET", "MODE", "FORCE", "SCALE", "VIRTUAL_ENV")


def copy_project(root: Path, copy: Path) -> None:
    """Copy what git has or would add, and link what set-up has provided."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name, follow_symlinks=False)
    for compiled in (root / "spark_jobs").glob("**/__pycache__/*.nb[ci]"):
        (copy / compiled.relative_to(root)).parent.mkdir(exist_ok=True)
        shutil.copy2(compiled, copy / compiled.relative_to(root))
    (copy / ".venv").symlink_to(root / ".venv")
    (copy / ".embedded").mkdir(mode=0o700)
    for provided in ("mysql", "java", "mycli"):
        if (root / ".embedded" / provided).exists():
            (copy / ".embedded" / provided).symlink_to(root / ".embedded" / provided)


def environment_of(project: Path) -> dict[str, str]:
    """The environment of somebody who has set nothing, with a home of his own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES) and name not in _NAMES}
    return clean | {"HOME": str(project / ".home")}


@pytest.fixture(scope="session")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The copy."""
    copy = tmp_path_factory.mktemp("project")
    copy_project(root, copy)
    yield copy
    subprocess.run(["make", "down"], cwd=copy, check=True)


@pytest.fixture(scope="session")
def typed() -> list[str]:
    """The lines that the tests have typed so far."""
    return []


@pytest.fixture(scope="session")
def shell(project: Path, typed: list[str]) -> Shell:
    """Runs a line as a person types it at the project's root."""

    def run(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
        typed.append(line)
        return subprocess.run(
            ["bash", "-c", line],
            cwd=project,
            env=environment_of(project) | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
