"""The dbt project on each supported server."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import MysqlSettings
from tests.integration.dbt.project import (
    DATABASE,
    STAGING,
    TABLES,
    DbtProject,
    Published,
    create_project,
    expected_contents,
)
from tests.integration.dbt.staged_data import generate_load, stage


@pytest.fixture(scope="session")
def project(mysql: MysqlSettings, root: Path, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The dbt project, over each server in turn."""
    return create_project(tmp_path_factory.mktemp("dbt") / "root", root, mysql)


@pytest.fixture(scope="session")
def built(project: DbtProject, root: Path) -> Published:
    """A load of a size that takes dbt long enough to be caught at work."""
    load = generate_load(num_samples=2000, num_groups=60)
    stage(project.mysql, DATABASE, load, root)
    # Each run of tests adds a row to test_run, which no build reads.
    staged = project.checksums(STAGING, *(load.keys() - {"test_run"}))
    project.succeed("run")
    return Published(load, expected_contents(load), project.schema(), staged | project.checksums(DATABASE, *TABLES))


@pytest.fixture
def published(project: DbtProject, built: Published, root: Path) -> Published:
    """The load, staged and built. It is made again only if a test before this one left something else behind."""
    if not project.checksums(STAGING, *(built.load.keys() - {"test_run"})).items() <= built.checksums.items():
        stage(project.mysql, DATABASE, built.load, root)
    if project.schema() != built.schema or not project.checksums(DATABASE, *TABLES).items() <= built.checksums.items():
        project.succeed("run")
    return built
