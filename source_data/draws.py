"""Random draws in bulk: distributions as look-up tables, ids by popularity, exact counts dealt out over chunks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from source_data.facts import FIELD_NUMBER, FIELDS, LARGEST_FRACTION, SMALLEST_FRACTION, Field

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
_Scalar = TypeVar("_Scalar", bound=np.generic)

# A distribution is a table of its quantiles: one cheap 16-bit random number picks a value.
TABLE_SIZE = 1 << 16
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def pick(rng: np.random.Generator, table: npt.NDArray[_Scalar], size: int) -> npt.NDArray[_Scalar]:
    """Draw values from a distribution.

    Args:
        rng: the source of chance.
        table: `TABLE_SIZE` quantiles.
        size: how many values.
    """
    return table[rng.integers(0, TABLE_SIZE, size, dtype=np.uint16)]


def even(rng: np.random.Generator, size: int) -> Floats:
    """Uniform numbers in random order, one from each `size`-th part of the unit interval.

    What is drawn by them has the share or the mean that was asked for even in a small file.
    """
    return (rng.permutation(size) + rng.random(size)) / size


def quantiles(table: npt.NDArray[_Scalar], u: Floats) -> npt.NDArray[_Scalar]:
    """The values of a distribution that uniform numbers stand for."""
    return table.take((u * TABLE_SIZE).astype(np.int64), mode="clip")


def _table_of_counts(weights: Floats) -> Integers:
    """The quantile table of a count 1, 2, ... whose probabilities are as `weights`."""
    cumulative = np.cumsum(weights / weights.sum())
    u = (np.arange(TABLE_SIZE) + 0.5) / TABLE_SIZE
    return np.minimum(np.searchsorted(cumulative, u), len(weights) - 1).astype(np.int64) + 1


def _solve(mean_of: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Bisect a rising function for the argument at which it reaches `target`."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_of(middle) < target else (low, middle)
    return (low + high) / 2


@functools.cache
def short_counts(mean: float, largest: int) -> Integers:
    """The table of a count from 1 to `largest` with the given mean: n * q ** n, many small and few large."""
    n = np.arange(1, largest + 1, dtype=np.float64)

    def weights(q: float) -> Floats:
        return n * q**n

    q = _solve(lambda q: float(np.average(n, weights=weights(q))), mean, 0.01, 2.0)
    return _table_of_counts(weights(q))


@functools.cache
def long_counts(mean: float, largest: int) -> Integers:
    """The table of a heavy-tailed count from 0 to `largest` with the given mean: log-logistic, cut off at the top."""
    u = (np.arange(TABLE_SIZE) + 0.5) / TABLE_SIZE

    def table(median: float) -> Floats:
        share = 1 / (1 + (median / (largest + 1)) ** 2)  # of the uncut distribution, below the cut
        odds = u * share / (1 - u * share)
        return np.minimum(np.floor(median * np.sqrt(odds)), largest)

    return table(_solve(lambda median: float(table(median).mean()), mean, 1.0, float(largest))).astype(np.int64)


@functools.cache
def events() -> Integers:
    """The table of how often something was clicked on: a power law from 1 to 3,000."""
    return _table_of_counts(np.arange(1, 3_001, dtype=np.float64) ** -1.8)


@functools.cache
def fractions() -> list[float]:
    """The quantiles of the fractional values: bell-shaped in the logarithm, from the smallest to the largest seen."""
    u = np.linspace(0.0, 1.0, TABLE_SIZE)
    bell = 0.5 - np.sin(np.arcsin(1 - 2 * u) / 3)  # the inverse of 3x^2 - 2x^3
    values: list[float] = (SMALLEST_FRACTION * (LARGEST_FRACTION / SMALLEST_FRACTION) ** bell).tolist()
    return [round(value, 5) for value in values]


def ranks(rng: np.random.Generator, field: Field, size: int) -> Integers:
    """Draw `size` popularity ranks of a field, from 0 for the most popular."""
    return ranks_of(rng.random(size), field)


def ranks_of(u: Floats, field: Field) -> Integers:
    """The popularity ranks that uniform numbers stand for."""
    return (field.distinct * u**field.skew).astype(np.int64)


def rank_lists(rng: np.random.Generator, field: Field, counts: Integers) -> tuple[Integers, Integers]:
    """Draw lists of popularity ranks, with no rank twice in one list.

    Args:
        rng: the source of chance.
        field: whose ranks.
        counts: the length of each list.

    Returns:
        For each item of each list, in order: the number of its list, and its rank.
    """
    lists = np.repeat(np.arange(len(counts)), counts)
    lengths = counts[lists]
    place = np.arange(len(lists)) - (np.cumsum(counts) - counts)[lists]
    # One uniform number from each n-th part of the unit interval rises from place to place; adding the place to a rank
    # that never falls makes the ranks differ, with no look at the others.
    u = (place + rng.random(len(lists))) / lengths
    return lists, place + ((field.distinct - lengths) * u**field.skew).astype(np.int64)


def ids_of(field: Field, field_ranks: Integers) -> Integers:
    """The ids of popularity ranks: one id each, the popular ones spread over the whole block."""
    width = field.last_id - field.first_id + 1
    scattered = (field_ranks * _step(field.distinct) + field.distinct // 3) % field.distinct
    return field.first_id + scattered * width // field.distinct


@functools.cache
def _step(distinct: int) -> int:
    """A number near the golden section of `distinct` and prime to it: its multiples visit every place."""
    step = max(1, int(distinct * _GOLDEN_RATIO))
    while math.gcd(step, distinct) != 1:
        step += 1
    return step


def named(name: str) -> Field:
    """The field of a name."""
    return FIELDS[FIELD_NUMBER[name]]


def hashed(numbers: Integers | Words, salt: int) -> Words:
    """Mix each number into 64 bits; different numbers stay different (splitmix64, Steele et al. 2014)."""
    x = numbers.astype(np.uint64) + np.uint64((salt * 0x9E3779B97F4A7C15) % (1 << 64))
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform_of(numbers: Integers, salt: int) -> Floats:
    """A uniform number for each number, the same whenever it is asked for."""
    return (hashed(numbers, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def apportion(total: int, weights: Sequence[float], minimum: Sequence[int]) -> list[int]:
    """Divide `total` in the ratio of `weights` by largest remainder, then lift each part to its minimum.

    What the lifted parts need is taken from the largest part.
    """
    exact = [total * weight / sum(weights) for weight in weights]
    parts = [math.floor(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    parts = [max(part, least) for part, least in zip(parts, minimum, strict=True)]
    largest = parts.index(max(parts))
    parts[largest] -= sum(parts) - total
    return parts


def deal(rng: np.random.Generator, counts: Sequence[int], chunks: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Deal rows of several kinds out at random over consecutive chunks, each kind as often as told over all of them.

    Args:
        rng: the source of chance.
        counts: rows of each kind.
        chunks: rows of each chunk; as many in all as `counts`.

    Yields:
        The kind of each row of a chunk.
    """
    left = np.array(counts, dtype=np.int64)
    for size in chunks:
        dealt = rng.multivariate_hypergeometric(left, size, method="marginals")
        left -= dealt
        yield rng.permutation(np.repeat(np.arange(len(counts), dtype=np.uint8), dealt))
