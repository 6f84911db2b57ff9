"""A small load, as the Spark job leaves it in staging, for the dbt project to build from."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.mysql import connect
from pipeline.registry import open_registry
from pipeline.settings import MysqlSettings, load_settings
from spark_jobs.staging import empty_staging_tables

Row = tuple[object, ...]
Tables = dict[str, list[Row]]

# The first feature_id of some fields of each side.
FIELDS = {
    "sample": {"205": 4_186_222, "206": 8_316_799, "210": 9_052_218, "301": 9_351_665, "508": 9_355_039},
    "common": {"101": 1, "109_14": 449_068, "121": 3_438_658, "124": 3_438_769, "150_14": 3_871_000},
}
MULTI_VALUED = {"210", "109_14", "150_14"}
FEATURES_PER_FIELD = {"121": 2, "124": 2}
ROWS_PER_PARTITION = 100


def generate_load(num_samples: int = 300, num_groups: int = 12, seed: int = 1) -> Tables:
    """Rows per staging table: samples that share common feature groups, with labels and features as the source has."""
    chance = random.Random(seed)
    groups = [f"{chance.getrandbits(64):016x}" for _ in range(num_groups)]
    sample: list[Row] = []
    common_feature: list[Row] = []
    sample_feature: list[Row] = []
    common_feature_group: list[Row] = []
    feature: set[tuple[int, str]] = set()
    for number in range(num_samples):
        structures = list(_structures("sample", chance))
        labels = chance.choices([(0, 0), (1, 0), (1, 1), (0, 1)], weights=[80, 12, 6, 2])[0]
        group = groups[number * num_groups // num_samples]
        sample.append((number + 1, *labels, group, len(structures), number // ROWS_PER_PARTITION))
        sample_feature += [(number + 1, *structure[1:]) for structure in structures]
        feature |= {(feature_id, name) for name, feature_id, _ in structures}
    for number, group in enumerate(sorted(groups)):
        structures = list(_structures("common", chance))
        common_feature.append((group, len(structures), number // ROWS_PER_PARTITION))
        common_feature_group += [(group, *structure[1:]) for structure in structures]
        feature |= {(feature_id, name) for name, feature_id, _ in structures}
    now = datetime.now(UTC).replace(tzinfo=None)
    archive = "s3://deepcvr-data/development/taobao_train.tar.gz"
    members = [
        ("sample", "sample_skeleton_train.csv", "a" * 64, sample, sample_feature),
        ("common_feature", "common_features_train.csv", "b" * 64, common_feature, common_feature_group),
    ]
    return {
        "sample": sample,
        "common_feature": common_feature,
        "sample_feature": sample_feature,
        "common_feature_group": common_feature_group,
        "feature": sorted(feature),
        "partition_feature": [],
        "rejected_record": [],
        "asset": [
            (1, archive, "etag", 1, "0" * 64, None, now),
            *(
                (number, f"{archive}#{file}", "etag", 1, sha256, len(rows), now)
                for number, (_, file, sha256, rows, _) in enumerate(members, start=2)
            ),
        ],
        "load_partition": [
            partition
            for kind, file, sha256, rows, structures in members
            for partition in _partitions(kind, file, sha256, rows, structures, now)
        ],
        "feature_load": [(1, len(feature), now)],
        "test_run": [],
    }


def _structures(side: str, chance: random.Random) -> Iterator[tuple[str, int, str]]:
    seen = set()
    for name, first_id in FIELDS[side].items():
        for _ in range(chance.randint(1, 4) if name in MULTI_VALUED else 1):
            feature_id = first_id + chance.randrange(FEATURES_PER_FIELD.get(name, 60))
            if feature_id not in seen:
                seen.add(feature_id)
                yield name, feature_id, chance.choice(["1.0", "0.69315", "1.09861", "0.0797", "2.5e-05"])


def _partitions(
    kind: str, file: str, sha256: str, rows: list[Row], structures: list[Row], now: datetime
) -> Iterator[Row]:
    num_structures = Counter(row[0] for row in structures)
    for number, first in enumerate(range(0, len(rows), ROWS_PER_PARTITION)):
        part = rows[first : first + ROWS_PER_PARTITION]
        counts = (len(part), len(part), sum(num_structures[row[0]] for row in part), 0, 0)
        yield 1, file, sha256, kind, number, first + 1, 0, 1, *counts, "loaded", now


def stage(mysql: MysqlSettings, database: str, tables: Tables, root: Path) -> None:
    """Puts a load into the staging database of `database`, in place of all that was there, and drops what was built."""
    with closing(connect(mysql)) as connection, connection.cursor() as cursor:
        for name in (database, f"{database}_staging"):
            cursor.execute(f"drop database if exists `{name}`")
    settings = replace(load_settings(root=root, environ={}), mysql=mysql, database=database)
    with closing(open_registry(settings)) as connection, connection.cursor() as cursor:
        empty_staging_tables(connection)
        for table, rows in tables.items():
            if rows:
                cursor.executemany(f"insert into `{table}` values ({', '.join(['%s'] * len(rows[0]))})", rows)
