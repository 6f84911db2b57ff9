from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.mysql import MysqlConnection
from pipeline.registry import open_registry, supersede_load
from pipeline.settings import MysqlSettings, Settings, load_settings
from spark_jobs.staging import empty_staging_tables


@pytest.fixture
def staging(mysql: MysqlSettings, root: Path) -> Iterator[MysqlConnection]:
    """A connection to a staging database with empty tables and no current load."""
    with closing(open_registry(settings_for(mysql, root))) as connection:
        supersede_load(connection)
        empty_staging_tables(connection)
        yield connection


def settings_for(mysql: MysqlSettings, root: Path) -> Settings:
    return replace(load_settings(root=root, environ={}), mysql=mysql, database="deepcvr_landing")
