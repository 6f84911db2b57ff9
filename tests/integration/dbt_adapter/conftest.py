"""The project that each class of dbt-tests-adapter makes for itself, on each supported server."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbt.adapters.factory import reset_adapters
from dbt.tests.fixtures.project import *  # noqa: F403 - fixtures, each found by its name
from dbt.tests.fixtures.project import TestProjInfo
from dbt.tests.util import run_sql_with_adapter
from dbt_common.tests import disable_test_caching

from embedded.mysql_server import connect_as_root
from pipeline.settings import MysqlSettings

_USERS = ("dbt_test_user_1", "dbt_test_user_2", "dbt_test_user_3")


@pytest.fixture(autouse=True)
def _the_environment_is_put_back() -> None:
    """Not after each test: dbt's fixtures have it hold for a class, and take back what they have set."""


@pytest.fixture(scope="class", autouse=True)
def _others_find_what_they_left() -> Iterator[None]:
    """Dbt caches what it has parsed, and says where it is and how it logs, for the whole process."""
    # Dbt would go on with the one that other tests have left, over their server.
    reset_adapters()  # type: ignore[no-untyped-call]
    folder, environment = Path.cwd(), dict(os.environ)
    yield
    disable_test_caching()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="class", autouse=True)
def _one_statement_at_a_time() -> Iterator[None]:
    """The server takes no more."""

    def run_each(project: TestProjInfo, sql: str, fetch: str | None = None) -> Any:
        statements = re.split(r";\s*$", sql.replace(" ilike ", " like "), flags=re.MULTILINE)
        *others, last = [each for each in statements if each.strip()] or [""]
        for each in others:
            run_sql_with_adapter(project.adapter, each)  # type: ignore[no-untyped-call]
        return run_sql_with_adapter(project.adapter, last, fetch=fetch)  # type: ignore[no-untyped-call]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TestProjInfo, "run_sql", run_each)
        yield


@pytest.fixture(scope="class")  # type: ignore[no-redef] # dbt's
def dbt_profile_target(mysql: MysqlSettings, users: None) -> dict[str, Any]:
    """Where the server is."""
    del users
    by_tcp = {"host": mysql.host, "port": mysql.port}
    address = by_tcp if mysql.host else {"unix_socket": str(mysql.unix_socket.absolute())}
    return {"type": "pymysql", "threads": 4, "user": mysql.user, "password": mysql.password, **address}


@pytest.fixture(scope="class")
def users(mysql: MysqlSettings) -> None:
    """Those that the tests of grants know by these variables."""
    with connect_as_root(mysql.unix_socket.parent) as connection, connection.cursor() as cursor:
        for number, user in enumerate(_USERS, start=1):
            cursor.execute(f"create user if not exists {user}")
            os.environ[f"DBT_TEST_USER_{number}"] = user


@pytest.fixture(scope="class")  # type: ignore[no-redef] # dbt's
def logs_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Not in the checkout."""
    folder = str(tmp_path_factory.mktemp("logs"))
    os.environ["DBT_LOG_PATH"] = folder
    yield folder
    os.environ.pop("DBT_LOG_PATH", None)


@pytest.fixture(scope="class")  # type: ignore[no-redef] # dbt's
def test_data_dir(request: pytest.FixtureRequest) -> Path:
    """The package's own files, beside the class that is tested."""
    assert request.cls
    return Path(inspect.getfile(request.cls.__mro__[-2])).parent / "data"
