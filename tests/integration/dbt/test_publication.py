"""The four tables: what a build publishes, and that nothing which goes wrong in one does harm to what was published."""

from __future__ import annotations

import re
import signal
import threading
import time
from pathlib import Path

import pymysql
import pytest

from tests.integration.dbt.project import DATABASE, TABLES, DbtProject, columns_of
from tests.integration.dbt.staged_data import Tables, generate_load, stage

STAGING = f"{DATABASE}_staging"


def contents(project: DbtProject) -> dict[str, list[tuple[object, ...]]]:
    return {table: project.rows(table) for table in TABLES}


def expected_contents(load: Tables) -> dict[str, list[tuple[object, ...]]]:
    structures = load["sample_feature"] + load["common_feature_group"]
    return {
        "sample": columns_of(load["sample"], 0, 1, 2, 3),
        "feature": sorted({(row[2], row[1]) for row in structures}),
        "sample_feature": columns_of(load["sample_feature"], 0, 2, 3),
        "common_feature_group": columns_of(load["common_feature_group"], 0, 2, 3),
    }


def keys_of(schema: dict[str, str]) -> dict[str, str]:
    """Definitions of the published tables, a replaced parent counted as the parent."""
    return {table: re.sub(r"__old_\d+", "", schema[table]) for table in TABLES}


def test_every_way_of_building_ends_in_the_same_tables_and_schema(project: DbtProject, load: Tables) -> None:
    project.succeed("run")
    schema = project.schema()
    assert set(schema) == {*TABLES, "feature_field"}
    assert contents(project) == expected_contents(load)
    for arguments in (["run"], ["run", "-s", "sample"], ["run", "-s", "feature+"], ["build", "--full-refresh"]):
        project.succeed(*arguments)
        assert {**project.schema(), "feature_field": schema["feature_field"]} == schema, arguments
        assert contents(project) == expected_contents(load), arguments


def test_the_database_enforces_what_the_contracts_declare(project: DbtProject, load: Tables) -> None:
    project.succeed("run")
    sample_id, feature_id, _ = project.rows("sample_feature")[0]
    (group, *_), *_ = load["common_feature"]
    for statement in (
        f"insert into sample select * from sample where sample_id = {sample_id}",
        f"update sample set click_label = 2 where sample_id = {sample_id}",
        f"update sample set conversion_label = 2 where sample_id = {sample_id}",
        f"update sample set common_feature_index = null where sample_id = {sample_id}",
        f"insert into sample_feature values ({sample_id}, 77, '1.0')",
        f"insert into sample_feature values (4000000000, {feature_id}, '1.0')",
        f"insert into sample_feature values ({sample_id}, {feature_id}, '2.0')",
        f"insert into common_feature_group values ('{group}', 77, '1.0')",
        f"delete from sample where sample_id = {sample_id}",
        f"delete from feature where feature_id = {feature_id}",
    ):
        with pytest.raises(pymysql.err.MySQLError):
            project.query(statement)
    assert contents(project) == expected_contents(load)


# Each table or view is caught as the build makes it, and dbt is killed there.
@pytest.mark.parametrize("moment", ["sample__next", "feature__old_1", "sample_feature__next", "sample__old_1"])
def test_a_killed_run_leaves_the_old_tables_whole_and_the_next_one_succeeds(
    project: DbtProject, root: Path, moment: str
) -> None:
    load = generate_load(num_samples=3000, num_groups=100)
    stage(project.mysql, DATABASE, load, root)
    project.succeed("run")
    schema = project.schema()

    process = project.start("run")
    while process.poll() is None and not project.query(f"show tables like '{moment}'"):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"{moment} was never there: {output}"

    assert keys_of(project.schema()) == keys_of(schema)
    assert contents(project) == expected_contents(load)
    project.succeed("run")
    assert project.schema() == schema
    assert contents(project) == expected_contents(load)


def test_a_reader_sees_whole_tables_at_every_moment_of_a_build(project: DbtProject, load: Tables) -> None:
    project.succeed("run")
    expected = {table: len(rows) for table, rows in expected_contents(load).items()}
    seen: list[dict[str, int]] = []
    errors: list[Exception] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                seen.append({table: len(project.query(f"select 1 from {table}")) for table in TABLES})
            except pymysql.err.MySQLError as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    project.succeed("run")
    ended.set()
    reader.join()
    assert not errors
    assert len(seen) > 10
    assert all(counts == expected for counts in seen)


def test_an_orphan_stops_the_publication_of_its_table(project: DbtProject, load: Tables) -> None:
    project.succeed("run")
    schema, before = project.schema(), project.rows("sample_feature")
    project.query("delete from sample where sample_id in (7, 8)", database=STAGING)

    succeeded, output = project.run("run")

    assert not succeeded
    assert "2 values of sample_id are not in `deepcvr_development_train`.`sample`, the first of them 7, 8" in output
    assert "dbt run -s sample+" in output
    assert project.rows("sample_feature") == before
    assert keys_of(project.schema()) == keys_of(schema)
    assert project.query("select count(*) from sample__old_1 where sample_id in (7, 8)") == [(2,)]

    row = next(row for row in load["sample"] if row[0] == 7)
    project.query(f"insert into sample values {row}", f"insert into sample values {(8, *row[1:])}", database=STAGING)
    project.succeed("run")
    assert project.schema() == schema


def test_a_feature_under_two_names_stops_the_build_and_is_listed(project: DbtProject, load: Tables) -> None:
    project.succeed("run")
    before = contents(project)
    (group, name, feature_id, _), *_ = load["common_feature_group"]
    sample_id = load["sample"][0][0]
    project.query(f"insert into sample_feature values ({sample_id}, '205', {feature_id}, '1.0')", database=STAGING)

    succeeded, output = project.run("run")

    assert not succeeded
    assert f"1 values of feature_id have more than one feature_name in staging: feature_id {feature_id} " in output
    assert f"stands under {name} and 205" in output
    assert group
    assert contents(project) == before


def test_a_load_that_is_not_complete_is_refused(project: DbtProject, load: Tables) -> None:
    assert load
    project.query("update load_partition set state = 'planned' where partition_number > 0", database=STAGING)
    succeeded, output = project.run("run")
    assert not succeeded
    assert "The load of train in development mode is not complete: 2 of 4 partitions are missing" in output
    assert "To finish it, run `make extract`" in output
    assert project.schema() == {}


def test_staging_that_is_not_there_is_named_with_the_remedy(project: DbtProject) -> None:
    succeeded, output = project.run("run", "--target", "test", MODE="production")
    assert not succeeded
    assert "Nothing is staged for test in production mode: run `make extract DATASET=test MODE=production`" in output
    assert "Traceback" not in output


def test_a_mode_that_does_not_exist_is_refused(project: DbtProject) -> None:
    succeeded, output = project.run("run", DEEPCVR_MODE="prodution")
    assert not succeeded
    assert "DEEPCVR_MODE (or MODE) must be development or production; it is prodution" in output


def test_a_server_that_is_not_up_is_named(project: DbtProject) -> None:
    if project.mysql.host is not None:
        succeeded, output = project.run("run", MYSQL_PORT="1")
        assert "127.0.0.1:1" in output
    else:
        socket = project.folder / ".embedded/mysql.sock"
        target = socket.readlink()
        socket.unlink()
        succeeded, output = project.run("run")
        socket.symlink_to(target)
        assert ".embedded/mysql.sock" in output
    assert not succeeded
