"""The statistics of sampling from a finite population, as plain functions of numbers.

Sources, named where they are used:

    Cochran    W. G. Cochran, Sampling Techniques, 3rd edition, Wiley 1977
    Kish       L. Kish, Survey Sampling, Wiley 1965
    Wilson     E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927)
    Korn       E. L. Korn and B. I. Graubard, Confidence intervals for proportions with small expected number of
               positive counts estimated from survey data, Survey Methodology 24 (1998)
    Rao        J. N. K. Rao and A. J. Scott, The analysis of categorical data from complex sample surveys,
               JASA 76 (1981)
    Brown      L. D. Brown, T. T. Cai and A. DasGupta, Interval estimation for a binomial proportion,
               Statistical Science 16 (2001)
    Wolter     K. M. Wolter, Introduction to Variance Estimation, 2nd edition, Springer 2007
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Shares = npt.NDArray[np.float64]

# Below so many hits a sample is no good for a normal interval.
_FEW = 4
# A class of a goodness-of-fit test is pooled with its neighbour below this many expected (Cochran, 1954).
SMALLEST_EXPECTED = 5.0


class Interval(NamedTuple):
    """A confidence interval; both ends belong to it."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:  # type: ignore[override] # an interval holds more than its ends
        """Tell whether a value lies in it."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Fit:
    """A chi-square test of goodness of fit.

    Attributes:
        statistic: Pearson's chi-square, corrected for the design.
        degrees: its degrees of freedom, not always a whole number; 0 where there is nothing to compare.
        p_value: the chance of a statistic at least as large when the sample is drawn from the population.
    """

    statistic: float
    degrees: float
    p_value: float


def z_value(confidence: float) -> float:
    """Give the standard normal deviate of a two-sided interval: 1.96 for 0.95.

    Args:
        confidence: between 0 and 1, both excluded.
    """
    return NormalDist().inv_cdf((1 + confidence) / 2)


def sample_size(rate: float, margin: float, confidence: float, population: int) -> int:
    """Give how many to draw so that the interval of a proportion reaches no further than the margin.

    Cochran, formulas 4.1 and 4.2: n0 = z² p (1 - p) / d², and n = n0 / (1 + (n0 - 1) / N), rounded up.

    Args:
        rate: the proportion, from 0 to 1.
        margin: half the width of the interval, in units of the rate.
        confidence: of the interval.
        population: how many there are to draw from.

    Returns:
        From 1 to the population, and 0 of nothing.
    """
    if population == 0:
        return 0
    first = z_value(confidence) ** 2 * rate * (1 - rate) / margin**2
    corrected = first / (1 + (first - 1) / population)
    # The tolerance keeps a size that is whole but for rounding errors from being rounded up.
    return min(population, max(1, math.ceil(corrected - 1e-9)))


def apportion(weights: Sequence[float], total: int, floors: Sequence[int], ceilings: Sequence[int]) -> list[int]:
    """Divide a total in proportion to weights, exactly, by the method of the largest remainder.

    A part whose share is below its floor or above its ceiling is set to it, and the rest is divided among the others.
    Of equal remainders the earlier part gets the unit. The arithmetic is exact.

    Args:
        weights: from 0; not all of them are 0.
        total: what is divided: at least the sum of the floors, at most that of the ceilings.
        floors: the least that each part gets, at most its ceiling.
        ceilings: the most that each part gets.

    Returns:
        The parts, whose sum is the total.
    """
    exact = [Fraction(weight) for weight in weights]
    fixed: dict[int, int] = {}
    while True:
        free = [part for part in range(len(exact)) if part not in fixed]
        left, weight = total - sum(fixed.values()), sum(exact[part] for part in free)
        shares = {part: left * exact[part] / weight if weight else Fraction(0) for part in free}
        below = {part: floors[part] for part in free if shares[part] < floors[part]}
        above = {part: ceilings[part] for part in free if shares[part] > ceilings[part]}
        lacking = sum(floors[part] - shares[part] for part in below)
        surplus = sum(shares[part] - ceilings[part] for part in above)
        # The greater of the two violations stays one whatever the others get; the lesser may not.
        fixing = below if lacking >= surplus else above
        if not fixing:
            break
        fixed.update(fixing)
    parts = {**fixed, **{part: math.floor(share) for part, share in shares.items()}}
    room = [part for part in free if parts[part] < ceilings[part]]
    room.sort(key=lambda part: (parts[part] - shares[part], part))
    short = total - sum(parts.values())
    while short:  # once, but for weights of 0
        given = room[:short] or [part for part in range(len(exact)) if parts[part] < ceilings[part]][:short]
        for part in given:
            parts[part] += 1
        short -= len(given)
        room = []
    return [parts[part] for part in range(len(exact))]


def proportional(sizes: Sequence[int], total: int, minimum: int) -> list[int]:
    """Allocate a sample to strata in proportion to their sizes (Cochran 5.2).

    Args:
        sizes: of the strata in the population.
        total: how many to draw; it is raised to what the minimum takes.
        minimum: the least of each stratum, or all of it where it has fewer.

    Returns:
        How many to draw of each stratum.
    """
    floors = [min(minimum, size) for size in sizes]
    return apportion(sizes, max(min(total, sum(sizes)), sum(floors)), floors, sizes) if any(sizes) else list(floors)


def neyman(sizes: Sequence[int], deviations: Sequence[float], total: int, minimum: int) -> list[int]:
    """Allocate a sample to strata so that a mean is estimated best (Cochran 5.5, formula 5.26): by N_h S_h.

    Args:
        sizes: of the strata in the population.
        deviations: the standard deviation of what is estimated, in each stratum.
        total: how many to draw; it is raised to what the minimum takes.
        minimum: the least of each stratum, or all of it where it has fewer.

    Returns:
        How many to draw of each stratum.
    """
    weights = [size * deviation for size, deviation in zip(sizes, deviations, strict=True)]
    if not any(weights):
        return proportional(sizes, total, minimum)
    floors = [min(minimum, size) for size in sizes]
    return apportion(weights, max(min(total, sum(sizes)), sum(floors)), floors, sizes)


def wilson_interval(
    hits: float | Fraction,
    drawn: int,
    confidence: float,
    population: float | Fraction,
    design_effect: float = 1.0,
) -> Interval:
    """Give Wilson's interval of a proportion, for a sample without replacement.

    Args:
        hits: how many of the drawn have the property; of a weighted sample its estimate times `drawn`.
        drawn: how many were drawn; above 0.
        confidence: of the interval.
        population: how many there were to draw from. The drawn count as n / (1 - n / N), the size at which an endless
            population gives the same variance.
        design_effect: the variance's ratio to that of as many drawn at random. The drawn count as n / design_effect
            (Korn); where it is 0 the proportion does not vary, and the interval is that one point.
    """
    rate = float(hits / drawn)
    size = _effective_size(drawn, population, design_effect)
    if size == math.inf:
        return Interval(rate, rate)
    z = z_value(confidence)
    shrunk = 1 + z**2 / size
    middle = (rate + z**2 / (2 * size)) / shrunk
    half = z / shrunk * math.sqrt(rate * (1 - rate) / size + z**2 / (4 * size**2))
    # At the ends the formula gives 0 and 1 but for rounding errors.
    low = 0.0 if hits <= 0 else middle - half
    high = 1.0 if rate >= 1 else middle + half
    return Interval(max(0.0, low), min(1.0, high))


def proportion_interval(
    hits: float | Fraction,
    drawn: int,
    confidence: float,
    population: float | Fraction,
    design_effect: float = 1.0,
) -> Interval:
    """Give Wilson's interval, wider where few of the drawn have the property, or few lack it.

    Of a property so rare that a sample seldom has it, Wilson's lower end is above the truth whenever it does. For fewer
    than four it is the one-sided limit of a Poisson count, where that is lower (Brown 4.1.1), by Wilson and Hilferty's
    approximation.

    Args:
        hits: as of `wilson_interval`, and so are the others.
        drawn: likewise.
        confidence: likewise.
        population: likewise.
        design_effect: likewise.
    """
    interval = wilson_interval(hits, drawn, confidence, population, design_effect)
    size = _effective_size(drawn, population, design_effect)
    rate, z = float(hits / drawn), NormalDist().inv_cdf(confidence)

    def least(share: float) -> float:
        number = share * size
        few = 0 < number < _FEW
        return share * max(0.0, 1 - 1 / (9 * number) - z / (3 * math.sqrt(number))) ** 3 if few else 1.0

    return Interval(min(interval.low, least(rate)), max(interval.high, 1 - least(1 - rate)))


def _effective_size(drawn: int, population: float | Fraction, design_effect: float) -> float:
    """Give how many, drawn at random from an endless population, tell as much."""
    if not design_effect or drawn >= population:
        return math.inf
    return drawn / design_effect * float((population - 1) / (population - drawn))


def stratified_design_effect(
    sizes: Sequence[int], drawn: Sequence[int], bases: Sequence[int], hits: Sequence[int]
) -> float:
    """Give the design effect of a rate that is estimated from a stratified sample, each stratum with its own weight.

    The estimate is a ratio of two weighted totals, hits and those that they are a rate of. Its variance is that of the
    combined ratio estimate (Cochran 6.11), Σ N_h² (1 - n_h / N_h) S_h² / (n_h X²), where S_h² is that of y - P x in the
    stratum. It is known, and not estimated from the sample, because the population is counted; so it holds for a
    stratum of which one is drawn, and for a rare rate that the sample does not show.

    Args:
        sizes: of the strata in the population.
        drawn: of each stratum; those of which nothing is drawn are left out.
        bases: how many of each stratum in the population the rate is a rate of.
        hits: how many of these have the property.

    Returns:
        The variance's ratio to that of a sample at random with as many of the base: 1 with a single stratum, 0 where
        the strata hold the rate, and 1 where nothing varies in the population either.
    """
    strata = [each for each in zip(sizes, drawn, bases, hits, strict=True) if each[1]]
    population, base, hit = (sum(each[column] for each in strata) for column in (0, 2, 3))
    expected = sum(Fraction(number * part, size) for size, number, part, _ in strata)
    if hit in (0, base) or expected == base:
        return 1.0
    variance = 0.0
    for size, number, part, hits_of_it in strata:
        if number < size:
            # Of (y - P x) times the base, in whole numbers: where nothing varies the difference is exactly 0.
            squares = hits_of_it * (base - hit) ** 2 + (part - hits_of_it) * hit**2
            total = hits_of_it * base - part * hit
            variance += (size - number) * (size * squares - total**2) / (number * (size - 1)) / base**4
    at_random = hit * (base - hit) / base**2 * float(1 / expected - Fraction(1, base)) * population / (population - 1)
    return variance / at_random


def kish_design_effect(sizes: Sequence[int], drawn: Sequence[int]) -> float:
    """Give what unequal weights cost (Kish 11.7): n Σw² / (Σw)², the variance's ratio to that of equal weights.

    Args:
        sizes: of the strata in the population.
        drawn: of each stratum; each of them has the weight N_h / n_h.
    """
    pairs = [(size, number) for size, number in zip(sizes, drawn, strict=True) if number]
    if not pairs:
        return 1.0
    squares = sum(size**2 / number for size, number in pairs)
    return sum(number for _, number in pairs) * squares / sum(size for size, _ in pairs) ** 2


def goodness_of_fit(observed: npt.ArrayLike, population: npt.ArrayLike) -> Fit:
    """Test whether a stratified sample's classes, each stratum with its weight, have the population's shares.

    Pearson's chi-square; see `_corrected_fit`. With a single stratum it is n Σ (p - P)² / P, divided by what drawing
    without replacement takes from it, (N - n) / (N - 1).

    Args:
        observed: a row for each stratum: how many were drawn of each class. Strata that were not drawn are left out.
        population: a row for each stratum: how many there are of each class. The classes are in an order: one with few
            expected is put to its neighbour.
    """
    seen, known = np.array(observed, np.float64), np.array(population, np.float64)
    is_drawn = seen.any(axis=1)
    seen, known = seen[is_drawn], known[is_drawn]
    classes = known.any(axis=0)
    if not classes.any():
        return _NO_FIT
    seen, known = seen[:, classes], known[:, classes]
    drawn, sizes = seen.sum(axis=1), known.sum(axis=1)
    effect = kish_design_effect(sizes.astype(int).tolist(), drawn.astype(int).tolist())
    pools = _pools(known.sum(axis=0) / sizes.sum() * drawn.sum() / effect)
    seen, known = _pooled(seen, pools), _pooled(known, pools)
    factor = (sizes - drawn) / (drawn * np.maximum(1, sizes - 1)) * (sizes / sizes.sum()) ** 2
    inside = known / sizes[:, None]
    covariance = np.diag(factor @ inside) - (inside * factor[:, None]).T @ inside
    return _corrected_fit((sizes / drawn) @ seen / sizes.sum(), known.sum(axis=0) / sizes.sum(), covariance)


def cluster_fit(observed: npt.ArrayLike, groups: npt.ArrayLike, share: float) -> Fit:
    """Test whether the classes of a sample of whole clusters have the population's shares.

    Args:
        observed: how many were drawn of each class.
        groups: a row for each of some random groups of the population's clusters: how many it has of each class. They
            vary as the clusters in them do (Wolter, chapter 2).
        share: of the clusters that was drawn.
    """
    seen, known = np.array(observed, np.float64)[None], np.array(groups, np.float64)
    classes = known.any(axis=0)
    if not seen.any() or not classes.any():
        return _NO_FIT
    seen, known = seen[:, classes], known[:, classes]
    total, drawn = known.sum(), seen.sum()
    pools = _pools(known.sum(axis=0) / total * drawn)
    seen, known = _pooled(seen, pools), _pooled(known, pools)
    shares = known.sum(axis=0) / total
    residual = known - known.sum(axis=1)[:, None] * shares
    covariance = (1 / share - 1) * len(known) / (len(known) - 1) * residual.T @ residual / total**2
    return _corrected_fit(seen[0] / drawn, shares, covariance)


_NO_FIT = Fit(0.0, 0, 1.0)


def _corrected_fit(estimate: Shares, shares: Shares, covariance: Shares) -> Fit:
    """Test estimated shares whose covariance is known (Rao, the second-order correction).

    Σ (p - P)² / P is a sum of squares of normal variables, weighted with the eigenvalues of the covariance over P. It
    is held against the chi-square variable with the same mean and variance.
    """
    scale = np.sqrt(shares)
    scaled = covariance / np.outer(scale, scale)
    mean, square = float(np.trace(scaled)), float((scaled**2).sum())
    # One class alone has no variance but for rounding errors.
    if len(shares) < 2 or not mean > 0:
        return _NO_FIT
    statistic = float((((estimate - shares) / scale) ** 2).sum()) * mean / square
    degrees = mean**2 / square
    return Fit(statistic, degrees, chi_square_tail(statistic, degrees))


def _pools(expected: Shares) -> npt.NDArray[np.int64]:
    """Tell for each class the number of the pool that it is put to."""
    pools, number, wanted = [], 0, 0.0
    for more in expected.tolist():
        pools.append(number)
        wanted += more
        if wanted >= SMALLEST_EXPECTED:
            number, wanted = number + 1, 0.0
    return np.minimum(pools, max(0, number - 1))


def _pooled(counts: Shares, pools: npt.NDArray[np.int64]) -> Shares:
    pooled: Shares = np.add.reduceat(counts, np.flatnonzero(np.diff(pools, prepend=-1)), axis=1)
    return pooled


def chi_square_tail(statistic: float, degrees: float) -> float:
    """Give the chance that a chi-square variable is at least so large: an upper incomplete gamma function."""
    import mpmath

    return float(mpmath.gammainc(degrees / 2, statistic / 2, regularized=True))


@dataclass(frozen=True)
class Clusters:
    """What a population of clusters shows of a rate: how much a sample of whole clusters varies.

    Attributes:
        number: of clusters.
        mean_size: elements of a cluster, on average.
        rate: hits among all elements.
        variance: of what a cluster's hits differ from its size times the rate.
    """

    number: int
    mean_size: float
    rate: float
    variance: float


def describe_clusters(sizes: npt.NDArray[np.int64], hits: npt.NDArray[np.int64]) -> Clusters:
    """Describe clusters by their elements and by how many of these have a property (Cochran 3.12).

    Args:
        sizes: elements of each cluster, all of which count as elements of the rate. A cluster may have none.
        hits: how many of them have the property.
    """
    number, elements = len(sizes), int(sizes.sum())
    rate = float(hits.sum()) / elements if elements else 0.0
    residual = hits - rate * sizes
    variance = float(residual @ residual) / (number - 1) if number > 1 else 0.0
    return Clusters(number, elements / number if number else 0.0, rate, variance)


def clusters_needed(clusters: Clusters, margin: float, confidence: float) -> int:
    """Give how many whole clusters to draw so that a rate's interval reaches no further than the margin.

    The variance of a ratio of two cluster totals is (1 - m/M) S² / (m x̄²) (Cochran 3.12, formula 3.34); solved for m
    it is m0 / (1 + m0 / M) with m0 = z² S² / (x̄ d)².

    Args:
        clusters: of the population.
        margin: half the width of the interval, in units of the rate.
        confidence: of the interval.
    """
    if not clusters.number or not clusters.mean_size:
        return 0
    first = z_value(confidence) ** 2 * clusters.variance / (clusters.mean_size * margin) ** 2
    return min(clusters.number, max(1, math.ceil(first / (1 + first / clusters.number) - 1e-9)))


def cluster_design_effect(clusters: Clusters) -> float:
    """Give what drawing whole clusters costs (Kish 5.4): the variance's ratio to that of as many single elements.

    Args:
        clusters: of the population, or those drawn. Where the rate is 0 or 1 there is no variance, and 1 is given.
    """
    binomial = clusters.rate * (1 - clusters.rate)
    if not clusters.mean_size or not binomial:
        return 1.0
    return clusters.variance / (clusters.mean_size * binomial)
