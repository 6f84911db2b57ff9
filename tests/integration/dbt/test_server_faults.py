"""What becomes of `dbt run` when the server fails, waits or is short of something."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.integration.dbt.project import DATABASE, STAGING, DbtProject, create_project, expected_contents
from tests.integration.dbt.staged_data import Tables, generate_load, stage
from tests.servers import MARIADB_IN_SOAK, FragileServer

mariadb_in_soak = pytest.mark.parametrize("fragile", MARIADB_IN_SOAK, indirect=True)


@pytest.fixture(scope="module")
def load() -> Tables:
    return generate_load(num_samples=2000, num_groups=60)


@pytest.fixture(scope="module")
def folder(fragile: FragileServer, root: Path, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The dbt project over a server that tests may kill."""
    return create_project(tmp_path_factory.mktemp("dbt_faults") / "root", root, fragile.settings)


@pytest.fixture
def project(folder: DbtProject, load: Tables, root: Path) -> DbtProject:
    """The same with a load staged and nothing built."""
    stage(folder.mysql, DATABASE, load, root)
    return folder


@mariadb_in_soak
def test_a_server_that_is_killed_during_a_run_is_named_and_the_next_run_builds_everything(
    fragile: FragileServer, project: DbtProject, load: Tables
) -> None:
    process = project.start("run")
    while process.poll() is None and not project.query("show tables like 'sample\\_feature\\_\\_next'"):
        time.sleep(0.001)
    fragile.kill()
    output, _ = process.communicate(timeout=120)
    fragile.start()

    assert process.returncode in (1, 2), output  # 2 where a hook at the end meets no server
    assert "Lost connection to MySQL server" in output or "Can't connect to MySQL server" in output
    assert "Traceback" not in output
    project.succeed("run")
    assert project.contents() == expected_contents(load)
    assert set(project.schema()) == {*expected_contents(load), "feature_field"}


@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_a_disk_that_fills_up_during_a_run_is_named_and_the_next_run_builds_everything(
    fragile: FragileServer, project: DbtProject, load: Tables
) -> None:
    with fragile.shared_space_filled():
        succeeded, output = project.attempt("run")
    assert not succeeded
    assert re.search(r"The table '\w+' is full", output), output
    assert "Traceback" not in output
    project.succeed("run")
    assert project.contents() == expected_contents(load)


@mariadb_in_soak
def test_an_open_transaction_of_another_client_stops_a_run_after_a_while_and_does_no_harm(
    fragile: FragileServer, project: DbtProject, load: Tables
) -> None:
    project.succeed("run")
    macro = project.folder / "dbt_project/macros/publication/table.sql"
    text = macro.read_text()
    assert text.count("lock_wait_timeout = 300") == 1
    macro.write_text(text.replace("lock_wait_timeout = 300", "lock_wait_timeout = 1"))
    with fragile.connection(DATABASE) as cursor:
        cursor.execute("begin")
        cursor.execute("select * from sample limit 1")
        succeeded, output = project.run("run")
        assert not succeeded
        assert "Lock wait timeout exceeded" in output
    assert project.contents() == expected_contents(load)
    macro.write_text(text)
    project.succeed("run")
    assert project.contents() == expected_contents(load)


@mariadb_in_soak
def test_a_server_without_strict_mode_clips_nothing(fragile: FragileServer, project: DbtProject, load: Tables) -> None:
    with fragile.variable("sql_mode", "''"):
        project.succeed("run")
        assert project.contents() == expected_contents(load)
        project.query(
            "alter table sample_feature modify feature_value varchar(40) character set ascii collate ascii_bin",
            "update sample_feature set feature_value = repeat('9', 40) limit 1",
            database=STAGING,
        )
        succeeded, output = project.attempt("run")
    assert not succeeded
    assert re.search(r"Data (too long|truncated) for column 'feature_value'", output), output
    assert project.contents() == expected_contents(load)


@mariadb_in_soak
def test_a_small_max_allowed_packet_is_enough(fragile: FragileServer, project: DbtProject, load: Tables) -> None:
    with fragile.variable("max_allowed_packet", "65536"):
        project.succeed("run")
    assert project.contents() == expected_contents(load)


@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_a_server_that_wants_a_key_for_each_table_gets_it(
    fragile: FragileServer, root: Path, tmp_path: Path, load: Tables
) -> None:
    with fragile.variable("sql_require_primary_key", "1"):
        stage(fragile.settings, DATABASE, load, root)
        project = create_project(tmp_path / "root", root, fragile.settings)
        project.succeed("build")
        project.query("drop table feature_field")
        project.succeed("run")
        assert project.contents() == expected_contents(load)


@pytest.mark.parametrize("password", [" 0123 ", "{{ 7 }} {% x %} '\"\\ #ü"])
@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_any_password_reaches_the_server_as_it_is(
    fragile: FragileServer, root: Path, tmp_path: Path, password: str
) -> None:
    with fragile.user("odd", password) as odd:
        succeeded, output = create_project(tmp_path / "root", root, odd).run("debug")
    assert succeeded, output
    assert password not in output


def documented_grants(root: Path) -> list[str]:
    """The statements that docs/mysql.md tells an administrator to run, but for the first, which makes the user."""
    (block,) = re.findall(r"```sql\n(.+?)```", (root / "docs/mysql.md").read_text(), re.DOTALL)
    return [" ".join(statement.split()) for statement in block.split(";") if statement.strip()][1:]


def test_the_documented_grants_are_enough_for_a_user_of_a_server_of_ones_own(
    fragile: FragileServer, load: Tables, root: Path, tmp_path: Path
) -> None:
    with fragile.user("deepcvr_elt", "a b", grants=documented_grants(root)) as user:
        drop_databases(fragile)
        stage(user, DATABASE, load, root)
        project = create_project(tmp_path / "root", root, user)
        for arguments in (["build"], ["docs", "generate"]):
            succeeded, output = project.attempt(*arguments)
            assert succeeded, output
        assert project.contents() == expected_contents(load)


def drop_databases(server: FragileServer) -> None:
    for name in (DATABASE, STAGING):
        server.as_root(f"drop database if exists {name}")
