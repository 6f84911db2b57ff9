from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import DatabaseError, LoadError
from pipeline.landed import Asset
from pipeline.mysql import MysqlConnection, connect
from pipeline.registry import (
    LoadTotals,
    Partition,
    begin_load,
    claim_partition,
    current_partitions,
    file_totals,
    landed_asset,
    load_totals,
    mark_loaded,
    open_registry,
    record_asset,
    staging_lock,
    supersede_load,
)
from pipeline.settings import MysqlSettings, Settings, load_settings

PARTITIONS = [
    Partition("sample_skeleton_train.csv", "a" * 64, "sample", 1, 1, 0, 100, 3),
    Partition("sample_skeleton_train.csv", "a" * 64, "sample", 2, 4, 100, 170, 2),
    Partition("common_features_train.csv", "b" * 64, "common_feature", 1, 1, 0, 50, 1),
]


@pytest.fixture
def settings(mysql: MysqlSettings, root: Path) -> Settings:
    return replace(load_settings(root=root, environ={}), mysql=mysql, database="deepcvr_registry")


@pytest.fixture
def registry(settings: Settings) -> Iterator[MysqlConnection]:
    with closing(open_registry(settings)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("delete from load_partition")
            cursor.execute("delete from asset")
        yield connection


def test_an_asset_is_recorded_in_place_of_the_one_before(registry: MysqlConnection) -> None:
    uri = "s3://deepcvr-data/development/taobao_train.tar.gz"
    first = Asset(uri, '"abc-2"', 10, datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "c" * 64)
    second = replace(first, etag='"def"', size_bytes=2**40, num_rows=42_300_135)
    record_asset(registry, first)
    assert landed_asset(registry, uri) == first
    record_asset(registry, second)

    assert landed_asset(registry, uri) == second
    assert landed_asset(registry, f"{uri}#other.csv") is None


def test_a_load_is_planned_loaded_and_superseded(registry: MysqlConnection) -> None:
    assert current_partitions(registry) == (None, {})
    load_id = begin_load(registry, PARTITIONS)
    assert current_partitions(registry) == (load_id, dict.fromkeys(PARTITIONS, "planned"))

    registry.begin()
    assert claim_partition(registry, load_id, PARTITIONS[0]) == "planned"
    mark_loaded(registry, load_id, PARTITIONS[0], num_rows=2, num_structures=26, num_rejects=1, num_non_records=0)
    registry.commit()
    assert claim_partition(registry, load_id, PARTITIONS[0]) == "loaded"
    assert load_totals(registry, load_id) == LoadTotals(3, 2, 26, 1, 0)
    assert file_totals(registry, load_id) == {"sample": LoadTotals(3, 2, 26, 1, 0)}

    supersede_load(registry)
    assert current_partitions(registry) == (None, {})
    with pytest.raises(LoadError, match=f"load {load_id} is superseded"):
        claim_partition(registry, load_id, PARTITIONS[0])
    assert begin_load(registry, PARTITIONS) == load_id + 1


def test_only_one_run_may_change_a_staging_database(settings: Settings) -> None:
    with staging_lock(settings.mysql, "one_staging"):
        with (
            pytest.raises(LoadError, match="another make extract is loading one_staging"),
            staging_lock(settings.mysql, "one_staging"),
        ):
            pass
        with staging_lock(settings.mysql, "other_staging"):
            pass
    with staging_lock(settings.mysql, "one_staging"):
        pass


def test_a_wrong_password_is_told_without_showing_it(mariadb_by_tcp: MysqlSettings) -> None:
    with pytest.raises(DatabaseError, match="refuses user 'deepcvr': check MYSQL_USER and MYSQL_PASSWORD") as caught:
        connect(replace(mariadb_by_tcp, password="open sesame"))
    assert "sesame" not in str(caught.value)


def test_a_registry_that_is_older_than_the_kinds_of_records_learns_them(
    registry: MysqlConnection, settings: Settings
) -> None:
    load_id = begin_load(registry, PARTITIONS)
    mark_loaded(registry, load_id, PARTITIONS[0], num_rows=2, num_structures=26, num_rejects=1, num_non_records=0)
    with registry.cursor() as cursor:
        cursor.execute("alter table load_partition drop column record_kind, drop column num_non_records")
    for _ in range(2):
        with closing(open_registry(settings)) as connection:
            assert current_partitions(connection) == (
                load_id,
                {PARTITIONS[0]: "loaded", PARTITIONS[1]: "planned", PARTITIONS[2]: "planned"},
            )
            assert load_totals(connection, load_id) == LoadTotals(3, 2, 26, 1, 0)
