"""Train against test: what the one has that the other does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.mysql import MysqlConnection
from pipeline.settings import Settings


@dataclass(frozen=True)
class Unknown:
    """The features of a field in test, beside those of train. A feature on both sides counts on each.

    Attributes:
        num_features: different features of the field in test.
        num_unknown: those of them that train does not have.
        num_structures: of the field in test; None where they were not counted.
        num_unknown_structures: those of the unknown features.
    """

    feature_name: str
    num_features: int
    num_unknown: int
    num_structures: int | None
    num_unknown_structures: int | None


_FEATURES = """
select straight_join
    test.feature_name, count(*), sum(train.feature_id is null), sum(counted.number),
    sum(if(train.feature_id is null, counted.number, 0))
from {counted} as counted
inner join {test}.feature as test force index (primary) on counted.feature_id = test.feature_id
left join {train}.feature as train force index (primary) on counted.feature_id = train.feature_id
group by test.feature_name
"""
_COUNTED = """(
    select feature_id, count(*) as number from {test}.sample_feature group by feature_id
    union all
    select feature_id, count(*) as number from {test}.common_feature_group group by feature_id
)"""
_UNCOUNTED = "(select feature_id, null as number from {test}.feature)"


def compare(connection: MysqlConnection, train: Settings, test: Settings, *, counted: bool) -> Sequence[Unknown]:
    """Look up each feature of test in train.

    Args:
        connection: to the server of both.
        train: names the one database.
        test: names the other.
        counted: whether their structures are counted too, which reads all of test's.
    """
    names = {"train": f"`{train.database}`", "test": f"`{test.database}`"}
    with connection.cursor() as cursor:
        cursor.execute(_FEATURES.format(counted=(_COUNTED if counted else _UNCOUNTED).format(**names), **names))
        return [
            Unknown(name, int(features), int(unknown), *((int(all_of_it), int(part)) if counted else (None, None)))
            for name, features, unknown, all_of_it, part in cursor.fetchall()
        ]
