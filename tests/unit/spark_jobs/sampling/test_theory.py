"""The formulas against published tables, a statistics library, and plain enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spark_jobs.sampling import theory

# A population to which no sample makes a difference.
ENDLESS = 10**18


@pytest.mark.parametrize(
    ("population", "printed"),
    [
        # Krejcie and Morgan, Determining sample size for research activities, Educational and Psychological
        # Measurement 30 (1970), table 1: a rate of 0.5, a margin of 0.05, 95 % confidence. They round to the nearest.
        *((10, 10), (50, 44), (100, 80), (230, 144), (500, 217), (1_000, 278), (1_500, 306), (2_800, 338)),
        *((9_000, 368), (10_000, 370), (1_000_000, 384)),
    ],
)
def test_sample_sizes_are_those_of_the_printed_table(population: int, printed: int) -> None:
    size = theory.sample_size(0.5, 0.05, 0.95, population)

    assert printed <= size <= printed + 1


def test_the_margin_of_a_size_is_just_kept() -> None:
    rate, margin, population = 0.0388, 0.05 * 0.0388, 423_001
    size = theory.sample_size(rate, margin, 0.95, population)

    def half_width(drawn: int) -> float:
        variance = rate * (1 - rate) / drawn * (population - drawn) / (population - 1)
        return float(stats.norm.ppf(0.975)) * math.sqrt(variance)

    assert half_width(size) <= margin < half_width(size - 1)


@pytest.mark.parametrize(("rate", "population", "size"), [(0.0, 100, 1), (1.0, 100, 1), (0.5, 0, 0), (0.5, 1, 1)])
def test_sizes_at_the_edges(rate: float, population: int, size: int) -> None:
    assert theory.sample_size(rate, 0.05, 0.95, population) == size


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_the_normal_deviate_is_the_librarys(confidence: float) -> None:
    assert theory.z_value(confidence) == pytest.approx(stats.norm.ppf((1 + confidence) / 2), rel=1e-9)


@given(drawn=st.integers(1, 5_000), share=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilsons_interval_is_the_librarys(drawn: int, share: float, confidence: float) -> None:
    hits = round(share * drawn)
    expected = stats.binomtest(hits, drawn).proportion_ci(confidence, method="wilson")
    found = theory.wilson_interval(hits, drawn, confidence, ENDLESS)

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilsons_interval_shrinks_to_the_rate_when_all_are_drawn() -> None:
    endless = theory.wilson_interval(30, 100, 0.95, ENDLESS)
    half = theory.wilson_interval(30, 100, 0.95, 200)

    assert half.high - half.low == pytest.approx((endless.high - endless.low) * math.sqrt(0.5), rel=0.02)
    assert theory.wilson_interval(30, 100, 0.95, 100) == theory.Interval(0.3, 0.3)


@st.composite
def strata(draw: st.DrawFn) -> tuple[list[int], int, int]:
    sizes = draw(st.lists(st.integers(0, 2_000), min_size=1, max_size=8).filter(any))
    return sizes, draw(st.integers(0, sum(sizes))), draw(st.integers(0, 30))


@given(strata())
def test_proportional_allocation_is_exact_and_within_one_of_its_share(drawn: tuple[list[int], int, int]) -> None:
    sizes, total, minimum = drawn
    floors = [min(minimum, size) for size in sizes]
    parts = theory.proportional(sizes, total, minimum)

    assert sum(parts) == max(total, sum(floors))
    assert all(floor <= part <= size for floor, part, size in zip(floors, parts, sizes, strict=True))
    if minimum == 0:
        shares = [total * size / sum(sizes) for size in sizes]
        assert all(abs(part - share) < 1 for part, share in zip(parts, shares, strict=True))


@given(strata(), st.lists(st.floats(0, 50), min_size=8, max_size=8))
def test_neyman_allocation_is_exact_within_the_strata(drawn: tuple[list[int], int, int], more: list[float]) -> None:
    sizes, total, minimum = drawn
    parts = theory.neyman(sizes, more[: len(sizes)], total, minimum)

    assert sum(parts) == max(total, sum(min(minimum, size) for size in sizes))
    assert all(min(minimum, size) <= part <= size for part, size in zip(parts, sizes, strict=True))


def test_the_largest_remainders_get_what_is_left_over() -> None:
    # The textbook example of Hamilton's method: 10 seats for 100,000 votes.
    assert theory.apportion([47_000, 16_000, 15_900, 12_000, 6_000, 3_100], 10, [0] * 6, [99] * 6) == [5, 2, 1, 1, 1, 0]


def test_a_minimum_is_taken_from_the_others_in_proportion() -> None:
    assert theory.proportional([900_000, 90_000, 9_000, 20], 1_000, 30) == [864, 86, 30, 20]


def test_neyman_gives_a_stratum_that_varies_twice_as_much_twice_as_many() -> None:
    assert theory.neyman([1_000, 1_000, 1_000], [1.0, 2.0, 0.0], 300, 0) == [100, 200, 0]
    assert theory.neyman([1_000, 1_000], [0.0, 0.0], 300, 0) == [150, 150]


def test_neyman_varies_least_of_all_allocations() -> None:
    sizes, deviations, total = [60, 40], [1.0, 3.0], 30

    def variance(first: int) -> float:
        parts = (first, total - first)
        return sum(
            size**2 * (1 - part / size) * deviation**2 / part
            for size, deviation, part in zip(sizes, deviations, parts, strict=True)
        )

    assert theory.neyman(sizes, deviations, total, 0)[0] == min(range(1, total), key=variance)


def test_a_design_effect_makes_the_sample_so_much_smaller() -> None:
    half = theory.wilson_interval(15, 50, 0.95, ENDLESS)
    assert theory.wilson_interval(30, 100, 0.95, ENDLESS, 2.0) == half
    assert theory.wilson_interval(30, 100, 0.95, 500, 0.0) == theory.Interval(0.3, 0.3)


@pytest.mark.parametrize("mean", [0.02, 0.05, 0.1, 0.18, 0.4, 0.7, 1.0, 1.6, 2.5])
def test_the_interval_of_a_rare_rate_contains_it_as_often_as_it_says(mean: float) -> None:
    drawn = 1_000
    hits, rates = np.arange(40), [mean / drawn, 1 - mean / drawn]
    chances = [stats.binom(drawn, rate).pmf(seen) for rate, seen in zip(rates, (hits, drawn - hits), strict=True)]
    for rate, seen, chance in zip(rates, (hits, drawn - hits), chances, strict=True):
        contains = [rate in theory.proportion_interval(int(number), drawn, 0.95, ENDLESS) for number in seen]
        assert chance @ contains > 0.93


def variance_of_all_samples(strata: list[list[int]], drawn: list[int]) -> float:
    """Draw every sample that there is: of each stratum so many of its units, 1 with the property and 0 without."""
    population = sum(map(len, strata))
    samples = itertools.product(
        *(itertools.combinations(units, number) for units, number in zip(strata, drawn, strict=True))
    )
    estimates = [
        sum(len(units) * sum(each) / len(each) for units, each in zip(strata, sample, strict=True)) / population
        for sample in samples
    ]
    return float(np.var(estimates))


@pytest.mark.parametrize("drawn", [[2, 3], [1, 4], [4, 1], [5, 2]])
def test_the_design_effect_of_strata_is_that_of_all_samples_that_there_are(drawn: list[int]) -> None:
    strata = [[1, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0]]
    expected = variance_of_all_samples(strata, drawn) / variance_of_all_samples(
        [[*strata[0], *strata[1]]], [sum(drawn)]
    )

    assert theory.stratified_design_effect([5, 6], drawn, [5, 6], [1, 3]) == pytest.approx(expected)


def test_the_design_effect_of_a_ratio_is_that_of_many_samples() -> None:
    random = np.random.default_rng(11)
    sizes, drawn, bases, hits = [8_000, 2_000], [500, 900], [800, 700], [80, 420]
    counts = [
        random.multivariate_hypergeometric([hit, base - hit, size - base], number, 20_000)
        for size, number, base, hit in zip(sizes, drawn, bases, hits, strict=True)
    ]
    weighted = sizes[0] / drawn[0] * counts[0] + sizes[1] / drawn[1] * counts[1]
    rate, expected_base = 500 / 1_500, 500 * 0.1 + 900 * 0.35
    at_random = rate * (1 - rate) * (1 / expected_base - 1 / 1_500)
    variance = np.mean((weighted[:, 0] / weighted[:, :2].sum(axis=1) - rate) ** 2)

    assert theory.stratified_design_effect(sizes, drawn, bases, hits) == pytest.approx(variance / at_random, rel=0.03)


@pytest.mark.parametrize(
    ("sizes", "drawn", "bases", "hits", "expected"),
    [
        ([1_000], [30], [400], [7], 1.0),  # no strata
        ([700, 299, 1], [9, 9, 1], [700, 299, 1], [0, 299, 1], 0.0),  # the strata hold the rate
        ([700, 300], [1, 1], [700, 300], [0, 0], 1.0),  # nothing varies
        ([700, 300], [700, 300], [700, 300], [3, 20], 1.0),  # all of it is drawn
        ([700, 300], [9, 0], [700, 300], [20, 20], 1.0),  # a stratum that is not drawn says nothing
    ],
)
def test_design_effects_at_the_edges(
    sizes: list[int], drawn: list[int], bases: list[int], hits: list[int], expected: float
) -> None:
    assert theory.stratified_design_effect(sizes, drawn, bases, hits) == pytest.approx(expected, rel=1e-9)


def test_equal_weights_cost_nothing_and_unequal_ones_what_kish_says() -> None:
    assert theory.kish_design_effect([900, 100], [90, 10]) == pytest.approx(1.0)
    weights = np.repeat([900 / 50, 100 / 50], 50)
    expected = len(weights) * (weights**2).sum() / weights.sum() ** 2
    assert theory.kish_design_effect([900, 100], [50, 50]) == pytest.approx(expected)


def smallest_expected(observed: list[int]) -> float:
    """Of the rarest class, where the second is twice as frequent, the third three times, and so on."""
    return sum(observed) / sum(range(len(observed) + 1))


@given(st.lists(st.integers(0, 60), min_size=2, max_size=6).filter(lambda seen: smallest_expected(seen) > 5))
def test_goodness_of_fit_in_an_endless_population_is_the_librarys(observed: list[int]) -> None:
    population = [10_000_000 * (place + 1) for place in range(len(observed))]
    expected = np.array(population) * sum(observed) / sum(population)
    library = stats.chisquare(observed, expected)
    fit = theory.goodness_of_fit([observed], [population])

    assert fit.statistic == pytest.approx(library.statistic, rel=1e-4, abs=1e-9)
    assert fit.p_value == pytest.approx(library.pvalue, abs=1e-4)


def test_the_chi_square_tail_is_that_of_the_printed_table() -> None:
    # Pearson and Hartley, Biometrika Tables for Statisticians, table 8: the upper 5 % points.
    for degrees, point in ((1, 3.841), (2, 5.991), (3, 7.815), (10, 18.307), (39, 54.572)):
        assert theory.chi_square_tail(point, degrees) == pytest.approx(0.05, abs=1e-4)


def test_classes_with_few_expected_are_pooled() -> None:
    fit = theory.goodness_of_fit([[50, 40, 6, 3, 1, 0]], [[5_000, 4_000, 600, 250, 100, 50]])

    assert fit.degrees == pytest.approx(2)


def test_a_sample_that_is_the_population_fits() -> None:
    assert theory.goodness_of_fit([[10, 20]], [[10, 20]]) == theory.Fit(0.0, 0, 1.0)


def test_clusters_of_one_are_a_simple_random_sample() -> None:
    hits = np.array([1] * 40 + [0] * 960)
    clusters = theory.describe_clusters(np.ones(1_000, np.int64), hits)

    assert theory.cluster_design_effect(clusters) == pytest.approx(1.0, abs=2e-3)
    assert theory.clusters_needed(clusters, 0.01, 0.95) == pytest.approx(
        theory.sample_size(0.04, 0.01, 0.95, 1_000), abs=2
    )


def test_clusters_whose_elements_are_alike_cost_their_size_and_mirrors_of_the_whole_nothing() -> None:
    sizes = np.full(1_000, 20)
    alike = theory.describe_clusters(sizes, np.where(np.arange(1_000) < 100, 20, 0))

    assert theory.cluster_design_effect(alike) == pytest.approx(20, rel=2e-3)
    assert theory.cluster_design_effect(theory.describe_clusters(sizes, np.full(1_000, 2))) == 0
