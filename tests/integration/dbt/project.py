"""The dbt project as a user has it: the files of the root, a folder for the embedded services, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.results import RunExecutionResult, RunResult

from pipeline.mysql import connect
from pipeline.settings import MysqlSettings
from tests.integration.dbt.staged_data import Tables

DATABASE = "deepcvr_development_train"
STAGING = f"{DATABASE}_staging"
_SOUND = ("success", "pass", "no-op")
TABLES = ("sample", "feature", "sample_feature", "common_feature_group")
_PARSED: dict[str, Manifest] = {}


@dataclass(frozen=True)
class DbtProject:
    """A folder to run dbt in, and the server that its profile leads to.

    Attributes:
        folder: the project's files; `target` and `logs` are its own.
        mysql: the server.
        environment: what dbt is run with.
    """

    folder: Path
    mysql: MysqlSettings
    environment: dict[str, str]

    def start(self, *arguments: str, folder: Path | None = None, **variables: str) -> subprocess.Popen[str]:
        """Start dbt with these arguments and further variables in its environment, here or elsewhere."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("dbt"), "--no-use-colors", *arguments],
            cwd=folder or self.folder,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, folder: Path | None = None, **variables: str) -> tuple[bool, str]:
        """Run dbt to its end: whether it succeeded, and what it printed."""
        process = self.start(*arguments, folder=folder, **variables)
        output, _ = process.communicate(timeout=120)
        return process.returncode == 0, output

    def attempt(self, *arguments: str) -> tuple[bool, str]:
        """As `run`, inside this process: what the project's files and the environment say has been read already."""
        told: list[Any] = []  # their type in dbt does not know of the message
        outcome = self._invoke(*arguments, callback=told.append)
        return outcome.success, "\n".join(event.info.msg for event in told if event.info.level != "debug")

    def succeed(self, *arguments: str) -> None:
        """Run dbt, which must succeed."""
        unsound = {run.node.name: run.message for run in self._results(*arguments) if str(run.status) not in _SOUND}
        assert not unsound

    def failed_tests(self, *arguments: str) -> set[str]:
        """Names of the tests that fail or warn, of all or of those that are selected."""
        return {run.node.name for run in self._results("test", *arguments) if str(run.status) not in _SOUND}

    def _results(self, *arguments: str) -> Sequence[RunResult]:
        outcome = self._invoke(*arguments)
        assert outcome.exception is None, outcome.exception
        assert isinstance(outcome.result, RunExecutionResult)
        return outcome.result.results

    def _invoke(self, *arguments: str, callback: Callable[[Any], None] = lambda _: None) -> dbtRunnerResult:
        """Run dbt inside this process and with the project parsed once, which saves its start."""
        with self._at_home():
            # A copy, for dbt writes what it has compiled into it.
            runner = dbtRunner(manifest=deepcopy(self._manifest), callbacks=[callback])
            return runner.invoke(["--quiet", *arguments])

    @property
    def _manifest(self) -> Manifest:
        """Of the train target in a mode, whose databases have the same names on every server."""
        mode = self.environment.get("DEEPCVR_MODE", "")
        if mode not in _PARSED:
            with self._at_home():
                manifest = dbtRunner().invoke(["--quiet", "parse"]).result
            assert isinstance(manifest, Manifest)
            _PARSED[mode] = manifest
        return _PARSED[mode]

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    def query(self, *statements: str, database: str = DATABASE) -> list[tuple[object, ...]]:
        """Rows of the last of some statements."""
        with closing(connect(self.mysql, database=database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def wait_for_killed(self) -> None:
        """Wait until the server has ended what a killed client asked for."""
        while self.query(
            "select id from information_schema.processlist"
            f" where id <> connection_id() and command = 'Query' and info like '%{DATABASE}%'"
        ):
            time.sleep(0.01)

    def schema(self) -> dict[str, str]:
        """The definition of each base table in the database, whatever its name."""
        names = self.query("show full tables where table_type = 'BASE TABLE'")
        return {str(name): str(self.query(f"show create table `{name}`")[0][1]) for name, _ in names}

    def rows(self, table: str, *, database: str = DATABASE) -> list[tuple[object, ...]]:
        """All rows of a table, sorted."""
        return sorted(self.query(f"select * from `{table}`", database=database))

    def checksums(self, database: str, *tables: str) -> dict[str, object]:
        """What the server makes of the rows of tables, by their names; None for one that is not there."""
        names = ", ".join(f"`{database}`.`{table}`" for table in tables)
        return {str(name): checksum for name, checksum in self.query(f"checksum table {names}", database=STAGING)}

    def contents(self) -> dict[str, list[tuple[object, ...]]]:
        """All rows of the four tables, sorted."""
        return {table: self.rows(table) for table in TABLES}


@dataclass(frozen=True)
class Published:
    """A load that was staged and built.

    Attributes:
        load: rows per staging table.
        contents: rows per published table.
        schema: definition of each table in the database.
        checksums: of the staged and the published tables, where tests share them.
    """

    load: Tables
    contents: dict[str, list[tuple[object, ...]]]
    schema: dict[str, str]
    checksums: dict[str, object] = field(default_factory=dict)


def expected_contents(load: Tables) -> dict[str, list[tuple[object, ...]]]:
    """What the four tables must hold of a load."""
    return {
        "sample": sorted(row[:4] for row in load["sample"]),
        "feature": sorted(load["feature"]),
        "sample_feature": sorted(row for row in load["sample_feature"]),
        "common_feature_group": sorted(row for row in load["common_feature_group"]),
    }


def create_project(folder: Path, root: Path, mysql: MysqlSettings) -> DbtProject:
    """Make a folder that stands for the root of the project, with the profile's server in the place it names."""
    (folder / ".embedded").mkdir(parents=True)
    for name in ("dbt_project.yml", "profiles.yml", "selectors.yml", "pipeline.yml"):
        (folder / name).symlink_to(root / name)
    shutil.copytree(root / "dbt_project", folder / "dbt_project")
    if mysql.host is None:
        (folder / ".embedded/mysql.sock").symlink_to(mysql.unix_socket.absolute())
    environment = dict(os.environ)
    if mysql.host is not None:
        environment |= {
            "MYSQL_HOST": mysql.host,
            "MYSQL_PORT": str(mysql.port),
            "MYSQL_USER": mysql.user,
            "MYSQL_PASSWORD": mysql.password,
        }
    return DbtProject(folder, mysql, environment)
