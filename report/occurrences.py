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
        counts: the numbers of impressions that a feature is in, rising, each once.
        num_features: how many features are in so many.
    """

    counts: Numbers
    num_features: Numbers

    def kept(self, minimum: int) -> int:
        """Give how many features are in at least so many impressions: the size of a vocabulary."""
        return int(self.num_features[self.counts >= minimum].sum())

    def coverage(self, minimum: int) -> float:
        """Give which share of all occurrences those features have."""
        occurrences = self.counts * self.num_features
        return float(occurrences[self.counts >= minimum].sum() / occurrences.sum())


# The index of feature_id has all that is asked.
_OWN = "select feature_id, count(*) as number from sample_feature group by feature_id"
# In the order of the features, or their sums would be kept on the disk until all are added up.
_OF_GROUPS = """
select straight_join common_feature_group.feature_id, cast(sum(sizes.number) as signed) as number
from common_feature_group force index (feature_id)
inner join (select common_feature_index, count(*) as number from sample group by common_feature_index) as sizes
    on common_feature_group.common_feature_index = sizes.common_feature_index
group by common_feature_group.feature_id
"""
_QUERIES: Mapping[Side, str] = {"sample": _OWN, "common": _OF_GROUPS}
_BY_FIELD = """
select straight_join feature.feature_name, counted.number, count(*)
from ({}) as counted
inner join feature force index (primary) on counted.feature_id = feature.feature_id
group by feature.feature_name, counted.number
order by counted.number
"""


def count_occurrences(connection: MysqlConnection) -> Mapping[Side, Mapping[str, Occurrences]]:
    """Count in how many impressions each feature is, by side and field; a group counts as often as its impressions.

    Every structure is read once. A feature that no impression has is left out.

    Args:
        connection: to the database of the tables, one that nobody else uses at the same time.
    """
    return {side: _by_field(connection, _QUERIES[side]) for side in SIDES}


def _by_field(connection: MysqlConnection, counting: str) -> Mapping[str, Occurrences]:
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_BY_FIELD.format(counting))
        for name, number, num_features in cursor:
            found[name].append((int(number), int(num_features)))
    return {name: Occurrences(*np.array(pairs, dtype=np.int64).T) for name, pairs in found.items()}
