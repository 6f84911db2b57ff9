"""Hundreds of samples of one population: what the report prints contains the truth as often as it says.

Plan, ranks and findings are the project's own, and the intervals are those of the rows that the report, the manifest
and the terminal show. What the strata hold must be exact in every sample, and all else must miss as often as it says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from spark_jobs.sampling.design import Plan, plan_clusters, plan_sample
from spark_jobs.sampling.findings import Findings, field_rows, fits, group_field_rows, rate_rows, strata_rows
from spark_jobs.sampling.parameters import Design, read_design
from spark_jobs.sampling.passes import (
    LONGEST_LIST,
    NUM_REPLICATES,
    Cell,
    CellTally,
    FileTally,
    GroupCounts,
    Replicates,
    SampleTally,
    Stratum,
)
from spark_jobs.sampling.ranks import draw, make_key, ranks
from spark_jobs.sampling.theory import Interval

SEEDS, CONFIDENCE = 300, 0.95
POPULATION = 30_000

# Of so many intervals with 95 %, fewer or more than this contain the truth once in 10,000 times.
LEAST, MOST = stats.binom(SEEDS, CONFIDENCE).interval(1 - 1e-4)

RANDOM = np.random.default_rng(7)
NAMES = np.cumsum(RANDOM.integers(150, 400, POPULATION)).astype(np.uint64)
# Scenes of very different sizes, which make the weights unequal, and with other rates in each.
SCENES = RANDOM.choice(3, POPULATION, p=[0.78, 0.18, 0.04])
_SIZES = RANDOM.lognormal(0, 1.15, 1_500)
GROUPS = RANDOM.choice(1_500, POPULATION, p=_SIZES / _SIZES.sum())
_CLICKS = np.array([0.06, 0.20, 0.40])[SCENES] * RANDOM.lognormal(0, 0.7, 1_500)[GROUPS]
_CONVERSIONS = np.array([0.10, 0.25, 0.50])[SCENES]
LABELS = 2 * (RANDOM.random(POPULATION) < np.minimum(_CLICKS, 0.9)).astype(np.int64)
LABELS += np.where(LABELS == 2, RANDOM.random(POPULATION) < _CONVERSIONS, RANDOM.random(POPULATION) < 0.01)
FIELDS = {
    b"everywhere": np.ones(POPULATION, np.bool_),
    b"with_labels": RANDOM.random(POPULATION) < np.array([0.25, 0.5, 0.6, 0.7])[LABELS],
    b"with_scenes": RANDOM.random(POPULATION) < np.array([0.03, 0.2, 0.6])[SCENES],
}
LENGTHS = 3 + RANDOM.poisson(np.array([2, 6, 12])[SCENES])
GROUP_FIELD = RANDOM.random(1_500) < 0.3

DEFAULTS = {
    "margin": "ctr:10%,cvr:30%,ctcvr:30%",
    "confidence": "95%",
    "seed": 1,
    "strata": "labels",
    "allocation": "proportional",
    "minimum": 1,
    "clusters": False,
}
DESIGNS: Mapping[str, Mapping[str, Any]] = {
    "none": {"strata": "none"},
    "none, most of all drawn": {"strata": "none", "margin": "ctr:1.5%"},
    "labels, minimum": {"minimum": 400},
    "labels, no minimum": {"minimum": 0, "margin": "ctr:40%"},
    "labels, neyman": {"allocation": "neyman"},
    "labels and scene": {"strata": "labels,scene", "minimum": 60},
    "scene, minimum": {"strata": "scene", "minimum": 1_000},
    "scene, one wholly drawn": {"strata": "scene", "minimum": 1_500},
    "scene, neyman": {"strata": "scene", "allocation": "neyman"},
    "groups": {"clusters": True},
}


def tally(chosen: npt.NDArray[np.int64], *, scenes: bool) -> SampleTally:
    """Count as the passes do."""
    found = SampleTally(FileTally(num_lines=len(chosen), num_eligible=len(chosen)))
    codes = LABELS[chosen] * 3 + SCENES[chosen] * scenes
    for code in np.unique(codes).tolist():
        cell: Cell = (code // 3, code % 3 if scenes else None)
        found.cells[cell] = cell_tally(chosen[codes == code])
        found.file.coverage.update(found.cells[cell].coverage)
        found.file.list_lengths += found.cells[cell].list_lengths
    return found


def cell_tally(members: npt.NDArray[np.int64]) -> CellTally:
    lengths = LENGTHS[members]
    return CellTally(
        count=len(members),
        sum_length=int(lengths.sum()),
        sum_square=int((lengths**2).sum()),
        list_lengths=np.bincount(lengths, minlength=LONGEST_LIST + 1),
        coverage=Counter({name: int(has[members].sum()) for name, has in FIELDS.items()}),
    )


def group_counts(chosen: npt.NDArray[np.int64]) -> GroupCounts:
    index, place = np.unique(GROUPS[chosen], return_inverse=True)
    labels = np.bincount(place * 4 + LABELS[chosen], minlength=4 * len(index)).reshape(-1, 4)
    return GroupCounts(index.astype(np.uint64), labels)


def group_tally(index: npt.NDArray[Any]) -> FileTally:
    has = int(GROUP_FIELD[index.astype(np.int64)].sum())
    return FileTally(num_lines=len(index), num_eligible=len(index), coverage=Counter({b"group_field": has}))


@cache
def random_groups() -> Replicates:
    """Count the source by random groups, as the pass does."""
    number = ranks(GROUPS.astype(np.uint64), make_key(1, "replicates")) % np.uint64(NUM_REPLICATES)

    def count(wanted: Iterable[npt.NDArray[np.bool_]]) -> npt.NDArray[np.int64]:
        return np.array([np.bincount(number[each].astype(int), minlength=NUM_REPLICATES) for each in wanted])

    lengths = np.unique(LENGTHS).tolist()
    return Replicates(
        count(np.arange(4)[:, None] == LABELS).T,
        dict(zip(lengths, count(np.array(lengths)[:, None] == LENGTHS), strict=True)),
        dict(zip(FIELDS, count(FIELDS.values()), strict=True)),
    )


@cache
def members_of(stratum: Stratum) -> npt.NDArray[np.int64]:
    wanted = np.ones(POPULATION, np.bool_)
    for column, value in zip((LABELS, SCENES), stratum, strict=True):
        wanted &= value is None or column == value
    return np.flatnonzero(wanted)


def draw_all(design: Design) -> Iterator[Findings]:
    """Draw by the project's plan with every seed, and count."""
    everything = np.arange(POPULATION)
    source, groups = tally(everything, scenes=design.strata.scene), group_counts(everything)
    plan = plan_clusters(design, groups) if design.clusters else plan_sample(design, source.cells)
    for seed in range(SEEDS):
        yield draw_one(design, plan, source, groups, seed)


