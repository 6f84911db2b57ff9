"""`--help` teaches each command: what it does, calls of it, where its settings come from, and its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Jobs that Spark submits, and measurements of one thing, are called otherwise or by few.
COMMANDS = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__main__")
    for path in ROOT.glob("[!.]*/*.py")
    if '__name__ == "__main__"' in path.read_text() and path.parts[-2] not in ("docs", "spark_jobs", "tests")
    if path.parts[-2] != "benchmarks" or path.stem == "__main__"
    if path.stem != "run_dbt"  # whose help is dbt's
)
OTHERS = [["benchmarks.document"], ["spark_jobs.draw_sample"], ["spark_jobs.explode_features"]]
OTHERS += [["embedded", name] for name in ("up", "down", "sql", "status", "generate", "fill")]
WITHOUT_ENVIRONMENT = {"benchmarks"}


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def test_the_commands_are_found() -> None:
    assert {"extract", "extract.sample", "embedded", "embedded.setup", "report.summary"} <= set(COMMANDS)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_teaches(root: Path, module: str) -> None:
    ended = run(root, module, "--help")

    assert (ended.returncode, ended.stderr) == (0, "")
    parts = dict(
        re.findall(r"^(\w[\w ]*?)(?: \([^)]*\))?: ?\n?(.*?)(?=\n\n|\Z)", ended.stdout, re.MULTILINE | re.DOTALL)
    )
    assert {"options", "examples", "exit codes"} <= parts.keys()
    assert module in WITHOUT_ENVIRONMENT or "environment" in parts
    assert re.search(rf"^  .*(-m {re.escape(module)}\b)", parts["examples"], re.MULTILINE)
    assert re.search(r"\b0 .*; .*\b1 .*; .*\b2 ", parts["exit codes"], re.DOTALL)
    assert "130 ended by Ctrl-C (SIGINT), 143 by SIGTERM" in parts["exit codes"]
    assert "%%" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 120


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_the_help_of_the_rest_is_as_a_person_writes_it(root: Path, words: list[str]) -> None:
    ended = run(root, *words, "--help")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "%" not in ended.stdout.replace("10%", "").replace("0.1 %", "")
    assert ("130 ended by Ctrl-C" in ended.stdout) == (words[0] != "embedded")


@pytest.mark.parametrize("module", COMMANDS)
def test_a_mistake_in_the_call_is_told_with_the_usage_and_exit_code_2(root: Path, module: str) -> None:
    ended = run(root, module, "--no-such-option")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: ")
    assert "Traceback" not in ended.stderr
