"""What is drawn depends on the seed and the names alone, and is drawn fairly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spark_jobs.sampling.ranks import NUM_BINS, bins, cut, draw, make_key, ranks


def names(number: int) -> np.ndarray:
    """Names that lie as the offsets of lines do."""
    return np.arange(number, dtype=np.uint64) * np.uint64(257)


def test_the_ranks_of_a_seed_never_change() -> None:
    found = ranks(np.array([0, 1, 2**63], np.uint64), make_key(1, "samples"))

    assert [f"{rank:016x}" for rank in found.tolist()] == ["138539ba528db6d0", "9a69812553301d8b", "cf576d271093f61d"]


def test_different_names_have_different_ranks() -> None:
    assert len(np.unique(ranks(names(1_000_000), make_key(5, "samples")))) == 1_000_000


def test_ranks_are_spread_evenly() -> None:
    counts = np.bincount(bins(ranks(names(1_000_000), make_key(5, "samples"))), minlength=NUM_BINS)

    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("others", [make_key(6, "samples"), make_key(5, "groups")])
def test_seeds_and_purposes_draw_independently(others: object) -> None:
    one = ranks(names(200_000), make_key(5, "samples")) < np.uint64(2**63)
    other = ranks(names(200_000), others) < np.uint64(2**63)  # type: ignore[arg-type]

    assert abs(int((one & other).sum()) - 50_000) < 5 * np.sqrt(200_000 * 3 / 16)


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=60), st.data())
def test_the_cut_and_the_bins_draw_the_same_as_a_sort(values: list[int], data: st.DataObject) -> None:
    found = np.array(values, np.uint64)
    drawn = data.draw(st.integers(0, len(values)))
    end = cut(np.bincount(bins(found), minlength=NUM_BINS), drawn)
    in_bin = bins(found) == end.bin
    chosen = bins(found) < end.bin
    chosen[np.flatnonzero(in_bin)[draw(found[in_bin], end.from_bin)]] = True

    assert sorted(found[chosen].tolist()) == sorted(values)[:drawn]
