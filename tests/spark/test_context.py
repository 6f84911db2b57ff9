"""Whose word counts for Spark's settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.surroundings import spark_environment

SCRIPT = """
import json, sys
from pathlib import Path
from pipeline.settings import load_settings
from spark_jobs.context import spark_context

with spark_context(load_settings(), log=Path(sys.argv[1])) as context:
    print(json.dumps({"master": context.master, **dict(context.getConf().getAll())}))
"""

DECLARED = (
    "spark.master local[3]\nspark.executor.memory 700m\nspark.driver.memory 600m\nspark.ui.showConsoleProgress true\n"
)


def spark_settings(folder: Path, root: Path, *command: str, **environment: str) -> dict[str, str]:
    """The settings of a context of a process that finds a spark-defaults.conf."""
    (folder / "conf").mkdir()
    (folder / "conf" / "spark-defaults.conf").write_text(DECLARED)
    (folder / "script.py").write_text(SCRIPT)
    answer = subprocess.run(
        [*command, str(folder / "script.py"), str(folder / "spark.log")],
        cwd=folder,
        env=spark_environment() | {"PYTHONPATH": str(root), "SPARK_CONF_DIR": str(folder / "conf")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    settings: dict[str, str] = json.loads(answer.stdout)
    return settings


def test_spark_defaults_go_before_those_of_the_project(root: Path, tmp_path: Path) -> None:
    settings = spark_settings(tmp_path, root, sys.executable)

    assert settings["master"] == "local[3,4]"  # a failed task is run again
    assert settings["spark.executor.memory"] == "700m"
    assert settings["spark.driver.memory"] == "600m"
    assert settings["spark.ui.showConsoleProgress"] == "true"
    assert settings["spark.ui.enabled"] == "false"  # the project's own


def test_spark_submits_arguments_go_before_everything(root: Path, tmp_path: Path) -> None:
    command = ("spark-submit", "--master", "local[1,2]", "--conf", "spark.executor.memory=800m")
    settings = spark_settings(tmp_path, root, *command)

    assert settings["master"] == "local[1,2]"
    assert settings["spark.executor.memory"] == "800m"
    assert settings["spark.ui.showConsoleProgress"] == "true"


def test_the_environments_master_goes_before_the_declared_one(root: Path, tmp_path: Path) -> None:
    assert spark_settings(tmp_path, root, sys.executable, SPARK_MASTER="local[2]")["master"] == "local[2,4]"


@pytest.mark.parametrize(
    ("master", "expected"),
    [("local", "local[1,4]"), ("local[*]", "local[*,4]"), ("local[2,1]", "local[2,1]"), ("yarn", "yarn")],
)
def test_only_a_local_master_that_names_no_attempts_is_given_them(master: str, expected: str) -> None:
    from spark_jobs.context import _with_attempts

    assert _with_attempts(master) == expected
