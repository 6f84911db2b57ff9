"""The four tables of a database, built by dbt on each supported server, and what of them an export must hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.mysql import connect
from pipeline.settings import MysqlSettings, Settings, load_settings
from tests.integration.dbt.project import create_project
from tests.integration.dbt.staged_data import generate_load, stage

DATABASE = "deepcvr_development_test"
SAMPLES, GROUPS = 700, 40

# What the source does not have, but what the tables could take.
ODD_NAMES = ["a b", "A", "a", "a ", "1.2,3", "it's", "`", "new\nline", "%41"]
_PLANTED = [
    # A sample without features, one whose group is not there, and the largest numbers with the longest value.
    ("insert into sample values (0, 0, 1, %s), (4294967295, 1, 1, %s)", ["0" * 16, "f" * 16]),
    ("insert into feature values (0, '101'), (4294967295, '853')", []),
    ("insert into sample_feature values (4294967295, 4294967295, '-1234567890.12345678e-05')", []),
    ("insert into sample_feature values (4294967295, 0, '0.10')", []),
    # A group that no sample has.
    ("insert into common_feature_group values (%s, 4294967295, '1')", ["f" * 15 + "e"]),
]


@dataclass(frozen=True)
class Tables:
    """The built tables.

    Attributes:
        settings: of a run that exports them.
    """

    settings: Settings

    def query(self, statement: str, parameters: list[object] | None = None) -> list[tuple[object, ...]]:
        """Rows of a statement."""
        with closing(connect(self.settings.mysql, database=DATABASE)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    def insert(self, table: str, rows: list[tuple[object, ...]]) -> None:
        """Put rows into a table."""
        with closing(connect(self.settings.mysql, database=DATABASE)) as connection, connection.cursor() as cursor:
            cursor.executemany(f"insert into `{table}` values ({', '.join(['%s'] * len(rows[0]))})", rows)

    def features(self, table: str, key: str) -> set[tuple[object, ...]]:
        """Key, field, id and value of each feature in a table."""
        return set(
            self.query(
                f"select t.{key}, f.feature_name, t.feature_id, t.feature_value"
                f" from `{table}` as t inner join feature as f on t.feature_id = f.feature_id"
            )
        )


@pytest.fixture(scope="session")
def tables(mysql: MysqlSettings, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    """Generated rows and planted ones."""
    project = create_project(tmp_path_factory.mktemp("export") / "root", root, mysql)
    stage(mysql, DATABASE, generate_load(num_samples=SAMPLES, num_groups=GROUPS), root)
    succeeded, output = project.run("run", "--target", "test")
    assert succeeded, output
    settings = load_settings(root=root, environ={}, data_set="test")
    built = Tables(replace(settings, mysql=mysql))
    assert built.settings.database == DATABASE
    for statement, parameters in _PLANTED:
        built.query(statement, list(parameters))
    for number, name in enumerate(ODD_NAMES):
        built.query("insert into feature values (%s, %s)", [4_000_000_000 - number, name])
        built.query("insert into sample_feature values (%s, %s, '2.50')", [number + 1, 4_000_000_000 - number])
    yield built
    with closing(connect(mysql)) as connection, connection.cursor() as cursor:
        for name in (DATABASE, f"{DATABASE}_staging"):
            cursor.execute(f"drop database `{name}`")
