"""The dbt project on each supported server."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import MysqlSettings
from tests.integration.dbt.project import DATABASE, DbtProject, create_project
from tests.integration.dbt.staged_data import Tables, generate_load, stage


@pytest.fixture(scope="session")
def project(mysql: MysqlSettings, root: Path, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The dbt project, over each server in turn."""
    return create_project(tmp_path_factory.mktemp("dbt") / "root", root, mysql)


@pytest.fixture
def load(project: DbtProject, root: Path) -> Tables:
    """A complete load in staging, of which nothing has been built yet."""
    tables = generate_load()
    stage(project.mysql, DATABASE, tables, root)
    return tables
