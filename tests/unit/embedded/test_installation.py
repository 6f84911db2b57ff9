"""Set-up does each part once, finishes what a killed run began, and says in one line what stands in its way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from embedded import installation, programs
from embedded.installation import install, install_packages
from embedded.setup import version_advice
from pipeline.errors import ServiceError, SettingsError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def pip_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces pip by a record of what it was asked to install, and the environment by its bare bones."""
    runs: list[str] = []

    def make(environment: Path) -> None:
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "python").symlink_to(sys.executable)
        (environment / installation._MARKER).touch()

    def run(_: Path, requirements: Sequence[Path], *__: object) -> None:
        runs.append("".join(path.read_text() for path in requirements))

    monkeypatch.setattr(installation, "_install_requirements", run)
    monkeypatch.setattr(installation, "_make_environment", make)
    return runs


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("one==1\n")
    return path


def test_packages_are_installed_once(
    tmp_path: Path, requirements: Path, pip_runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    install_packages(tmp_path / ".venv", [requirements])
    first = capsys.readouterr().out
    install_packages(tmp_path / ".venv", [requirements])
    assert pip_runs == ["one==1\n"]
    assert len(first.splitlines()) == 1
    assert capsys.readouterr().out == ""


def test_changed_requirements_are_installed_into_the_same_environment(
    tmp_path: Path, requirements: Path, pip_runs: list[str]
) -> None:
    install_packages(tmp_path / ".venv", [requirements])
    (tmp_path / ".venv" / "kept").touch()
    requirements.write_text("one==2\n")
    install_packages(tmp_path / ".venv", [requirements])
    assert pip_runs == ["one==1\n", "one==2\n"]
    assert (tmp_path / ".venv" / "kept").exists()


def test_what_the_checks_need_joins_what_the_run_needs_and_is_in_nobodys_way(
    tmp_path: Path, requirements: Path, pip_runs: list[str]
) -> None:
    checks = tmp_path / "requirements-checks.txt"
    checks.write_text("two==2\n")
    for wanted in ([requirements], [requirements, checks], [requirements, checks], [requirements]):
        install_packages(tmp_path / ".venv", wanted)
    assert pip_runs == ["one==1\n", "one==1\ntwo==2\n"]


@pytest.mark.usefixtures("pip_runs")
def test_an_installation_that_was_cut_short_is_made_anew(
    tmp_path: Path, requirements: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object) -> None:
        (tmp_path / ".venv" / "half-a-package").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(installation, "_install_requirements", break_off)
        with pytest.raises(KeyboardInterrupt):
            install_packages(tmp_path / ".venv", [requirements])
    install_packages(tmp_path / ".venv", [requirements])
    assert not (tmp_path / ".venv" / "half-a-package").exists()
    assert (tmp_path / ".venv" / "bin" / "python").exists()


def test_an_environment_that_has_moved_is_made_anew(tmp_path: Path, requirements: Path, pip_runs: list[str]) -> None:
    install_packages(tmp_path / "old", [requirements])
    (tmp_path / "old").rename(tmp_path / "new")
    install_packages(tmp_path / "new", [requirements])
    assert len(pip_runs) == 2


def test_an_environment_of_somebody_else_is_left_alone(tmp_path: Path, requirements: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "precious").touch()
    with pytest.raises(ServiceError, match="was not made by make setup: move it elsewhere or remove it"):
        install_packages(tmp_path / ".venv", [requirements])
    assert (tmp_path / ".venv" / "precious").exists()


@pytest.mark.usefixtures("pip_runs")
def test_nothing_is_unpacked_where_the_machine_has_all(
    tmp_path: Path, requirements: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del requirements
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("MYSQL_HOST", "db.example")
    monkeypatch.setattr(programs, "find_java", lambda _: tmp_path)
    (tmp_path / "spark_jobs" / "__pycache__").mkdir(parents=True)
    (tmp_path / "spark_jobs" / "__pycache__" / "explode.nbi").touch()
    (tmp_path / "requirements-dbt.txt").touch()
    install(tmp_path)
    capsys.readouterr()
    install(tmp_path)
    assert capsys.readouterr().out == ""
    assert (tmp_path / ".embedded").stat().st_mode & 0o777 == 0o700


def test_a_java_home_that_does_not_serve_is_a_mistake_in_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=r"JAVA_HOME is .*, no Java that runs; Spark needs Java 17 or later"):
        install(tmp_path)


def test_a_folder_that_no_path_can_name_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"a:b has a colon, .*: move the project elsewhere"):
        install(tmp_path / "a:b")
    with pytest.raises(SettingsError, match=r"b\udcfccher is not UTF-8 to this Python, .*: (move|set) "):
        install(Path(os.fsdecode("bücher".encode("latin-1"))))


def test_a_python_that_does_not_serve_is_told_which_one_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert version_advice((3, 14)) == (
        "Python 3.14 does not serve, 3.11 to 3.13 does: install one and run make PYTHON=python3.11"
    )
    (tmp_path / "python3.12").symlink_to("/bin/true")
    assert version_advice((3, 9)) == "Python 3.9 does not serve, 3.11 to 3.13 does: run make PYTHON=python3.12"


def test_set_up_needs_nothing_but_the_standard_library() -> None:
    code = "import embedded.installation, embedded.setup, sys; print(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) - {"__main__", "__mp_main__"} <= {"embedded", "pipeline"}


# What heeds a setting that others leave alone.
TARGETS = {"UPLOAD": "sample", "CLUSTERS": "sample", "MARGIN": "sample", "STRATA": "sample", "PORT": "docs"}


@pytest.mark.parametrize(
    "setting",
    [
        "DATASET=tset",
        "MODE=prod",
        "FORCE=maybe",
        "SOURCE=here",
        "MYSQL_HOST=db",
        "AWS_PROFILE=x\n",
        "UPLOAD=maybe",
        "CLUSTERS=2",
        "MARGIN=5",
        "STRATA=all",
        "PORT=x",
    ],
)
def test_a_mistake_in_the_settings_is_told_before_anything_is_set_up(root: Path, tmp_path: Path, setting: str) -> None:
    project = shutil.copytree(
        root, tmp_path / "project", symlinks=True, ignore=shutil.ignore_patterns(".venv", ".emb*")
    )
    name, _, value = setting.partition("=")
    # As on a machine whose Python has nothing but the standard library.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)

    ended = subprocess.run(
        [
            "make",
            "--no-print-directory",
            TARGETS.get(name, "report"),
            f"PYTHON={python}",
            *([setting] if name != "MYSQL_HOST" else []),
        ],
        cwd=project,
        env=os.environ | {name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    message, from_make = ended.stderr.splitlines()
    assert message.startswith(f"error: {name} ")
    assert from_make.endswith("Error 2")
    assert not any((project / folder).exists() for folder in (".venv", ".embedded"))
