"""The reporting views: a reader pays for what is asked, and not for all that could have been."""

from __future__ import annotations

import pytest

from tests.integration.dbt.project import DbtProject, Published

FULL = "sample_feature_full"
FIRST_OF_SAMPLES = [
    f"select * from {FULL} limit 3",
    f"select * from (select * from {FULL}) as shown limit 5",
    f"select count(*) from (select * from {FULL} limit 10) as shown",
    f"select * from {FULL} where sample_id = 7",
    f"select * from {FULL} where sample_id between 7 and 9",
    f"select * from {FULL} where side = 'common' limit 3",
    f"select * from {FULL} where feature_name = '205' limit 3",
    f"select * from {FULL} where feature_name = '101' limit 3",
    f"select {FULL}.* from {FULL} inner join (select 7 as sample_id union all select 1999) as some using (sample_id)",
]


@pytest.mark.parametrize("query", FIRST_OF_SAMPLES)
def test_some_rows_of_sample_feature_full_are_read_alone(project: DbtProject, published: Published, query: str) -> None:
    counts = "show session status where variable_name like 'Handler_read%' or variable_name like 'Handler%write'"
    before, after = (sum(int(str(row[1])) for row in project.query(*each, counts)) for each in ([], [query]))
    num_handled = after - before
    assert 0 < num_handled < 300
    assert len(published.load["sample_feature"]) > 10_000


def test_sample_feature_full_has_both_sides_of_every_impression(project: DbtProject, published: Published) -> None:
    names = {row[0]: row[1] for row in published.contents["feature"]}
    groups: dict[object, list[tuple[object, ...]]] = {}
    for group, *structure in published.contents["common_feature_group"]:
        groups.setdefault(group, []).append(tuple(structure))
    own = [("sample", *row) for row in published.contents["sample_feature"]]
    common = [("common", row[0], *structure) for row in published.contents["sample"] for structure in groups[row[3]]]
    expected = sorted(
        (sample_id, side, names[feature_id], feature_id, float(str(value)))
        for side, sample_id, feature_id, value in own + common
    )
    # One without features of its own, whose group is not there either, has no row.
    alone = "insert into sample values (4294967295, 0, 1, '0000000000000000')"
    assert sorted(project.query("start transaction", alone, f"select * from {FULL}")) == expected
