"""The four tables: what a build publishes, and that nothing which goes wrong in one does harm to what was published."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

from pipeline.commands import dbt_command, make_command
from pipeline.registry import staging_lock
from tests.integration.dbt.project import DATABASE, STAGING, TABLES, DbtProject, Published, expected_contents
from tests.integration.dbt.staged_data import generate_load, stage
from tests.servers import MARIADB_IN_SOAK

mariadb_in_soak = pytest.mark.parametrize("mysql", MARIADB_IN_SOAK, indirect=True)


def keys_of(schema: dict[str, str]) -> dict[str, str]:
    """Definitions of the published tables, a replaced parent counted as the parent."""
    return {table: re.sub(r"__old_\d+", "", schema[table]) for table in TABLES}


def test_every_way_of_building_ends_in_the_same_tables_and_schema(project: DbtProject, root: Path) -> None:
    load = generate_load(num_samples=300, num_groups=12)
    stage(project.mysql, DATABASE, load, root)
    project.succeed("run")
    schema = project.schema()
    assert set(schema) == {*TABLES, "feature_field"}
    assert project.contents() == expected_contents(load)
    others = [["run", "-s", "sample"], ["run", "-s", "feature+", "--exclude", "marts"], ["build", "--full-refresh"]]
    for arguments in (["run"], *others):
        project.succeed(*arguments)
        assert {**project.schema(), "feature_field": schema["feature_field"]} == schema, arguments
        assert project.contents() == expected_contents(load), arguments


@mariadb_in_soak
def test_pages_are_compressed_where_the_server_can(project: DbtProject, root: Path) -> None:
    ((version,),) = project.query("select version()", database="mysql")
    load = generate_load(num_samples=300, num_groups=12)
    for file_per_table in ("off", "on"):
        project.query(f"set global innodb_file_per_table = {file_per_table}", database="mysql")
        try:
            stage(project.mysql, DATABASE, load, root)
            project.succeed("run")
        finally:
            project.query("set global innodb_file_per_table = on")
        options = project.query(
            "select create_options from information_schema.tables"
            f" where (table_schema = '{STAGING}' and table_name in ('common_feature', {str(TABLES)[1:-1]}))"
            f" or (table_schema = '{DATABASE}' and table_name in {TABLES})"
        )
        assert len(options) == 1 + 2 * len(TABLES)
        is_compressed = file_per_table == "on" and "MariaDB" not in str(version)
        assert {'COMPRESSION="lz4"' in str(each) for (each,) in options} == {is_compressed}
        assert project.contents() == expected_contents(load)


def test_the_database_enforces_what_the_contracts_declare(project: DbtProject, published: Published) -> None:
    sample_id, feature_id, _ = published.contents["sample_feature"][0]
    group, _, _ = published.contents["common_feature_group"][0]
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
    assert project.contents() == published.contents


# dbt is killed as soon as this table is there: at the first fill, the first swap, a later fill and a swap of a parent.
@mariadb_in_soak
@pytest.mark.parametrize("moment", ["sample__next", "feature__old_1", "sample_feature__next", "sample__old_1"])
def test_a_killed_run_leaves_the_old_tables_whole_and_the_next_one_succeeds(
    project: DbtProject, published: Published, moment: str
) -> None:
    process = project.start("run")
    while process.poll() is None and not project.query(f"show tables like '{moment}'"):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"{moment} was never there: {output}"

    project.wait_for_killed()
    assert keys_of(project.schema()) == keys_of(published.schema)
    assert project.contents() == published.contents
    project.succeed("run")
    assert project.schema() == published.schema
    assert project.contents() == published.contents


NUM_KILLS = 20


@dataclass
class LongBuild:
    """What a run published, and the seconds from a run's first statement to its end."""

    published: Published
    seconds: float


@pytest.fixture(scope="module")
def long_build(project: DbtProject, root: Path) -> LongBuild:
    """A load whose build takes long beside dbt's own start, built, and built again to see how long that takes."""
    load = generate_load(num_samples=20_000, num_groups=400)
    stage(project.mysql, DATABASE, load, root)
    project.succeed("run")
    _, seconds = run_and_kill(project, after=60)
    return LongBuild(Published(load, expected_contents(load), project.schema()), seconds)


def run_and_kill(project: DbtProject, *, after: float) -> tuple[bool, float]:
    """Run dbt and kill it some seconds after its first statement: whether it still ran then, and how long it had."""
    process = project.start("run")
    assert process.stdout
    assert any("on-run-start" in line for line in process.stdout)
    start = time.monotonic()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=after)
    seconds = time.monotonic() - start
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0, seconds


