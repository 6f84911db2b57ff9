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
