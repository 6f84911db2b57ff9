"""The plots of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.page import FAINT, FIRST, INK, SECOND, count, log_axis, percent
from report.counts import GroupSize, Stratum
from report.drawing import FieldSample, Ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A distribution is drawn up to the value that all but this share keep to.
_TAIL = 0.001
_MOST_BARS = 60
_BARS_OF_VALUES = 48
# A distribution narrower than this, as a part of its values, is one value.
_LEAST_SPAN = 1e-6
_BARS_OF_GROUP_SIZES = 28


def draw_strata(axes: Axes, strata: Sequence[Stratum]) -> None:
    """Draw a bar for each pair of labels, on a logarithmic scale, with its share beside it."""
    place = np.arange(len(strata))[::-1]
    axes.barh(place, [stratum.share for stratum in strata], 0.55, color=FIRST)
    for row, stratum in zip(place, strata, strict=True):
        axes.annotate(
            percent(stratum.share), (stratum.share, row), (5, 0), textcoords="offset points", va="center", fontsize=9
        )
    log_axis(axes, "x", percent)
    axes.set_xlim(min(stratum.share for stratum in strata) / 3, 30)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    names = [stratum.response.replace(" and ", "\nand ").replace(" without", "\nwithout") for stratum in strata]
    axes.set_yticks(place, names)
    axes.tick_params(axis="y", length=0)


def draw_lengths(axes: Axes, lengths: Mapping[int, int], *, unit: str) -> None:
    """Draw how many feature lists have each length, with the median and the mean."""
    numbers = np.array(sorted(lengths))
    weights = np.array([lengths[number] for number in numbers.tolist()])
    mean = float((numbers * weights).sum() / weights.sum())
    cumulated = np.cumsum(weights)
    median = int(numbers[np.searchsorted(cumulated, cumulated[-1] / 2)])
    _draw_histogram(axes, numbers, weights)
    axes.axvline(mean, color=SECOND, linewidth=1)
    axes.annotate(
        f"mean {mean:,.1f}\nmedian {median:,}",
        (mean, 0.97),
        (5, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        color=SECOND,
    )
    axes.set_xlabel(f"features of {unit}")
    axes.set_ylabel(f"share of the {unit.split(' ', 1)[1]}s")


def draw_field_lengths(axes: Axes, sample: FieldSample) -> None:
    """Draw how many features of a field the rows have that have the field at all."""
    numbers, weights = np.unique(sample.lengths, return_counts=True)
    _draw_histogram(axes, numbers, weights)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)


def _draw_histogram(axes: Axes, numbers: npt.NDArray[np.int64], weights: npt.NDArray[np.int64]) -> None:
    shares = weights / weights.sum()
    last = int(numbers[np.searchsorted(np.cumsum(shares), 1 - _TAIL).clip(max=len(numbers) - 1)])
    first = int(numbers[0])
    width = (last - first) // _MOST_BARS + 1
    edges = np.arange(first, last + 2 * width, width) - 0.5
    heights, _ = np.histogram(numbers, bins=edges, weights=shares)
    axes.stairs(heights, edges, fill=True, color=FIRST)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: count(number)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))


def draw_group_sizes(axes: Axes, sizes: Sequence[GroupSize]) -> None:
    """Draw two lines over the size of a group: the share of the groups, and the share of the impressions in them."""
    numbers = np.array([size.num_samples for size in sizes])
    groups = np.array([size.num_groups for size in sizes])
    largest = int(numbers.max())
    edges = np.unique(np.round(np.geomspace(1, largest + 1, _BARS_OF_GROUP_SIZES)).astype(np.int64))
    for weights, colour in ((groups, FIRST), (groups * numbers, SECOND)):
        heights, _ = np.histogram(numbers, bins=edges, weights=weights / weights.sum())
        axes.stairs(heights, edges, color=colour, linewidth=1.6)
    log_axis(axes, "x", count)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    axes.set_xlabel("impressions of a group, in steps of equal ratio")
    axes.set_ylabel("share")


def draw_categories(axes: Axes, sample: FieldSample, *, most: int) -> None:
    """Draw a bar for each feature of a field, as a share of the rows that have the field."""
    ids, shares = sample.feature_ids[:most], sample.feature_counts[:most] / sample.num_rows
    place = np.arange(len(ids))[::-1]
    axes.barh(place, shares, 0.7, color=FIRST)
    axes.set_yticks(place, [str(feature_id) for feature_id in ids], fontsize=8)
    axes.set_xlim(0, max(0.01, float(shares.max()) * 1.05))
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    axes.tick_params(axis="y", length=0)


def draw_values(axes: Axes, sample: FieldSample) -> None:
    """Draw how often the values of a field occur; the few largest are left out."""
    shares = sample.value_counts / sample.value_counts.sum()
    last = float(sample.values[np.searchsorted(np.cumsum(shares), 1 - _TAIL).clip(max=len(shares) - 1)])
    first = min(0.0, float(sample.values[0]))
    if last - first < _LEAST_SPAN * max(abs(first), abs(last), _LEAST_SPAN):
        last = first + max(1.0, abs(first))
    kept = sample.values <= last
    heights, edges = np.histogram(sample.values[kept], _BARS_OF_VALUES, (first, last), weights=shares[kept])
    axes.stairs(heights, edges, fill=True, color=FIRST)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))


def draw_ranks(axes: Axes, ranks: Ranks, *, num_features: int, lowest: float) -> None:
    """Draw the shares of a field's features over their ranks, both logarithmic.

    Args:
        axes: where.
        ranks: the curve's ends; a thin line leads from the one to the other.
        num_features: features of the field: where the curve must end.
        lowest: the share that all plots of one side begin at.
    """
    head_ranks = np.arange(1, len(ranks.head) + 1)
    if len(ranks.head) and len(ranks.tail):
        between = (head_ranks[-1], ranks.tail_ranks[0]), (ranks.head[-1], ranks.tail[0])
        axes.plot(*between, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.plot(head_ranks, ranks.head, color=FIRST, linewidth=1.8, marker="." if len(head_ranks) == 1 else None)
    axes.plot(ranks.tail_ranks, ranks.tail, color=SECOND, linewidth=1.8)
    log_axis(axes, "x", count, num_marks=4)
    log_axis(axes, "y", percent, num_marks=4)
    axes.set_xlim(0.8, max(2, num_features) * 1.3)
    axes.set_ylim(lowest, 1.5)
    axes.axvline(num_features, color=INK, linewidth=0.5, linestyle=(0, (1, 2)))
