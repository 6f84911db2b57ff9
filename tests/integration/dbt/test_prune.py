"""`make prune`: staging is given back once its load is built and tested, and not before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from embedded.status import next_command, read_status
from pipeline.errors import LoadError
from pipeline.settings import Settings, load_settings
from spark_jobs.prune import prune
from tests.integration.dbt.project import DATABASE, STAGING, DbtProject, expected_contents
from tests.integration.dbt.staged_data import generate_load, stage
from tests.servers import MARIADB_IN_SOAK

pytestmark = pytest.mark.parametrize("mysql", MARIADB_IN_SOAK, indirect=True)


@pytest.fixture
def settings(project: DbtProject) -> Settings:
    return replace(load_settings(root=project.folder, environ={}), mysql=project.mysql)


def refuses(settings: Settings, why: str) -> None:
    with pytest.raises(LoadError, match=why):
        prune(settings)


def test_staging_is_given_back_when_its_build_has_been_tested(
    project: DbtProject, settings: Settings, root: Path
) -> None:
    load = generate_load(num_samples=300, num_groups=12)
    stage(project.mysql, DATABASE, load, root)
    project.succeed("run")
    refuses(settings, "have not been tested, with all tests, last: run .*dbt test")
    assert project.run("test", "--select", "sample")[0]
    refuses(settings, "have not been tested, with all tests, last")
    project.query("update sample_feature set feature_value = '7' limit 1")
    assert not project.run("test")[0]
    refuses(settings, "[0-9]+ tests of load 1 have failed: staging stays")
    project.succeed("build")
    project.query("insert into rejected_record values ('a.csv', 1, 1, 'why', 'line')", database=STAGING)

    told = "\n".join(prune(settings))

    assert "load 1 is given back" in told
    assert project.contents() == expected_contents(load)
    assert project.query("select count(*) from sample_feature", database=STAGING) == [(0,)]
    assert project.query("select count(*) from rejected_record", database=STAGING) == [(1,)]
    succeeded, output = project.run("run")
    assert not succeeded
    assert "Nothing is staged for train in development mode: run `make extract`" in output
    status = next(one for one in read_status(settings).data_sets if one.database == DATABASE)
    assert [stage.state for stage in (status.staged, status.built, status.tested)] == ["no", "done", "done"]
    assert next_command(status) is None
    assert prune(settings) == [f"{STAGING} holds no load, and its tables are empty"]

    stage(project.mysql, DATABASE, load, root)
    project.succeed("build")
    assert project.contents() == expected_contents(load)


def test_what_a_killed_prune_has_left_the_next_one_gives_back(
    project: DbtProject, settings: Settings, root: Path
) -> None:
    stage(project.mysql, DATABASE, generate_load(num_samples=300, num_groups=12), root)
    project.query("update load_partition set state = 'superseded'", database=STAGING)

    prune(settings)

    assert project.query("select count(*) from sample_feature", database=STAGING) == [(0,)]
