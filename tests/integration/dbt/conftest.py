"""The dbt project on each supported server."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import MysqlSettings
from tests.integration.dbt.project import DATABASE, STAGING, DbtProject, Published, create_project, expected_contents
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
    project.succeed("run")
    return Published(load, expected_contents(load), project.schema())


@pytest.fixture
def published(project: DbtProject, built: Published, root: Path) -> Published:
    """The load, staged and built. It is made again only if a test before this one left something else behind."""
    if any(project.rows(table, database=STAGING) != sorted(rows) for table, rows in built.load.items()):
        stage(project.mysql, DATABASE, built.load, root)
    if project.schema() != built.schema or project.contents() != built.contents:
        project.succeed("run")
    return built
