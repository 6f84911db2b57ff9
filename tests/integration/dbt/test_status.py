"""`make status`: what it tells of staging, of the built tables and of their tests, as each of them goes on."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from embedded.status import DataSetStatus, lines_of, next_command, read_status
from pipeline.commands import dbt_command
from pipeline.landed import Asset, write_manifest
from pipeline.settings import load_settings
from tests.integration.dbt.project import DATABASE, STAGING, DbtProject
from tests.integration.dbt.staged_data import generate_load, stage
from tests.servers import MARIADB_IN_SOAK

pytestmark = pytest.mark.parametrize("mysql", MARIADB_IN_SOAK, indirect=True)


def status_of(project: DbtProject, data_set: str = "train") -> DataSetStatus:
    settings = replace(load_settings(root=project.folder, environ={}), mysql=project.mysql)
    status = read_status(settings)
    assert status.problem is None
    return next(one for one in status.data_sets if (one.mode, one.data_set) == ("development", data_set))


def states_of(project: DbtProject) -> tuple[str, str, str]:
    status = status_of(project)
    return status.staged.state, status.built.state, status.tested.state


def begin_new_load(project: DbtProject) -> None:
    """A second load of the same rows, as `make extract FORCE=1` leaves it."""
    project.query(
        "update load_partition set state = 'superseded'",
        "insert into load_partition select 2, source_file, source_sha256, record_kind, partition_number, first_line,"
        " first_byte, end_byte, num_lines, num_rows, num_structures, num_rejects, num_non_records, 'loaded', loaded_at"
        " from load_partition",
        "insert into feature_load select 2, num_features, loaded_at from feature_load",
        database=STAGING,
    )


def test_status_follows_a_data_set_from_staging_to_its_tests(project: DbtProject, root: Path) -> None:
    stage(project.mysql, DATABASE, generate_load(num_samples=300, num_groups=12), root)
    shutil.rmtree(project.folder / "target", ignore_errors=True)
    assert states_of(project) == ("done", "no", "no")
    assert next_command(status_of(project)) == dbt_command("run", ("development", "train"))
    assert status_of(project).staged.text == "load 1: 312 rows"

    project.succeed("run")
    assert states_of(project) == ("done", "done", "no")
    assert status_of(project).built.text == "from load 1"

    assert project.run("test")[0]
    assert states_of(project) == ("done", "done", "done")
    assert next_command(status_of(project)) is None

    project.query("update load_partition set state = 'planned' where partition_number = 2", database=STAGING)
    assert status_of(project).staged.text == "3 of 4 partitions"
    assert next_command(status_of(project)) == "make extract"
    project.query("update load_partition set state = 'loaded' where partition_number = 2", database=STAGING)

    begin_new_load(project)
    assert states_of(project)[:2] == ("done", "outdated")
    project.query("delete from feature_load where load_id = 2", database=STAGING)
    assert status_of(project).staged.text == "all but the features"

    project.query("drop table sample_feature")
    assert status_of(project).built.text == "3 of 4 tables"
    shutil.rmtree(project.folder / "target")


def test_what_tests_have_shown_is_kept_for_each_database(project: DbtProject, root: Path) -> None:
    for target, database in (("train", DATABASE), ("test", "deepcvr_development_test")):
        stage(project.mysql, database, generate_load(num_samples=300, num_groups=12), root)
        assert project.run("run", "--target", target)[0]
        assert status_of(project, target).tested.state == "no"
        assert project.run("test", "--target", target)[0]
    # The last command was about the other database, and `dbt clean` has been here.
    shutil.rmtree(project.folder / "target")
    assert [status_of(project, data_set).tested.state for data_set in ("train", "test")] == ["done", "done"]

    assert project.run("test", "--select", "sample")[0]
    assert status_of(project).tested.state == "partly"
    project.query("delete from sample_feature limit 1")
    assert not project.run("test")[0]
    assert status_of(project).tested.state == "failed"
    assert status_of(project, "test").tested.state == "done"
    project.query("drop database deepcvr_development_test", "drop database deepcvr_development_test_staging")


def test_a_run_that_was_stopped_is_told_and_dbt_run_is_next(project: DbtProject, root: Path) -> None:
    stage(project.mysql, DATABASE, generate_load(num_samples=2000, num_groups=60), root)
    project.succeed("run")
    assert project.run("test")[0]
    process = project.start("run")
    while process.poll() is None and not project.query("show tables like 'feature\\_\\_old%'"):
        time.sleep(0.001)
    assert status_of(project).built.text == "dbt run is at work"
    process.kill()
    process.communicate()

    assert status_of(project).built.text == "dbt run was stopped"
    assert next_command(status_of(project)) == dbt_command("run", ("development", "train"))
    project.wait_for_killed()
    project.succeed("run")
    assert status_of(project).built.state == "done"


def test_a_load_of_files_that_were_unpacked_anew_since_is_outdated(project: DbtProject, root: Path) -> None:
    stage(project.mysql, DATABASE, generate_load(num_samples=300, num_groups=12), root)
    settings = load_settings(root=project.folder, environ={})
    path = settings.member_path("sample")
    path.parent.mkdir(parents=True)
    path.write_text("1,0,0\n")
    write_manifest(path, Asset(settings.member_uri("sample"), "etag", 6, datetime.now(UTC), "c" * 64, 1))

    assert states_of(project)[0] == "outdated"
    write_manifest(path, Asset(settings.member_uri("sample"), "etag", 6, datetime.now(UTC), "a" * 64, 1))
    assert states_of(project)[0] == "done"
    shutil.rmtree(project.folder / "data")


def test_the_table_for_a_person_has_a_row_for_each_data_set_and_names_what_is_next(
    project: DbtProject, root: Path
) -> None:
    stage(project.mysql, DATABASE, generate_load(num_samples=300, num_groups=12), root)
    settings = replace(load_settings(root=project.folder, environ={}), mysql=project.mysql)
    lines = list(lines_of(read_status(settings), settings))

    assert lines[0].split() == ["downloaded", "unpacked", "staged", "built", "tested"]
    assert [line.split()[0] for line in lines[1:7]] == ["development", "train", "test", "production", "train", "test"]
    assert "load 1: 312 rows" in lines[2]
    assert lines[-1] == f"next for train, development: {dbt_command('run', settings)}"
