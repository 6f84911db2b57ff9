"""Commands that messages advise go on with the same data set, mode and source, and no message writes one by hand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commands import dbt_command, make_command, python_command
from pipeline.settings import load_settings
from report.summary import next_line

ROOT = Path(__file__).resolve().parents[3]
TRAIN, TEST = ("development", "train"), ("development", "test")
PRODUCTION = ("production", "test")


@pytest.fixture(autouse=True)
def _active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


@pytest.mark.parametrize(
    ("about", "environment", "make", "dbt"),
    [
        (TRAIN, {}, "make extract", "dbt run"),
        (TEST, {}, "make extract DATASET=test", "dbt run --target test"),
        (PRODUCTION, {}, "make extract DATASET=test MODE=production", "MODE=production dbt run --target test"),
        # What a shell has set and an option has overruled must be said, though it is the default.
        (TRAIN, {"MODE": "production"}, "make extract MODE=development", "MODE=development dbt run"),
        (TRAIN, {"DEEPCVR_MODE": "production"}, "make extract MODE=development", "DEEPCVR_MODE=development dbt run"),
        (TRAIN, {"DATASET": "test"}, "make extract DATASET=train", "dbt run"),
        # As make says it to what it starts.
        (
            PRODUCTION,
            {"DEEPCVR_MODE": "production", "DATASET": "test"},
            "make extract DATASET=test MODE=production",
            "MODE=production dbt run --target test",
        ),
        (TRAIN, {"SOURCE": "s3://b/a prefix"}, "make extract SOURCE='s3://b/a prefix'", "dbt run"),
    ],
)
def test_a_command_names_what_the_shell_would_not_choose_by_itself(
    about: tuple[str, str], environment: dict[str, str], make: str, dbt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert make_command("extract", about) == make
    assert dbt_command("run", about) == dbt


def test_settings_say_what_a_command_is_about(root: Path) -> None:
    settings = load_settings(root=root, environ={}, mode="production", data_set="test")
    assert make_command("sample", settings, FORCE=1) == "make sample DATASET=test MODE=production FORCE=1"
    assert next_line(settings).count(" DATASET=test MODE=production (") == 3


def test_a_program_that_no_shell_finds_is_named_by_its_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert python_command("embedded up") == "python -m embedded up"
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    command = dbt_command("--version", TRAIN)
    assert command == ".venv/bin/dbt --version"
    subprocess.run(command, shell=True, cwd=root, check=True, capture_output=True)


# Of what a person types; a name of a command that another process runs is no advice.
_ADVICE = re.compile(
    r"(?<!another )(?<!\b[aA] )(?<!or )(?<!that )(?<!which )(?<!made by )"
    r"\b(?:make (?:extract|run|sample|export|report|docs|sql|up|setup|clean)"
    r"|dbt (?:run|build|test|docs|seed)|python3? -m)\b(?! is | was | that )"
)
_HELP = re.compile(r"_(EXAMPLES|DESCRIPTION|ENVIRONMENT)$")
_OF_HELP = {"help", "description", "epilog", "prog", "examples", "environment"}


def told_by_hand(tree: ast.AST) -> Iterator[ast.Constant]:
    """Texts of a program with a command in them, but for those of its help and of its documentation."""
    for node in ast.iter_child_nodes(tree):
        is_help = isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and _HELP.search(target.id) for target in node.targets
        )
        is_documentation = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_parser = isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "command_parser",
            "add_parser",
            "ArgumentParser",
            "add_argument",
        )
        if is_help or is_documentation or is_parser or (isinstance(node, ast.keyword) and node.arg in _OF_HELP):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ADVICE.search(node.value):
            yield node
        yield from told_by_hand(node)


def test_no_message_of_a_program_writes_a_command_by_hand() -> None:
    assert list(told_by_hand(ast.parse("raise E(f'{x} is gone: run make extract')")))
    paths = [
        path
        for folder in ("pipeline", "extract", "spark_jobs", "embedded", "report", "export")
        for path in (ROOT / folder).rglob("*.py")
    ]
    found = {
        f"{path.relative_to(ROOT)}: {node.value!r}"
        for path in paths
        if path.name != "commands.py"
        for node in told_by_hand(ast.parse(path.read_text()))
    }
    assert found == set()


def test_no_message_of_a_macro_writes_a_command_by_hand() -> None:
    paths = [path for path in (ROOT / "dbt_project").rglob("*.sql") if path.name != "commands.sql"]
    assert paths
    for path in paths:
        code = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
        assert [text for text in re.findall(r"\"[^\"]*\"", code) if _ADVICE.search(text)] == [], path
