"""Two hundred samples and more of one population: intervals contain the true rate as often as they say.

The rates that the strata hold do not vary from sample to sample, so their intervals always contain them. What is left
to chance must be: the rate of a simple random sample, a property that makes no strata, and the rate of whole groups.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spark_jobs.sampling import theory
from spark_jobs.sampling.ranks import draw, make_key, ranks

SEEDS, CONFIDENCE = 400, 0.95
POPULATION = 30_000

# Of 400 intervals with 95 %, fewer or more than this contain the rate once in 1,000 times.
EXPECTED = stats.binom(SEEDS, CONFIDENCE).interval(0.999)

RANDOM = np.random.default_rng(7)
NAMES = np.cumsum(RANDOM.integers(150, 400, POPULATION)).astype(np.uint64)
LABELS = RANDOM.choice(4, POPULATION, p=[0.80, 0.01, 0.17, 0.02])
# A property that goes with the labels, as the brand or the crossed fields do.
PROPERTY = RANDOM.random(POPULATION) < np.array([0.25, 0.5, 0.6, 0.7])[LABELS]
GROUPS = np.sort(RANDOM.zipf(1.6, POPULATION) % 1_500)


def test_the_interval_of_a_simple_random_sample_contains_the_rate_as_often_as_it_says() -> None:
    clicks = LABELS >= 2
    size = theory.sample_size(clicks.mean(), 0.1 * clicks.mean(), CONFIDENCE, POPULATION)
    contains = []
    for seed in range(SEEDS):
        chosen = draw(ranks(NAMES, make_key(seed, "samples")), size)
        interval = theory.wilson_interval(int(clicks[chosen].sum()), size, CONFIDENCE, POPULATION)
        contains.append(clicks.mean() in interval)

    assert EXPECTED[0] <= sum(contains) <= EXPECTED[1]


@pytest.mark.parametrize("allocation", ["proportional", "neyman"])
def test_the_interval_of_a_stratified_sample_contains_a_rate_that_makes_no_strata_as_often_as_it_says(
    allocation: str,
) -> None:
    sizes = np.bincount(LABELS, minlength=4).tolist()
    drawn = (
        theory.proportional(sizes, 2_000, 30)
        if allocation == "proportional"
        else theory.neyman(sizes, [0.43, 0.5, 0.49, 0.46], 2_000, 30)
    )
    contains = []
    for seed in range(SEEDS):
        found = ranks(NAMES, make_key(seed, "samples"))
        hits = []
        for label, number in enumerate(drawn):
            members = np.flatnonzero(label == LABELS)
            hits.append(int(PROPERTY[members[draw(found[members], number)]].sum()))
        estimate, interval = theory.stratified_interval(sizes, drawn, hits, CONFIDENCE)
        assert 0 < estimate < 1
        contains.append(PROPERTY.mean() in interval)

    assert EXPECTED[0] <= sum(contains) <= EXPECTED[1]


def test_the_interval_of_a_sample_of_groups_contains_the_rate_as_often_as_it_says() -> None:
    index, place = np.unique(GROUPS, return_inverse=True)
    keep = np.bincount(place) < 500  # a normal interval does not serve where one group is a tenth of everything
    sizes, hits = np.bincount(place)[keep], np.bincount(place, weights=PROPERTY).astype(np.int64)[keep]
    population = theory.describe_clusters(sizes, hits)
    number = 300
    contains = []
    for seed in range(SEEDS):
        chosen = draw(ranks(index[keep].astype(np.uint64), make_key(seed, "groups")), number)
        interval = theory.cluster_interval(
            theory.describe_clusters(sizes[chosen], hits[chosen]), population.number, CONFIDENCE
        )
        contains.append(population.rate in interval)

    # The variance of a ratio is known for large samples only: the interval may be right a little less often.
    assert EXPECTED[0] - 0.02 * SEEDS <= sum(contains) <= EXPECTED[1]


def test_the_goodness_of_fit_rejects_good_samples_as_seldom_as_it_says() -> None:
    population = np.bincount(LABELS, minlength=4)
    p_values = []
    for seed in range(SEEDS):
        chosen = draw(ranks(NAMES, make_key(seed, "samples")), POPULATION // 3)
        observed = np.bincount(LABELS[chosen], minlength=4)
        p_values.append(theory.goodness_of_fit(observed.tolist(), population.tolist()).p_value)

    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
