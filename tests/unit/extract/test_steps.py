from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from extract import steps
from extract.__main__ import main
from pipeline.errors import SettingsError, UsageError
from pipeline.settings import Settings, load_settings


def declare(tmp_path: Path, root: Path, extract: list[dict[str, Any]] | None = None) -> Settings:
    declared = yaml.safe_load((root / "pipeline.yml").read_text())
    declared["extract"] = extract or declared["extract"]
    (tmp_path / "pipeline.yml").write_text(yaml.safe_dump(declared))
    return load_settings(root=tmp_path, environ={})


def test_the_declared_steps_run_in_their_order(tmp_path: Path, root: Path) -> None:
    settings = declare(tmp_path, root)
    assert [step.name for step in steps.choose_steps(settings, None)] == ["download", "unpack", "explode"]
    assert [step.name for step in steps.choose_steps(settings, "unpack")] == ["unpack"]


def test_a_step_that_is_not_declared_is_named_with_those_that_are(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UsageError, match=r"no step 'load'.*download, unpack, explode"):
        steps.choose_steps(declare(tmp_path, root), "load")


def test_a_task_that_is_no_module_is_a_mistake_in_the_settings(tmp_path: Path, root: Path) -> None:
    settings = declare(tmp_path, root, [{"name": "load", "task": "extract.no_such"}])
    with pytest.raises(SettingsError, match=r"pipeline.yml: step load has the task 'extract.no_such'"):
        steps.choose_steps(settings, None)


@pytest.mark.parametrize(
    ("task", "parameters", "message"),
    [
        ("extract.download", {"part_sise": 1}, "step download has no parameter 'part_sise'.*part_size"),
        ("extract.download", {"part_size": "big"}, "part_size is 'big'"),
        ("extract.download", {"connections": 0}, "connections is 0"),
        ("extract.download", {"connections": True}, "connections is True"),
        ("extract.download", {"connections": "4"}, "connections is '4'"),
        ("extract.download", {"check_etag": "no"}, "check_etag is 'no'"),
        ("extract.unpack", {"threads": 2}, "step unpack has no parameter 'threads'"),
        ("spark_jobs.explode_features", {"partition_sise": 1}, "step explode has no parameter 'partition_sise'"),
        ("spark_jobs.explode_features", {"partition_size": 0}, "partition_size is 0"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_before_any_step_is_run(
    tmp_path: Path, root: Path, task: str, parameters: dict[str, Any], message: str
) -> None:
    declared = [{"name": "fine", "task": "extract.unpack"}, {"name": "odd", "task": task, **parameters}]
    settings = declare(tmp_path, root, declared)
    with pytest.raises(SettingsError, match=message):
        steps.run(settings)


def test_a_module_that_is_no_task_is_refused(tmp_path: Path, root: Path) -> None:
    settings = declare(tmp_path, root, [{"name": "load", "task": "spark_jobs.grammar"}])
    with pytest.raises(SettingsError, match=r"'spark_jobs\.grammar', which is no task of a step"):
        steps.choose_steps(settings, None)


def test_help_needs_no_package(root: Path) -> None:
    program = """
import sys
from extract.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
heavy = {"boto3", "pymysql", "pyspark", "yaml", "isal"} & sys.modules.keys()
assert not heavy, heavy
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert "examples:" in ended.stdout


def test_check_in_production_mode_without_credentials_says_what_to_set(root: Path) -> None:
    command = [sys.executable, "-m", "extract", "--check", "--mode", "production"]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert "AWS_ACCESS_KEY_ID" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "no-such"], "DATASET is 'no-such'"),
        (["--mode", "staging"], "MODE is 'staging'"),
        (["--step", "no-such"], "there is no step 'no-such'"),
    ],
)
def test_a_mistake_in_the_call_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--check"]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
