from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from pipeline.errors import LoadError
from pipeline.load_data import Buffer, StreamConnection
from pipeline.mysql import MysqlConnection
from pipeline.registry import has_loaded_features
from pipeline.settings import MysqlSettings
from spark_jobs import features as features_module
from spark_jobs import landing as landing_module
from spark_jobs.features import collect_features, ids_and_names, land_features, pairs_of
from spark_jobs.landing import Destination
from tests.integration.spark_jobs.test_landing import land, plan, rows, write


def record(sample_id: int, *structures: tuple[str, int]) -> bytes:
    features = b"\x01".join(b"%s\x02%d\x031.0" % (name.encode(), feature_id) for name, feature_id in structures)
    return b"%d,0,0,%016x,%d,%s" % (sample_id, sample_id, len(structures), features)


def land_all(mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path, *lines: bytes) -> Destination:
    path = write(tmp_path, *lines)
    load_id, partitions = plan(staging, path, partition_size=200)
    assert len(partitions) > 2
    land(mysql, path, "sample", load_id, partitions)
    return Destination(mysql, "deepcvr_landing_staging", load_id)


def test_the_features_of_all_partitions_land_once_each(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    lines = [record(number, ("205", number % 70), ("301", 100 + number % 3)) for number in range(300)]
    with (
        mock.patch.object(landing_module, "_FEATURES_PER_RUN", 3),
        mock.patch.object(features_module, "_IDS_BETWEEN_MERGES", 10),
        mock.patch.object(features_module, "_ROWS_PER_CHUNK", 7),
    ):
        destination = land_all(mysql, staging, tmp_path, *lines)
        assert not has_loaded_features(staging, destination.load_id)
        assert land_features(destination, collect_features(destination)) == 73
        assert land_features(destination, collect_features(destination)) == 73  # again, as after a kill

    expected = [(each, "205") for each in range(70)] + [(100 + each, "301") for each in range(3)]
    assert rows(staging, "select feature_id, feature_name from feature order by 1") == expected
    assert rows(staging, "select load_id, num_features from feature_load") == [(destination.load_id, 73)]


def test_a_connection_that_loses_the_features_is_noticed(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    class Losing(StreamConnection):
        """A connection whose transaction is never committed, as where the server's autocommit is off."""

        def load(self, table: str, columns: str, chunks: Iterable[Buffer]) -> int:
            self.begin()
            return super().load(table, columns, chunks)

    destination = land_all(mysql, staging, tmp_path, *(record(number, ("205", number)) for number in range(30)))
    with (
        mock.patch.object(landing_module, "StreamConnection", Losing),
        pytest.raises(LoadError, match=r"^of 30 features 30 went into the table feature, and 0 are there$"),
    ):
        land_features(destination, collect_features(destination))
    assert not has_loaded_features(staging, destination.load_id)


def test_more_names_than_24_bits_can_number_keep_their_ids() -> None:
    numbers = [0, (1 << 24) - 1, 1 << 24, (1 << 32) - 1]
    ids = np.array([0, 1, 4_294_967_295], np.uint32)
    pairs = np.sort(np.concatenate([pairs_of(ids, number) for number in reversed(numbers)]))

    found_ids, found_numbers = ids_and_names(pairs)
    assert list(zip(found_ids.tolist(), found_numbers.tolist(), strict=True)) == [
        (each, number) for each in ids.tolist() for number in numbers
    ]


def test_an_id_under_two_names_is_kept_under_both(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    lines = [record(number, ("205" if number < 20 else "206", 7)) for number in range(30)]
    destination = land_all(mysql, staging, tmp_path, *lines)
    land_features(destination, collect_features(destination))
    assert rows(staging, "select feature_id, feature_name from feature order by 2") == [(7, "205"), (7, "206")]


def test_the_features_of_rejected_records_do_not_land(
    mysql: MysqlSettings, staging: MysqlConnection, tmp_path: Path
) -> None:
    good = [record(number, ("205", number)) for number in range(30)]
    bad = [record(99, ("205", 1000)).replace(b",1,", b",2,"), b"no record"]
    destination = land_all(mysql, staging, tmp_path, *good, *bad)
    land_features(destination, collect_features(destination))
    assert rows(staging, "select feature_id from feature order by 1") == [(number,) for number in range(30)]