@pytest.mark.soak
@pytest.mark.parametrize("kill", range(NUM_KILLS))
def test_a_run_killed_at_any_moment_leaves_the_old_tables_whole(
    project: DbtProject, long_build: LongBuild, kill: int
) -> None:
    published = long_build.published
    killed = False
    while not killed:
        killed, seconds = run_and_kill(project, after=long_build.seconds * kill / NUM_KILLS)
        if not killed:
            # The machine has become quicker since.
            long_build.seconds = seconds

    project.wait_for_killed()
    schema = project.schema()
    left = ", ".join(sorted(schema.keys() - {*TABLES, "feature_field"}))
    print(f"killed after {seconds:.2f} of {long_build.seconds:.2f} s, which left {left or 'nothing'}")
    assert keys_of(schema) == keys_of(published.schema)
    assert project.contents() == published.contents
    project.succeed("run")
    assert project.schema() == published.schema
    assert project.contents() == published.contents


def test_a_reader_sees_whole_tables_at_every_moment_of_a_build(project: DbtProject, published: Published) -> None:
    expected = {table: len(rows) for table, rows in published.contents.items()}
    seen: list[dict[str, object]] = []
    errors: list[Exception] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                seen.append({table: project.query(f"select count(*) from {table}")[0][0] for table in TABLES})
            except pymysql.err.MySQLError as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    succeeded, output = project.run("run")
    ended.set()
    reader.join()
    assert succeeded, output
    assert not errors
    assert len(seen) > 10
    assert all(counts == expected for counts in seen)


def test_an_orphan_stops_the_publication_of_its_table(project: DbtProject, published: Published) -> None:
    orphans = [row for row in published.load["sample"] if row[0] in (7, 8)]
    project.query("delete from sample where sample_id in (7, 8)", database=STAGING)

    succeeded, output = project.attempt("run")

    assert not succeeded
    assert f"2 values of sample_id are not in `{DATABASE}`.`sample`, the first of them 7, 8" in output
    assert "The tables of load 1 are published again" in output
    assert project.contents() == published.contents
    assert keys_of(project.schema()) == keys_of(published.schema)

    project.query(*(f"insert into sample values {row}" for row in orphans), database=STAGING)
    project.succeed("run")
    assert project.schema() == published.schema


def test_a_feature_under_two_names_stops_the_build_and_is_listed(project: DbtProject, published: Published) -> None:
    feature_id, name = published.load["feature"][0]
    project.query(f"insert into feature values ({feature_id}, '205')", database=STAGING)

    succeeded, output = project.attempt("run")

    assert not succeeded
    assert f"1 values of feature_id have more than one feature_name in staging: feature_id {feature_id} " in output
    assert f"stands under {name} and 205" in output
    assert project.contents() == published.contents


def begin_new_load(project: DbtProject, **columns: str) -> None:
    """Let staging hold a second load of the same rows, as the registry tells it, with some columns of it changed."""
    names = (
        "load_id, source_file, source_sha256, record_kind, partition_number, first_line, first_byte, end_byte,"
        " num_lines, num_rows, num_structures, num_rejects, num_non_records, state, loaded_at"
    )
    values = ", ".join({"load_id": "2", **columns}.get(name, name) for name in names.split(", "))
    project.query(
        f"insert into load_partition ({names}) select {values} from load_partition",
        "update load_partition set state = 'superseded' where load_id = 1",
        "insert into feature_load select 2, num_features, loaded_at from feature_load",
        database=STAGING,
    )


def loads_of(project: DbtProject) -> set[str]:
    """What the comments of the four tables say."""
    return {definition.rpartition("COMMENT=")[2] for definition in keys_of(project.schema()).values()}


def test_a_run_that_fails_leaves_the_four_tables_of_the_load_before(
    project: DbtProject, published: Published, root: Path
) -> None:
    begin_new_load(project)
    project.query("update sample set click_label = 1 - click_label where sample_id = 7", database=STAGING)
    feature_id, _ = published.load["feature"][0]
    project.query(f"insert into feature values ({feature_id}, '205')", database=STAGING)

    succeeded, output = project.attempt("run")

    assert not succeeded
    assert "The tables of load 1 are published again" in output
    assert project.schema() == published.schema
    assert project.contents() == published.contents
    project.query(f"delete from feature where feature_id = {feature_id} and feature_name = '205'", database=STAGING)
    project.succeed("run")
    assert loads_of(project) == {"'built from load 2'"}
    assert project.contents() != published.contents
    stage(project.mysql, DATABASE, published.load, root)


