"""A copy of the project, as a new user has it after `make setup`, with data and servers of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.surroundings import copy_project

Shell = Callable[..., subprocess.CompletedProcess[str]]


def environment_of(project: Path) -> dict[str, str]:
    """The environment of somebody who has set nothing, with a home of his own."""
    return os.environ | {"HOME": str(project / ".home")}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The copy."""
    copy = copy_project(tmp_path_factory.mktemp("project"))
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