def draw_one(design: Design, plan: Plan, source: SampleTally, groups: GroupCounts, seed: int) -> Findings:
    if design.clusters:
        index = groups.index[draw(ranks(groups.index, make_key(seed, "groups")), plan.groups or 0)]
        chosen = np.flatnonzero(np.isin(GROUPS, index))
    else:
        found, parts = ranks(NAMES, make_key(seed, "samples")), []
        for each in plan.strata:
            members = members_of(each.stratum)
            parts.append(members[draw(found[members], each.drawn)])
        chosen = np.concatenate(parts)
    return Findings(
        design=design,
        plan=plan,
        source=source,
        source_groups=group_tally(groups.index),
        num_groups=len(groups.index),
        num_groups_with_samples=len(groups.index) if design.clusters else 0,
        sample=tally(chosen, scenes=design.strata.scene),
        sample_groups=group_tally(np.unique(GROUPS[chosen])),
        num_sample_groups=len(np.unique(GROUPS[chosen])),
        drawn_groups=group_counts(chosen) if design.clusters else None,
        replicates=random_groups() if design.clusters else None,
    )


def shown(findings: Findings) -> Iterator[tuple[str, float, Interval | None]]:
    """Give each interval of the report, with the truth that it is an interval of."""
    for rate in rate_rows(findings):
        yield rate.name, rate.rate, rate.interval
    for stratum in strata_rows(findings):
        yield stratum.name, stratum.source_share, stratum.interval
    for field in (*field_rows(findings), *group_field_rows(findings)):
        yield field.name, field.source_share, field.interval


@pytest.mark.parametrize("name", DESIGNS)
def test_what_the_report_prints_contains_the_truth_as_often_as_it_says(name: str) -> None:
    design = read_design({**DEFAULTS, **DESIGNS[name]})
    contains, exact, p_values = Counter[str](), Counter[str](), defaultdict[str, list[float]](list)
    for findings in draw_all(design):
        for what, truth, interval in shown(findings):
            if interval is not None:
                contains[what] += truth in interval
                exact[what] += interval.low == interval.high
        for what, fit, _ in fits(findings):
            p_values[what].append(fit.p_value)

    held = {each.name for each in findings.plan.strata}
    held |= {rate.name for rate in rate_rows(findings)} if design.strata.labels else set()
    assert {what for what, number in exact.items() if number == SEEDS} == held
    for what, number in contains.items():
        # Wilson's interval of what every impression has reaches to 1 in each sample.
        assert number == SEEDS if what in held or what == "everywhere" else LEAST <= number <= MOST, what
    assert ("group_field" in contains) == design.clusters
    for what, found in p_values.items():
        if what == "labels" and design.strata.labels:
            assert set(found) == {1.0}
        elif design.clusters:
            # The covariance is that of random groups: the test may reject a little less often.
            assert sum(p_value < 1 - CONFIDENCE for p_value in found) <= SEEDS - LEAST, what
        else:
            assert stats.kstest(found, "uniform").pvalue > 1e-3, what
