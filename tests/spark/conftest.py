from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline.mysql import MysqlConnection
from pipeline.registry import open_registry, supersede_load
from pipeline.settings import Settings
from spark_jobs.staging import empty_staging_tables


@pytest.fixture
def registry(settings: Settings) -> Iterator[MysqlConnection]:
    """A connection to the staging database of a test's settings, where nothing has been loaded."""
    with closing(open_registry(settings)) as connection:
        supersede_load(connection)
        empty_staging_tables(connection)
        yield connection
