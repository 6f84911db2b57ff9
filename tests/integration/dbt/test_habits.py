"""What people do with any dbt project, done with this one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.published import hold_tables
from pipeline.settings import load_settings
from tests.integration.dbt.project import DATABASE, STAGING, TABLES, DbtProject, Published, create_project
from tests.integration.dbt.staged_data import generate_load, stage
from tests.servers import MARIADB_IN_SOAK

mariadb_in_soak = pytest.mark.parametrize("mysql", MARIADB_IN_SOAK, indirect=True)
TEST_DATABASE = "deepcvr_development_test"


@pytest.fixture
def own(project: DbtProject, root: Path, tmp_path: Path) -> DbtProject:
    """A project that a test may change, over the same server with a small load that is not built."""
    stage(project.mysql, DATABASE, generate_load(num_samples=300, num_groups=12), root)
    return create_project(tmp_path / "own", root, project.mysql)


@pytest.fixture
def state(own: DbtProject, root: Path) -> Iterator[str]:
    """What dbt knows of the train data set, which is built, beside a test data set that is staged."""
    assert own.run("run")[0]
    folder = own.folder / "state"
    shutil.copytree(own.folder / "target", folder)
    stage(own.mysql, TEST_DATABASE, generate_load(num_samples=100, num_groups=4, seed=2), root)
    yield str(folder)
    own.query(f"drop database {TEST_DATABASE}", f"drop database {TEST_DATABASE}_staging")


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with other words in it."""
    text = path.read_text()
    assert text.count(old) == 1, path
    path.write_text(text.replace(old, new))
    yield
    path.write_text(text)


def model(project: DbtProject, name: str, sql: str, properties: str = "") -> Path:
    """Write a model of the user's own."""
    folder = project.folder / "dbt_project/models/own"
    folder.mkdir(exist_ok=True)
    if properties:
        (folder / f"_{name}.yml").write_text(f"models:\n  - name: {name}\n{properties}")
    path = folder / f"{name}.sql"
    path.write_text(sql)
    return path


def pairs(rows: list[tuple[object, ...]]) -> dict[str, str]:
    return {str(name): str(value) for name, value in rows}


def errors_of(output: str) -> list[str]:
    """The lines below `Encountered an error`, without what is empty."""
    return [line.strip() for line in output.partition("Encountered an error:")[2].splitlines() if line.strip()]


@mariadb_in_soak
def test_hooks_of_models_are_run_inside_and_outside_of_the_transaction(own: DbtProject) -> None:
    for name in ("sample", "sampling_stratum"):
        path = next((own.folder / "dbt_project/models").rglob(f"{name}.sql"))
        hooks = {
            when: [
                {
                    "sql": f"insert into {DATABASE}.hooks values ('{when} {where} {name}')",
                    "transaction": where == "inside",
                }
                for where in ("inside", "outside")
            ]
            for when in ("pre", "post")
        }
        config = f"{{{{ config(pre_hook={hooks['pre']}, post_hook={hooks['post']}) }}}}\n"
        path.write_text(config + path.read_text())
    own.query(
        f"create database if not exists {DATABASE}",
        f"create table {DATABASE}.hooks (name varchar(40))",
        database=STAGING,
    )
    succeeded, output = own.run("run")
    assert succeeded, output
    expected = [
        (f"{when} {where} {name}",)
        for name in ("sample", "sampling_stratum")
        for when in ("pre", "post")
        for where in ("inside", "outside")
    ]
    assert own.rows("hooks") == sorted(expected)


@mariadb_in_soak
def test_tables_of_ones_own_are_built_in_dbts_way_beside_the_published_ones(own: DbtProject) -> None:
    model(
        own,
        "clicks",
        "{{ config(materialized='table', indexes=[{'columns': ['n']}]) }} select count(*) n from {{ ref('sample') }}",
    )
    model(
        own,
        "strata",
        "{{ config(materialized='table') }} select click_label, share from {{ ref('sampling_stratum') }}",
        "    config: {contract: {enforced: true}}\n    columns:\n"
        "      - {name: click_label, data_type: tinyint unsigned}\n      - {name: share, data_type: double}\n",
    )
    for arguments in (["build"], ["run", "-s", "clicks"], ["run", "--full-refresh"]):
        succeeded, output = own.run(*arguments)
        assert succeeded, output
        assert own.query("select n from clicks") == [(300,)]
    assert len(own.query("show index from clicks")) == 1
    assert {*own.schema()} == {*TABLES, "feature_field", "clicks", "strata"}


