"""The draws and the rendering behind generated data, against plain arithmetic and Python's own printing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_data.draws import (
    apportion,
    deal,
    fractions,
    hashed,
    ids_of,
    long_counts,
    named,
    rank_lists,
    ranks_of,
    short_counts,
)
from source_data.facts import FIELDS, Field
from source_data.text import digits, hexadecimal

SEEDS = st.integers(0, 2**32)


def test_blocks_follow_the_string_order_of_the_names_and_do_not_overlap() -> None:
    assert [field.name for field in FIELDS] == sorted(field.name for field in FIELDS)
    assert all(one.last_id < other.first_id for one, other in pairwise(FIELDS))


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_rank_of_a_field_has_an_id_of_its_own_in_the_block(field: Field) -> None:
    ids = np.sort(ids_of(field, np.arange(field.distinct)))

    assert field.first_id <= ids[0]
    assert ids[-1] <= field.last_id
    assert (np.diff(ids) > 0).all()


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_the_largest_uniform_number_still_has_a_rank(field: Field) -> None:
    assert ranks_of(np.array([0.0, 1 - 2.0**-53]), field).tolist() == [0, field.distinct - 1]


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.lists(st.integers(0, 300), min_size=1, max_size=30), st.sampled_from(["210", "109_14", "110_14"]))
def test_a_list_is_as_long_as_asked_and_holds_no_rank_twice(seed: int, counts: list[int], name: str) -> None:
    lists, drawn = rank_lists(np.random.default_rng(seed), named(name), np.array(counts))

    for number, count in enumerate(counts):
        ranks = drawn[lists == number].tolist()
        assert len(ranks) == len(set(ranks)) == count
        assert all(0 <= rank < named(name).distinct for rank in ranks)


@given(st.integers(100, 10**9), st.lists(st.floats(0.001, 1e6), min_size=2, max_size=6))
def test_parts_sum_to_the_whole_and_are_within_one_of_their_share(total: int, weights: list[float]) -> None:
    parts = apportion(total, weights, [0] * len(weights))

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * weight / sum(weights)) < 1 + 1e-6


def test_a_part_below_its_minimum_is_lifted_at_the_cost_of_the_largest() -> None:
    assert apportion(100, [98.0, 2.0, 0.001], [0, 0, 3]) == [95, 2, 3]


@settings(deadline=None)
@given(SEEDS, st.lists(st.integers(0, 200), min_size=2, max_size=4), st.integers(1, 70))
def test_dealing_gives_each_kind_as_often_as_told(seed: int, counts: list[int], chunk: int) -> None:
    total = sum(counts)
    chunks = [min(chunk, total - start) for start in range(0, total, chunk)]

    dealt = [kinds.tolist() for kinds in deal(np.random.default_rng(seed), counts, chunks)]

    assert [len(kinds) for kinds in dealt] == chunks
    assert [sum(kinds.count(kind) for kinds in dealt) for kind in range(len(counts))] == counts


def test_hashing_keeps_numbers_apart() -> None:
    numbers = np.arange(200_000)

    assert len(np.unique(hashed(numbers, salt=1))) == len(numbers)
    assert not (hashed(numbers, salt=1) == hashed(numbers, salt=2)).any()


@pytest.mark.parametrize(("mean", "largest"), [(6.1, 21), (6.05, 21)])
def test_short_counts_have_the_mean_asked_for(mean: float, largest: int) -> None:
    table = short_counts(mean, largest)

    assert table.mean() == pytest.approx(mean, rel=0.001)
    assert (table.min(), table.max()) == (1, largest)


@pytest.mark.parametrize("mean", [489.0, 510.7])
def test_long_counts_have_the_mean_asked_for_and_reach_the_largest(mean: float) -> None:
    table = long_counts(mean, 2_697)

    assert table.mean() == pytest.approx(mean, rel=0.001)
    assert table.min() <= 1
    assert table.max() == 2_697


def test_fractions_reach_from_the_smallest_to_the_largest_seen() -> None:
    assert (min(fractions()), max(fractions())) == (0.0797, 8.2)


@given(st.lists(st.integers(0, 99_999_999), min_size=1))
def test_numbers_are_printed_as_python_prints_them(numbers: list[int]) -> None:
    words = digits(np.array(numbers))

    assert [word.tobytes().replace(b"\0", b"").decode() for word in words] == [str(number) for number in numbers]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_keys_are_printed_as_16_hexadecimal_characters(keys: list[int]) -> None:
    words = hexadecimal(np.array(keys, dtype=np.uint64))

    assert [row.tobytes().decode() for row in words] == [f"{key:016x}" for key in keys]
