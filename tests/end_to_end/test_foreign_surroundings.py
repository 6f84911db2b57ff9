"""The commands where nothing is as expected: a hostile shell, an odd folder, a user without a name or home."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.surroundings import copy_project

# Nobody listens at this port.
DEAD = "http://127.0.0.1:9"
HOSTILE = {
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), DEAD),
    "LC_ALL": "C",
    "SPARK_HOME": "/none/spark",
    "JAVA_TOOL_OPTIONS": "-Xnonsense",
    "DATASET": "test",
}

# As of `docker run --user 12345`. Processes of one such call see each other, so all commands are of one call.
# The machine's own name leads nowhere.
NAMELESS = 'hostname none.invalid && exec unshare --user --map-user=12345 --map-group=12345 "$@"'
NO_PASSWD_ENTRY = ["unshare", "--user", "--map-root-user", "--uts", "sh", "-c", NAMELESS, "sh"]

COMMANDS = """
set -e
python=.venv/bin/python
$python -m extract --check
$python -m embedded fill --scale 0.0001
$python -m embedded up
$python -m extract
{more}
$python -m embedded status
$python -m embedded down
"""
MORE = """
.venv/bin/dbt build --target test
$python -m pipeline.run_dbt --quiet docs generate --target test
$python -m report.summary
echo 'select count(*) from sample' | $python -m embedded sql
$python -m export
$python -m report
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A copy of the project in a folder whose name is no ASCII, and has what shells, URLs and options know."""
    copy = copy_project(tmp_path / "Ä ö'q\" %20#$x" / "project")
    yield copy
    subprocess.run([sys.executable, "-m", "embedded", "down"], cwd=copy, check=True)


@pytest.fixture(scope="module")
def nameless() -> list[str]:
    """What makes the user one without a name; nothing where the system lets its users make no others."""
    return [] if subprocess.run([*NO_PASSWD_ENTRY, "true"], check=False).returncode else NO_PASSWD_ENTRY


def test_a_hostile_shell_an_odd_folder_and_a_user_without_a_name_do_not_matter(
    project: Path, nameless: list[str]
) -> None:
    assert_all_succeed(project, nameless, "")


@pytest.mark.soak
@pytest.mark.parametrize("has_name", [True, False])
def test_no_command_minds_them(project: Path, nameless: list[str], has_name: bool) -> None:
    assert_all_succeed(project, [] if has_name else nameless, MORE)


def assert_all_succeed(project: Path, user: list[str], more: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HOME" or not user}
    ended = subprocess.run(
        [*user, "bash", "-c", COMMANDS.format(more=more)],
        cwd=project,
        env=environment | HOSTILE,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "staged in deepcvr_development_test_staging" in ended.stdout
    assert "MySQL: stopped in" in ended.stdout