@mariadb_in_soak
def test_a_package_with_tables_and_hooks_lives_beside_the_published_ones(own: DbtProject) -> None:
    package = own.folder / "other"
    (package / "models").mkdir(parents=True)
    (package / "dbt_project.yml").write_text(
        "name: other\nversion: 1.0.0\nmodels: {other: {+materialized: table}}\n"
        "on-run-start: create table if not exists {{ target.schema }}.invocations (id char(36))\n"
        "on-run-end: insert into {{ target.schema }}.invocations values ('{{ invocation_id }}')\n"
    )
    (package / "models/one.sql").write_text("select 1 as n")
    (package / "models/two.sql").write_text("select n + 1 as n from {{ ref('one') }}")
    (own.folder / "packages.yml").write_text("packages: [{local: other}]\n")
    for arguments in (["deps"], ["run"], ["build"]):
        succeeded, output = own.run(*arguments)
        assert succeeded, output
    assert own.query("select n from two") == [(2,)]
    assert own.query("select count(*) from invocations") == [(2,)]
    assert {*own.schema()} == {*TABLES, "feature_field", "one", "two", "invocations"}


@mariadb_in_soak
def test_a_model_may_change_between_view_and_table(own: DbtProject) -> None:
    path = next((own.folder / "dbt_project/models").rglob("feature_list_length.sql"))
    kinds = []
    for kind in ("view", "table", "view"):
        with edited(path, "with samples as", f"{{{{ config(materialized='{kind}') }}}}\nwith samples as"):
            succeeded, output = own.run("run", *(["--full-refresh"] if kind == "table" else []))
        assert succeeded, output
        kinds += [str(row[1]) for row in own.query("show full tables") if row[0] == "feature_list_length"]
    assert kinds == ["VIEW", "BASE TABLE", "VIEW"]


@mariadb_in_soak
def test_a_snapshot_keeps_what_a_table_has_held(own: DbtProject) -> None:
    (own.folder / "dbt_project/snapshots").mkdir()
    (own.folder / "dbt_project/snapshots/strata.yml").write_text(
        "snapshots:\n  - name: strata\n    relation: ref('sampling_stratum')\n"
        "    config: {unique_key: [click_label, conversion_label], strategy: check, check_cols: [num_samples]}\n"
    )
    assert own.run("run")[0]
    succeeded, output = own.run("snapshot")
    assert succeeded, output
    before = own.query("select count(*), count(dbt_valid_to) from strata")
    own.query("update sample set click_label = 1 - click_label where sample_id = 7")
    succeeded, output = own.run("snapshot")
    assert succeeded, output
    assert before[0][1] == 0
    assert own.query("select count(dbt_valid_to) > 0 from strata") == [(1,)]


@mariadb_in_soak
def test_another_data_set_is_never_read_in_the_place_of_this_one(own: DbtProject, state: str) -> None:
    about = ["--defer", "--state", state, "--target", "test"]

    succeeded, output = own.run("run", "-s", "sample", *about)
    assert not succeeded
    assert "--defer would have sample read stg_sample of another data set: leave it out, and run" in output
    assert own.run("run", "--target", "test")[0]
    succeeded, output = own.run("run", "-s", "sample_feature", "--favor-state", *about)
    assert not succeeded
    assert "of another data set" in output
    succeeded, output = own.run("run", "-s", "sample+", *about)  # all of it is here
    assert succeeded, output
    assert own.query("select count(*) from sample", database=TEST_DATABASE) == [(100,)]


@mariadb_in_soak
def test_a_clone_does_not_stand_in_the_way_of_the_tables_and_takes_none_away(own: DbtProject, state: str) -> None:
    succeeded, output = own.run("clone", "--state", state, "--target", "test")
    assert succeeded, output
    succeeded, output = own.run("run", "--target", "test")
    assert succeeded, output
    kinds = pairs(own.query("show full tables", database=TEST_DATABASE))
    assert {kinds[name] for name in TABLES} == {"BASE TABLE"}
    assert own.query("select count(*) from sample", database=TEST_DATABASE) == [(100,)]

    succeeded, output = own.run("clone", "--state", state, "--target", "test", "--full-refresh")
    assert not succeeded
    assert "is a table of this data set, and a clone would be a view of another: it stays" in output
    assert own.query("select count(*) from sample", database=TEST_DATABASE) == [(100,)]