@pytest.mark.parametrize("moment", ["sample__next", "sample__old_1", "sample_feature__next", "sample_feature__old_1"])
def test_a_load_that_is_replaced_while_a_run_reads_it_is_not_published(
    project: DbtProject, published: Published, root: Path, moment: str
) -> None:
    """Whatever the locks say: the connection that holds them may be gone."""
    process = project.start("run")
    while process.poll() is None and not project.query(f"show tables like '{moment}'"):
        time.sleep(0.001)
    begin_new_load(project, state="'planned'")
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 1, output
    assert "A make extract has begun another load in staging while this run read it" in output
    assert project.schema() == published.schema
    assert project.contents() == published.contents
    stage(project.mysql, DATABASE, published.load, root)


@mariadb_in_soak
def test_the_run_after_a_killed_one_puts_the_tables_back_even_where_it_is_refused(
    project: DbtProject, published: Published, root: Path
) -> None:
    begin_new_load(project)
    process = project.start("run")
    while process.poll() is None and not project.query("show tables like 'feature\\_\\_old\\_1'"):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    project.wait_for_killed()
    assert len(loads_of(project)) == 2
    project.query("delete from feature_load", database=STAGING)

    succeeded, output = project.attempt("run")

    assert not succeeded
    assert "its features are missing" in output
    assert project.schema() == published.schema
    assert project.contents() == published.contents
    stage(project.mysql, DATABASE, published.load, root)


@mariadb_in_soak
def test_a_load_with_too_many_rejected_records_is_refused_before_a_table_is_touched(
    project: DbtProject, published: Published, root: Path
) -> None:
    begin_new_load(project, num_rejects="if(record_kind = 'sample', 1, 0)", num_non_records="1")
    for command in ("run", "build"):
        succeeded, output = project.attempt(command)
        assert not succeeded
        # 20 partitions of 100 lines, one of each no record.
        assert (
            "20 of the 1980 records of sample_skeleton_train.csv are rejected, 1.01 %, and the limit is 0.1" in output
        )
        again = dbt_command(f"{command} --vars '{{max_reject_share: 1}}'", ("development", "train"))
        assert f"To publish it all the same: {again}" in output
        assert project.schema() == published.schema
    assert project.run("run", "--vars", "max_reject_share: 0.02")[0]
    assert loads_of(project) == {"'built from load 2'"}
    stage(project.mysql, DATABASE, published.load, root)


@mariadb_in_soak
def test_a_load_that_would_empty_a_table_is_refused(project: DbtProject, published: Published, root: Path) -> None:
    begin_new_load(project, num_rows="0", num_structures="0")
    project.query("delete from sample", "delete from sample_feature", database=STAGING)
    succeeded, output = project.attempt("run")
    assert not succeeded
    for table in ("sample", "sample_feature", "common_feature_group"):
        assert f"it has no row for `{DATABASE}`.`{table}`, which has some" in output
    assert project.schema() == published.schema
    assert project.contents() == published.contents
    assert project.run("run", "--vars", "{max_reject_share: 1}")[0]
    assert project.rows("sample") == []
    # What is empty already may stay empty.
    assert project.run("run", "--vars", "{max_reject_share: 1}")[0]
    stage(project.mysql, DATABASE, published.load, root)


@mariadb_in_soak
def test_a_part_of_a_newer_load_is_refused(project: DbtProject, published: Published, root: Path) -> None:
    begin_new_load(project)
    succeeded, output = project.attempt("run", "-s", "sample+")
    assert not succeeded
    assert "Load 2 of train in development mode is newer than " in output
    assert f"are built together, by {dbt_command('run', ('development', 'train'))}\n" in f"{output}\n"
    assert project.schema() == published.schema
    stage(project.mysql, DATABASE, published.load, root)


