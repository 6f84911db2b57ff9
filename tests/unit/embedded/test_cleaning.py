"""`make clean` removes what .gitignore lists, wherever it stands, and nothing else; what is dear only when asked to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from embedded import cleaning
from embedded.cleaning import ANYWHERE, AT_ROOT, clean
from pipeline.errors import UsageError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with files of its own, one below each name that is removed elsewhere."""
    for name in ("README.md", "target.md", "dbt_project/data/kept", "tests/logs/kept", ".git/objects/artifacts/kept"):
        put(tmp_path / name)
    return tmp_path


def put(path: Path, size: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"1" * size)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_what_gitignore_lists_is_removed_and_nothing_else(root: Path) -> None:
    lines = (root / ".gitignore").read_text().splitlines()
    assert {line.strip("/") for line in lines if line.startswith("/")} == set(AT_ROOT)
    assert {line.strip("/") for line in lines if not line.startswith("/")} == set(ANYWHERE)


def test_all_of_it_goes_and_the_projects_own_files_stay(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put(elsewhere / "kept")
    before = files(project)
    for name in AT_ROOT:
        put(project / name / "development" / "made")
    (project / "data" / "link").symlink_to(elsewhere)
    for name in ANYWHERE:
        put(project / "tests" / "unit" / name.replace("*", "some") / "made")
    (project / ".checks").rename(project / "checks")
    (project / ".checks").symlink_to(elsewhere)
    (project / "checks" / "development" / "made").unlink()

    clean(project, lambda _: None, everything=True)
    assert files(project) == before
    assert files(elsewhere) == {"kept"}
    clean(project, lambda _: None, everything=False)
    assert files(project) == before


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("data/production/archives/taobao_train.tar.gz", "data/production"),
        ("data/production/export/train/manifest.json", "data/production"),
        ("data/taobao_train.tar.gz", "data/taobao_train.tar.gz"),
        (".embedded/data/mysql/deepcvr_train/sample.ibd", "database deepcvr_train"),
        (".embedded/data/mysql/mine/notes.ibd", "database mine"),
    ],
)
def test_what_was_not_made_in_development_is_removed_only_when_asked_for(project: Path, path: str, named: str) -> None:
    put(project / path, 5_000)
    put(project / "logs" / "dbt.log")
    before = files(project)
    with pytest.raises(UsageError, match=rf"make again: {re.escape(named)} \([\d.]+ kB\): make clean ALL=1 removes"):
        clean(project, lambda _: None, everything=False)
    assert files(project) == before

    clean(project, lambda _: None, everything=True)
    assert not (project / path).exists()


@pytest.mark.parametrize(
    "path",
    [
        "data/development/archives/taobao_train.tar.gz",
        ".embedded/data/mysql/deepcvr_development_train/sample.ibd",
        ".embedded/data/s3/1.dat",
    ],
)
def test_what_development_mode_has_is_removed_unless_it_is_large(
    project: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project / path, 100_000)
    put(project / "data/production/archives/.train.lock")
    (project / ".embedded/data/mysql/deepcvr_train").mkdir(parents=True)
    put(project / ".embedded/data/mysql/mysql/user.ibd", 200_000)
    put(project / ".embedded/data/mysql/#innodb_redo/log", 200_000)
    with monkeypatch.context() as patch:
        patch.setattr(cleaning, "_LARGEST_MADE_IN_MINUTES", 50_000)
        with pytest.raises(UsageError, match="may take hours to make again: "):
            clean(project, lambda _: None, everything=False)
    assert (project / path).exists()

    clean(project, lambda _: None, everything=False)
    assert not (project / path).exists()