@mariadb_in_soak
def test_descriptions_and_grants_reach_the_server(own: DbtProject) -> None:
    project_file = own.folder / "dbt_project.yml"
    text = project_file.read_text()
    project_file.unlink()
    grants = "    +persist_docs: {relation: true, columns: true}\n    +grants: {select: ['reader@localhost']}\n"
    project_file.write_text(text.replace("models:\n  deepcvr:\n", f"models:\n  deepcvr:\n{grants}"))
    model(
        own,
        "clicks",
        "{{ config(materialized='table') }} select 1 as n",
        "    description: \"It's \\\\ of one's own.\"\n    columns: [{name: n, description: A number}]\n",
    )
    own.query("create user if not exists reader@localhost")
    for _ in range(2):
        succeeded, output = own.run("run")
        assert succeeded, output
    comments = pairs(
        own.query(f"select table_name, table_comment from information_schema.tables where table_schema = '{DATABASE}'")
    )
    assert str(comments["sample"]).startswith("built from load 1: One row per impression")
    with hold_tables(replace(load_settings(root=own.folder, environ={}), mysql=own.mysql), 1) as tables:
        assert tables.load_id == 1
    assert comments["clicks"] == "It's \\ of one's own."
    columns = own.query(
        "select table_name, column_comment from information_schema.columns where column_name in ('sample_id', 'n')"
        f" and table_schema = '{DATABASE}' and table_name in ('sample', 'clicks')"
    )
    assert pairs(columns)["clicks"] == "A number"
    assert pairs(columns)["sample"]
    granted = own.query(
        "select table_name from information_schema.table_privileges"
        f" where table_schema = '{DATABASE}' and grantee like '%reader%'"
    )
    assert {*TABLES, "clicks", "sampling_stratum"} <= {str(name) for (name,) in granted}
    project_file.write_text(project_file.read_text().replace("['reader@localhost']", "[]"))
    assert own.run("run")[0]
    own.query("drop user reader@localhost")


@mariadb_in_soak
def test_what_reads_what_is_not_built_is_told_so_in_one_line(own: DbtProject) -> None:
    for arguments in (["test"], ["run", "-s", "sample_feature"], ["build", "-s", "load_reconciliation"]):
        succeeded, output = own.run(*arguments)
        assert not succeeded
        told = errors_of(output)
        assert len(told) == 2, output
        assert "not built for train in development mode, and " in told[1]
        assert told[1].endswith("dbt run")


@mariadb_in_soak
def test_a_part_of_the_graph_is_built_and_tested_on_a_fresh_database(own: DbtProject) -> None:
    succeeded, output = own.run("build", "--select", "+feature")
    assert succeeded, output
    assert "contract_is_enforced_feature_" in output


@mariadb_in_soak
def test_an_empty_build_is_refused(own: DbtProject) -> None:
    assert own.run("run")[0]
    succeeded, output = own.run("run", "--empty")
    assert not succeeded
    assert errors_of(output)[1].startswith("--empty builds tables without rows")
    assert own.query("select count(*) from sample") == [(300,)]


@mariadb_in_soak
def test_any_folder_will_do(own: DbtProject, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder, inside = str(own.folder), own.folder / "dbt_project/models"
    for where, arguments in (
        (inside, []),
        (elsewhere, ["--project-dir", folder]),
        (elsewhere, [f"--project-dir={folder}"]),
    ):
        succeeded, output = own.run("run", *arguments, folder=where)
        assert succeeded, output


@mariadb_in_soak
def test_no_command_has_anything_to_warn_of(project: DbtProject, published: Published) -> None:
    assert published
    for arguments in (
        ["parse", "--no-partial-parse", "--show-all-deprecations"],
        ["ls"],
        ["compile"],
        ["seed"],
        ["run"],
        ["test"],
        ["build"],
        ["docs", "generate"],
        ["source", "freshness"],
        ["show", "-s", "sampling_stratum"],
        ["debug"],
    ):
        succeeded, output = project.run("--warn-error", *arguments)
        assert succeeded, output
        assert "deprecat" not in output.lower(), output


def test_the_lineage_has_no_orphans(project: DbtProject) -> None:
    assert project.run("parse")[0]
    manifest = json.loads((project.folder / "target/manifest.json").read_text())
    assert not [name for name in manifest["nodes"] if name.startswith("analysis.")]