def test_two_runs_at_once_take_turns(project: DbtProject, published: Published) -> None:
    runs = [project.start("run") for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert sum(f"which is building in {DATABASE}" in output for output in outputs) == 1
    assert project.schema() == published.schema
    assert project.contents() == published.contents


@mariadb_in_soak
def test_a_run_is_refused_while_extract_loads(project: DbtProject, published: Published) -> None:
    with staging_lock(project.mysql, STAGING):
        succeeded, output = project.attempt("run")
    assert not succeeded
    assert f"make extract is loading into {STAGING} (connection " in output
    assert project.schema() == published.schema


def test_extract_waits_for_a_run_that_reads_staging_and_says_so(
    project: DbtProject, published: Published, capfd: pytest.CaptureFixture[str]
) -> None:
    process = project.start("run")
    while process.poll() is None and not project.query("show tables like 'sample__next'"):
        time.sleep(0.001)
    with staging_lock(project.mysql, STAGING):
        ended = process.poll()
    assert process.communicate()[0]
    assert f"waiting for the dbt run that builds from {STAGING}" in capfd.readouterr().err
    # The locks go when dbt has published or put back everything, a moment before its process ends.
    assert ended in (None, 0)
    assert process.returncode == 0
    assert set(project.schema()) == set(published.schema)


@mariadb_in_soak
def test_what_a_killed_run_had_parted_with_is_dropped_by_the_next(project: DbtProject, published: Published) -> None:
    for table in ("sample__dropped", "feature__next"):
        project.query(f"create table {table} (id int primary key)")
    project.succeed("run")
    assert project.schema() == published.schema


@mariadb_in_soak
def test_a_seed_that_a_killed_run_has_left_without_rows_is_filled(project: DbtProject, published: Published) -> None:
    rows = project.rows("feature_field")
    for left in ("delete from feature_field", "drop table feature_field"):
        project.query(left)
        project.succeed("run", "-s", "sampling_stratum")
        assert project.rows("feature_field") == rows
    assert rows
    assert published


@mariadb_in_soak
def test_a_load_whose_features_have_not_landed_is_refused(project: DbtProject, published: Published) -> None:
    project.query("delete from feature_load", database=STAGING)
    succeeded, output = project.attempt("run")
    assert not succeeded
    assert "The load of train in development mode is not complete: its features are missing" in output
    assert project.schema() == published.schema


@mariadb_in_soak
def test_a_load_that_is_not_complete_is_refused(project: DbtProject, published: Published) -> None:
    project.query("update load_partition set state = 'planned' where partition_number > 17", database=STAGING)
    succeeded, output = project.attempt("run")
    assert not succeeded
    assert "The load of train in development mode is not complete: 2 of 21 partitions are missing" in output
    assert "To finish it, run `make extract`" in output
    assert project.schema() == published.schema


@mariadb_in_soak
def test_staging_that_is_not_there_is_named_with_the_remedy(project: DbtProject) -> None:
    succeeded, output = project.run("run", "--target", "test", MODE="production")
    assert not succeeded
    assert "Nothing is staged for test in production mode: run `make extract DATASET=test MODE=production`" in output
    assert "Traceback" not in output


@mariadb_in_soak
def test_macros_advise_the_commands_that_programs_advise(project: DbtProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE", "s3://bucket/a prefix")
    about = ("production", "test")
    query = "{{ make_command('extract') }}\n{{ dbt_command('run -s feature+') }}"
    succeeded, output = project.run(
        "compile", "--inline", query, "--target", "test", MODE="production", SOURCE="s3://bucket/a prefix"
    )
    assert succeeded, output
    assert output.splitlines()[-2:] == [make_command("extract", about), dbt_command("run -s feature+", about)]


@mariadb_in_soak
def test_the_docs_can_be_made_before_anything_is_staged(project: DbtProject) -> None:
    succeeded, output = project.run("docs", "generate", "--target", "test")
    assert succeeded, output


def test_the_docs_have_the_type_of_every_column(project: DbtProject, published: Published) -> None:
    succeeded, output = project.run("docs", "generate")
    assert succeeded, output
    catalog = json.loads((project.folder / "target/catalog.json").read_text())
    manifest = json.loads((project.folder / "target/manifest.json").read_text())
    assert catalog["errors"] is None
    documented = {
        name: set(node["columns"])
        for name, node in (manifest["nodes"] | manifest["sources"]).items()
        if node["resource_type"] in ("model", "seed", "source") and "marts" not in node["fqn"]  # which are not built
    }
    found = {
        name: {column for column, described in node["columns"].items() if described["type"]}
        for name, node in (catalog["nodes"] | catalog["sources"]).items()
    }
    assert found == documented
    assert published


@mariadb_in_soak
def test_every_source_is_fresh_after_a_load(project: DbtProject, published: Published) -> None:
    succeeded, output = project.attempt("source", "freshness")
    assert succeeded, output
    assert output.count(" PASS freshness of staging.") == len(published.load)


@mariadb_in_soak
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
        assert "the embedded MySQL server is not running: run make up" in output
    assert not succeeded
