"""What may be asked for, and how many impressions that takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.errors import LoadError, UsageError
from spark_jobs.sampling import theory
from spark_jobs.sampling.design import plan_clusters, plan_sample, stratum_name
from spark_jobs.sampling.parameters import Margin, StratumRule, read_design
from spark_jobs.sampling.passes import CellTally, GroupCounts

DEFAULTS = {
    "margin": "5%",
    "confidence": "95%",
    "seed": 1,
    "strata": "labels",
    "allocation": "proportional",
    "minimum": 1,
    "clusters": False,
}
# The labels of the full train data, as published: (0,0), (0,1), (1,0), (1,1).
TRAIN = {(0, None): 40_655_649, (1, None): 230, (2, None): 1_635_454, (3, None): 8_802}


def design(**given: Any) -> Any:
    return read_design({**DEFAULTS, **given})


def cells(counts: dict[Any, int]) -> dict[Any, CellTally]:
    return {
        cell: CellTally(count=count, sum_length=13 * count, sum_square=200 * count) for cell, count in counts.items()
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("5%", {"ctr": Margin(0.05, "relative")}),
        (".002", {"ctr": Margin(0.002, "absolute")}),
        ("ctr:5%, cvr:20%", {"ctr": Margin(0.05, "relative"), "cvr": Margin(0.2, "relative")}),
        ("ctcvr:0.0001", {"ctcvr": Margin(0.0001, "absolute")}),
    ],
)
def test_margins_are_read_as_relative_or_absolute(typed: str, meant: dict[str, Margin]) -> None:
    assert design(margin=typed).margins == meant


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"margin": "five"}, r"MARGIN is 'five', expected a number such as 5% \(of the rate\) or 0\.002"),
        ({"margin": "0"}, "a margin is more than 0 and less than 1"),
        ({"margin": "100%"}, "a margin is more than 0 and less than 100 %"),
        ({"margin": "ctr:5%,ctr:6%"}, "name each of ctr, cvr, ctcvr at most once"),
        ({"margin": "clicks:5%"}, "name each of ctr, cvr, ctcvr at most once"),
        ({"margin": "-5%"}, "MARGIN is '-5%'"),
        ({"confidence": "95"}, "CONFIDENCE is '95', expected more than 0 % and less than 100 %"),
        ({"confidence": "100%"}, "CONFIDENCE is '100%'"),
        ({"seed": "-1"}, "SEED is '-1', expected a whole number from 0"),
        ({"seed": str(2**63)}, "SEED is"),
        ({"minimum": "1.5"}, "MINIMUM is '1.5', expected a whole number from 0"),
        ({"strata": "gender"}, "STRATA is 'gender', expected labels, scene, labels,scene or none"),
        ({"strata": "labels,none"}, "STRATA is 'labels,none'"),
        ({"allocation": "equal"}, "ALLOCATION is 'equal', expected proportional or neyman"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        design(**given)


def test_the_size_is_the_largest_that_any_rate_needs() -> None:
    both = plan_sample(design(margin="ctr:5%,cvr:20%"), cells(TRAIN))
    alone = [plan_sample(design(margin=margin), cells(TRAIN)) for margin in ("ctr:5%", "cvr:20%")]

    assert both.total == max(plan.total for plan in alone)
    assert alone[0].total == theory.sample_size(1_644_256 / 42_300_135, 0.05 * 1_644_256 / 42_300_135, 0.95, 42_300_135)
    (conversions,) = alone[1].targets
    clicks = sum(each.drawn for each in alone[1].strata if each.stratum[0] in (2, 3))
    assert conversions.needed <= clicks <= conversions.needed + 1


def test_each_label_has_its_share_and_the_rare_ones_their_minimum() -> None:
    drawn = {each.name: each.drawn for each in plan_sample(design(minimum=30), cells(TRAIN)).strata}

    assert list(drawn) == ["no response", "click-through", "click-through and conversion", "conversion without click"]
    assert drawn["click-through and conversion"] == drawn["conversion without click"] == 30
    assert sum(drawn.values()) == plan_sample(design(), cells(TRAIN)).total


def test_without_strata_all_impressions_are_one() -> None:
    plan = plan_sample(design(strata="none"), cells(TRAIN))

    assert [each.name for each in plan.strata] == ["all impressions"]


def test_neyman_gives_more_to_the_strata_whose_lists_differ_more_in_length() -> None:
    counts: dict[Any, CellTally] = {
        (0, None): CellTally(count=1_000, sum_length=10_000, sum_square=101_000),
        (2, None): CellTally(count=1_000, sum_length=10_000, sum_square=104_000),
    }
    plan = plan_sample(design(allocation="neyman", margin="20%"), counts)
    first, second = (each.drawn for each in plan.strata)

    assert second == pytest.approx(2 * first, abs=2)


def test_too_many_scenes_are_refused() -> None:
    with pytest.raises(LoadError, match=r"field 301 makes 150 strata, more than 100: use STRATA=labels"):
        plan_sample(design(strata="scene", margin="20%"), cells({(2 * (scene % 2), scene): 9 for scene in range(150)}))


def test_as_many_groups_are_drawn_as_keep_the_margin() -> None:
    random = np.random.default_rng(3)
    labels = np.zeros((5_000, 4), np.int64)
    labels[:, 0] = random.integers(10, 90, 5_000)
    labels[:, 2] = random.binomial(labels[:, 0], random.beta(0.4, 10, 5_000))
    plan = plan_clusters(design(clusters="1", margin="10%"), GroupCounts(np.arange(5_000, dtype=np.uint64), labels))
    (target,) = plan.targets

    assert target.design_effect > 1.5
    assert plan.groups is not None
    assert 0 < plan.groups < 5_000
    assert target.total > theory.sample_size(target.rate, 0.1 * target.rate, 0.95, plan.population)


def test_strata_have_names_that_a_person_reads() -> None:
    assert stratum_name((3, 9_351_665)) == "click-through and conversion, scene 9351665"
    assert stratum_name((None, -1)) == "no scene"
    assert StratumRule(labels=True, scene=False).of((2, 5)) == (2, None)
