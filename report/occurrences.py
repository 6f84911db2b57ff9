"""How often the features of each field occur, counted in all rows where there are not too many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.mysql import MysqlConnection
from report.counts import SIDES, Side

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Occurrences:
    """How often the features of a field occur.

    Attributes:
        counts: the numbers of rows that a feature is in, rising, each once.
        num_features: how many features are in so many rows.
    """

    counts: Numbers
    num_features: Numbers

    def kept(self, minimum: int) -> int:
        """Give how many features are in at least so many rows: the size of a vocabulary."""
        return int(self.num_features[self.counts >= minimum].sum())

    def coverage(self, minimum: int) -> float:
        """Give which share of all occurrences those features have."""
        occurrences = self.counts * self.num_features
        return float(occurrences[self.counts >= minimum].sum() / occurrences.sum())


@dataclass(frozen=True)
class SideOccurrences:
    """The occurrences of the fields of a side, by field.

    Attributes:
        rows: in how many rows of the side a feature is: impressions, or common feature groups.
        impressions: in how many impressions, where a group counts as often as its impressions, if any.
    """

    rows: Mapping[str, Occurrences]
    impressions: Mapping[str, Occurrences]


# The index of feature_id has all that is asked.
_ROWS: Mapping[Side, str] = {
    "sample": "select feature_id, count(*) as number from sample_feature group by feature_id",
    "common": "select feature_id, count(*) as number from common_feature_group group by feature_id",
}
# Group by group, each by the primary key.
_IMPRESSIONS_OF_GROUPS = """
select straight_join common_feature_group.feature_id, sum(sizes.number) as number
from (select common_feature_index, count(*) as number from sample group by common_feature_index) as sizes
inner join common_feature_group on sizes.common_feature_index = common_feature_group.common_feature_index
group by common_feature_group.feature_id
"""
_BY_FIELD = """
select feature.feature_name, counted.number, count(*)
from ({}) as counted
inner join feature on counted.feature_id = feature.feature_id
group by feature.feature_name, counted.number
order by counted.number
"""


def count_occurrences(connection: MysqlConnection) -> Mapping[Side, SideOccurrences]:
    """Count the occurrences of every feature: each structure is read once, of groups twice.

    Args:
        connection: to the database of the tables, one that nobody else uses at the same time.
    """
    rows = {side: _by_field(connection, _ROWS[side]) for side in SIDES}
    of_groups = _by_field(connection, _IMPRESSIONS_OF_GROUPS)
    return {
        "sample": SideOccurrences(rows["sample"], rows["sample"]),
        "common": SideOccurrences(rows["common"], of_groups),
    }


def _by_field(connection: MysqlConnection, counting: str) -> Mapping[str, Occurrences]:
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_BY_FIELD.format(counting))
        for name, number, num_features in cursor:
            found[name].append((int(number), int(num_features)))
    return {name: Occurrences(*np.array(pairs, dtype=np.int64).T) for name, pairs in found.items()}
