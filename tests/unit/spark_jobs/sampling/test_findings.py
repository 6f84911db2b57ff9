"""What the report says of samples at the edges: a stratum with one drawn or none, nothing seen, all of it drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spark_jobs.sampling.design import plan_clusters, plan_sample
from spark_jobs.sampling.findings import (
    Findings,
    field_rows,
    fits,
    group_field_rows,
    rate_rows,
    strata_rows,
    weighted_lengths,
)
from spark_jobs.sampling.parameters import read_design
from spark_jobs.sampling.passes import Cell, CellTally, FileTally, GroupCounts, SampleTally
from spark_jobs.sampling.tables import printed_tables
from spark_jobs.sampling.theory import Interval

DEFAULTS = {
    "margin": "20%",
    "confidence": "95%",
    "seed": 1,
    "strata": "scene",
    "allocation": "proportional",
    "minimum": 1,
    "clusters": False,
}
# Scene 2 has many clicks, and half of its impressions have the field.
SOURCE: Mapping[Cell, int] = {(0, 1): 8_600, (2, 1): 400, (0, 2): 600, (2, 2): 400}


def tally(cells: Mapping[Cell, int]) -> SampleTally:
    """Count samples whose lists have a length for each scene; that of scene 1 varies."""
    found = SampleTally(FileTally(num_eligible=sum(cells.values())))
    for cell, count in cells.items():
        scene = cell[1] or 0
        one = CellTally(count, 5 * scene * count, 25 * scene**2 * count + (count if scene == 1 else 0))
        one.list_lengths[5 * scene] = count
        one.coverage = Counter({b"205": count if scene == 1 else count // 2})
        found.cells[cell] = one
        found.file.list_lengths += one.list_lengths
        found.file.coverage.update(one.coverage)
    return found


def findings(sample: Mapping[Cell, int], source: Mapping[Cell, int] = SOURCE, **given: Any) -> Findings:
    design, counted = read_design({**DEFAULTS, **given}), tally(source)
    plan = plan_sample(design, counted.cells)
    drawn = Counter[Any]()
    for cell, count in sample.items():
        drawn[design.strata.of(cell)] += count
    # The drawn of each stratum are the sample's, and all else follows from them.
    assert set(drawn) <= {each.stratum for each in plan.strata}
    assert {each.stratum: each.drawn for each in plan.strata if each.drawn} == dict(drawn)
    return Findings(design, plan, counted, FileTally(), 9, 0, tally(sample), FileTally(), 9, None)


def test_every_impression_counts_with_the_weight_of_its_stratum() -> None:
    found = findings({(0, 1): 570, (2, 1): 25, (0, 2): 240, (2, 2): 160}, minimum=400)
    (rate,), (field,) = rate_rows(found), field_rows(found)
    rows = {row.name: row for row in strata_rows(found)}
    clicks = 9_000 * 25 / 595 + 400

    assert rate.estimate == rows["click-through"].estimate == pytest.approx(clicks / 10_000)
    assert field.sample_share == pytest.approx(0.95)
    assert weighted_lengths(found)[[5, 10]] == pytest.approx([9_000, 1_000])
    assert tuple(rows[name].weight for name in ("scene 1", "scene 2", "click-through")) == (9_000 / 595, 2.5, None)
    assert rows["click-through"].sample_share == 185 / 995
    assert any(line.startswith("  click-through ") and line.endswith("by stratum") for line in printed_tables(found))


def test_a_stratum_that_is_not_drawn_may_hold_anything() -> None:
    found = findings({(0, 1): 950, (2, 1): 45}, allocation="neyman", minimum=0)
    (rate,) = rate_rows(found)
    missing = strata_rows(found)[1]

    assert rate.estimate == 45 / 995
    assert rate.interval.low < 0.9 * 45 / 995
    assert rate.interval.high > 0.9 * 45 / 995 + 0.1
    assert (missing.weight, missing.estimate, missing.interval) == (None, 0, Interval(0, 0.1))
    assert any("none drawn" in line for line in printed_tables(found))


def test_a_stratum_of_which_one_is_drawn_is_not_taken_for_one_that_does_not_vary() -> None:
    for label in (0, 2):
        (rate,) = rate_rows(findings({(0, 1): 950, (2, 1): 44, (label, 2): 1}, allocation="neyman"))
        assert rate.design_effect > 30
        assert rate.rate in rate.interval


@pytest.mark.parametrize("minimum", [0, 1, 50])
def test_what_labels_hold_is_exact_however_the_weights_round(minimum: int) -> None:
    source: dict[Cell, int] = {(0, None): 40_655, (1, None): 3, (2, None): 1_633, (3, None): 89}
    design = {"strata": "labels", "minimum": minimum, "margin": "ctr:20%,cvr:90%,ctcvr:90%"}
    drawn = {
        each.stratum: each.drawn
        for each in plan_sample(read_design({**DEFAULTS, **design}), tally(source).cells).strata
    }
    found = findings({cell: drawn[cell] for cell in source if drawn[cell]}, source, **design)

    for row in rate_rows(found):
        assert row.rate in row.interval
        assert row.interval.high - row.interval.low < 1e-4
    for stratum in strata_rows(found):
        assert stratum.source_share in stratum.interval
    if minimum:
        assert all(row.interval == Interval(row.rate, row.rate) for row in rate_rows(found))
        assert sum("exact" in line for line in printed_tables(found)) == 7


def test_what_was_not_seen_is_not_taken_for_nothing() -> None:
    source: dict[Cell, int] = {(0, None): 9_000, (2, None): 600, (3, None): 200}
    design = {"strata": "none", "margin": "ctr:20%,cvr:90%"}
    total = plan_sample(read_design({**DEFAULTS, **design}), tally(source).cells).total
    clicks, conversions = rate_rows(findings({(0, None): total}, source, **design))

    assert clicks.estimate == clicks.interval.low == 0
    assert 0 < clicks.interval.high < 0.01
    assert (conversions.estimate, conversions.interval) == (None, Interval(0, 1))


def test_all_of_the_source_is_exact() -> None:
    found = findings(SOURCE, margin="0.001%")
    intervals = [row.interval for rows in (rate_rows(found), strata_rows(found), field_rows(found)) for row in rows]

    assert all(interval is not None and interval.low == interval.high for interval in intervals)
    assert [(fit.degrees, fit.p_value) for _, fit, _ in fits(found)] == [(0, 1), (0, 1)]


def test_each_impression_of_whole_groups_stands_for_as_many_as_its_group() -> None:
    labels = np.array([[5, 0, 1, 0], [9, 0, 0, 1]] * 200)
    groups = GroupCounts(np.arange(400, dtype=np.uint64), labels)
    design, source = (
        read_design({**DEFAULTS, "clusters": True}),
        tally({(0, None): 2_800, (2, None): 200, (3, None): 200}),
    )
    plan = plan_clusters(design, groups)
    drawn = GroupCounts(groups.index[: plan.groups], labels[: plan.groups])
    counts: dict[Cell, int] = {(label, None): int(drawn.labels[:, label].sum()) for label in (0, 2, 3)}
    has = FileTally(num_eligible=plan.groups or 0, coverage=Counter({b"101": 2}))
    known = FileTally(num_eligible=400, coverage=Counter({b"101": 30}))
    found = Findings(design, plan, source, known, 400, 400, tally(counts), has, plan.groups or 0, drawn)

    assert [row.weight for row in strata_rows(found)] == [400 / len(drawn.index)] * 3
    assert [row.interval is None for row in group_field_rows(found)] == [False]
    # One group more, without an impression, has no chance to be drawn.
    more = replace(found, source_groups=replace(known, num_eligible=401), num_groups=401)
    assert [row.interval for row in group_field_rows(more)] == [None]
