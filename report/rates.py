"""Click and conversion rates by feature, over all impressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.mysql import MysqlConnection
from report.counts import Counts, Side
from report.drawing import MOST_CATEGORIES, SideSample

Shares = npt.NDArray[np.float64]

# The item's category: it has many features, of which the most frequent are shown.
CATEGORY = "206"
# The normal deviate of an interval of 95 %.
_Z = 1.959964


@dataclass(frozen=True)
class Rate:
    """What became of the impressions that have a feature.

    Attributes:
        num_conversions: of those with a click.
    """

    feature_id: int
    num_samples: int
    num_clicks: int
    num_conversions: int


# By the index of feature_id, whose rows are in the order of the impressions.
_OWN = """
select straight_join
    sample_feature.feature_id, count(*), sum(sample.click_label), sum(sample.click_label and sample.conversion_label)
from sample_feature force index (feature_id)
inner join sample force index (primary) on sample_feature.sample_id = sample.sample_id
where sample_feature.feature_id in %s
group by sample_feature.feature_id
"""
# The impressions are read once, and added up by group.
_OF_GROUPS = """
select
    common_feature_group.feature_id, sum(labels.num_samples), sum(labels.num_clicks), sum(labels.num_conversions)
from common_feature_group
inner join (
    select
        common_feature_index,
        count(*) as num_samples,
        sum(click_label) as num_clicks,
        sum(click_label and conversion_label) as num_conversions
    from sample ignore index (common_feature_index)
    group by common_feature_index
) as labels on common_feature_group.common_feature_index = labels.common_feature_index
where common_feature_group.feature_id in %s
group by common_feature_group.feature_id
"""
_QUERIES: Mapping[Side, str] = {"sample": _OWN, "common": _OF_GROUPS}


def read_rates(
    connection: MysqlConnection, counts: Counts, sides: Mapping[Side, SideSample]
) -> Mapping[str, Sequence[Rate]]:
    """Count what became of the impressions, by feature of the fields with few and by the most frequent categories.

    Args:
        connection: to the database of the tables.
        counts: name the fields.
        sides: have the features that occur, the most frequent first.

    Returns:
        By field, the features in that order; one that no impression has is left out.
    """
    sizes = {field.feature_name: field.num_features for field in counts.fields}
    rates: dict[str, Sequence[Rate]] = {}
    for side, sample in sides.items():
        shown = {
            name: field.feature_ids[:MOST_CATEGORIES].tolist()
            for name, field in sample.fields.items()
            if name == CATEGORY or sizes.get(name, 0) <= MOST_CATEGORIES
        }
        found = _count(connection, side, [feature_id for ids in shown.values() for feature_id in ids])
        rates |= {name: [found[each] for each in ids if each in found] for name, ids in shown.items()}
    return rates


def _count(connection: MysqlConnection, side: Side, feature_ids: Sequence[int]) -> Mapping[int, Rate]:
    if not feature_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_QUERIES[side], (feature_ids,))
        return {int(row[0]): Rate(*(int(number) for number in row)) for row in cursor.fetchall()}


def interval(hits: npt.ArrayLike, trials: npt.ArrayLike) -> tuple[Shares, Shares]:
    """Give Wilson's interval of 95 % for each of some proportions (E. B. Wilson, JASA 22, 1927).

    Args:
        hits: how many had the property.
        trials: of how many, at least one each.
    """
    n = np.asarray(trials, dtype=np.float64)
    p = np.asarray(hits, dtype=np.float64) / n
    middle, spread = p + _Z**2 / (2 * n), _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return (middle - spread) / (1 + _Z**2 / n), (middle + spread) / (1 + _Z**2 / n)
