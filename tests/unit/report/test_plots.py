from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from report import plots
from report.counts import GroupSize
from report.drawing import FieldSample, Ranks
from report.occurrences import Occurrences
from report.rates import Rate, interval

# Whatever the grammar lets pass: at most 24 characters, with an exponent of two digits.
VALUES = st.floats(min_value=-1e122, max_value=1e122, allow_nan=False)


def axes() -> Axes:
    return Figure().add_subplot()


def heights(drawn: Axes) -> list[float]:
    return [float(np.sum(patch.get_data()[0])) for patch in drawn.patches if isinstance(patch, StepPatch)]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(VALUES, st.integers(1, 10**9), min_size=1, max_size=30))
def test_all_but_the_largest_values_are_drawn(counts: dict[float, int]) -> None:
    values = np.array(sorted(set(counts)))
    value_counts = np.array([counts[value] for value in values.tolist()])
    none = np.empty(0, dtype=np.int64)
    drawn = axes()
    plots.draw_values(drawn, FieldSample(1, none, values, value_counts, none, none))

    assert 0.998 < heights(drawn)[0] <= 1.000001


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(1, 10**9), min_size=1, max_size=30))
def test_all_but_the_longest_lists_are_drawn(lengths: dict[int, int]) -> None:
    drawn = axes()
    plots.draw_lengths(drawn, lengths, unit="a group")

    assert 0.998 < heights(drawn)[0] <= 1.000001


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(1, 2**32 - 1), st.integers(1, 10**6), min_size=1, max_size=30))
def test_groups_of_every_size_are_drawn(groups: dict[int, int]) -> None:
    drawn = axes()
    plots.draw_group_sizes(drawn, [GroupSize(size, True, number) for size, number in sorted(groups.items())])

    assert heights(drawn) == [pytest.approx(1), pytest.approx(1)]


@pytest.mark.parametrize(("head", "tail"), [([0.5, 0.2], [0.01]), ([], [0.01, 0.01]), ([0.5], []), ([], [])], ids=str)
def test_a_curve_may_lack_either_end(head: list[float], tail: list[float]) -> None:
    drawn = axes()
    ranks = Ranks(
        np.array(head, dtype=np.float64),
        np.arange(50.5, 50.5 + len(tail), dtype=np.float64),
        np.array(tail, dtype=np.float64),
    )
    plots.draw_ranks(drawn, ranks, num_features=100, lowest=1e-8)

    # The two ends and the number of features; the dashes only between two ends.
    assert len(drawn.lines) == (4 if head and tail else 3)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(1, 10**6), st.integers(1, 10**6), min_size=1, max_size=30))
def test_a_vocabulary_of_everything_covers_everything_and_both_curves_fall(features: dict[int, int]) -> None:
    counts, numbers = (np.array(column) for column in zip(*sorted(features.items()), strict=True))
    occurrences = Occurrences(counts, numbers)
    drawn = axes()
    plots.draw_vocabulary(drawn, occurrences)

    for line in drawn.lines:
        shares = np.asarray(line.get_ydata())
        assert shares[0] == shares[1] == 1
        assert np.all(np.diff(shares) <= 0)
    assert occurrences.kept(1) == numbers.sum()
    assert occurrences.coverage(int(counts[-1]) + 1) == 0
    kept, covered = (np.asarray(line.get_ydata())[-1] for line in drawn.lines)
    assert (kept, covered) == pytest.approx((numbers[-1] / numbers.sum(), occurrences.coverage(int(counts[-1]))))


def test_counted_ranks_reach_from_the_first_to_the_last() -> None:
    drawn = axes()
    plots.draw_counted_ranks(drawn, Occurrences(np.array([1, 4]), np.array([9, 1])), num_rows=10)

    assert np.asarray(drawn.lines[0].get_xydata()).tolist() == [[1, 0.4], [1, 0.4], [2, 0.1], [10, 0.1]]


def test_a_feature_without_clicks_has_no_conversion_rate() -> None:
    drawn = axes()
    rates = [Rate(7, 60, 6, 2), Rate(8, 40, 0, 0)]
    plots.draw_rates(drawn, rates, [2, 0], [6, 0])

    assert np.asarray(drawn.lines[0].get_xydata()).tolist() == [[pytest.approx(1 / 3), 1]]
    plots.draw_rates(axes(), rates, [0, 0], [0, 0])


def test_a_box_has_the_quantiles() -> None:
    assert plots.box_of(np.arange(1, 101), np.ones(100, dtype=np.int64)) == (5, 25, 50, 75, 95)
    assert plots.box_of(np.array([0.5]), np.array([3])) == (0.5,) * 5


def test_wilsons_interval_is_the_published_one() -> None:
    # Of 10 in 100 and of none in 10: R. G. Newcombe, Statistics in Medicine 17 (1998), method 3.
    low, high = interval([10, 0], [100, 10])

    assert low.tolist() == pytest.approx([0.0552, 0.0], abs=5e-5)
    assert high.tolist() == pytest.approx([0.1744, 0.2775], abs=5e-5)
