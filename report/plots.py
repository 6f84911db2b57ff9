"""The plots of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from pipeline.page import FAINT, FIRST, INK, SECOND, count, log_axis, percent
from report.counts import GroupSize, Stratum
from report.drawing import FieldSample, Ranks
from report.occurrences import Occurrences
from report.rates import Rate, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The quantiles of a box.
Box = tuple[float, ...]

# A distribution is drawn up to the value that all but this share keep to.
_TAIL = 0.001
_MOST_BARS = 60
_BARS_OF_VALUES = 48
# A distribution narrower than this, as a part of its values, is one value.
_LEAST_SPAN = 1e-6
_BARS_OF_GROUP_SIZES = 28


def draw_strata(axes: Axes, strata: Sequence[Stratum]) -> None:
    """Draw a dot for each pair of labels, on a logarithmic scale, with its share beside it."""
    place = np.arange(len(strata))[::-1]
    axes.plot([stratum.share for stratum in strata], place, "o", color=FIRST)
    for row, stratum in zip(place, strata, strict=True):
        axes.annotate(
            percent(stratum.share), (stratum.share, row), (0, 7), textcoords="offset points", ha="center", fontsize=9
        )
    log_axis(axes, "x", percent)
    axes.set_xlim(min(stratum.share for stratum in strata) / 10, 5)
    axes.set_ylim(-0.6, len(strata) - 0.3)
    axes.grid(visible=True, axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_xlabel("share of the impressions")
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


def draw_boxes(axes: Axes, boxes: Mapping[str, Box], *, write: Callable[[float], str], unit: str) -> None:
    """Draw a box for each field on one logarithmic axis: the middle half, the median, and all but 5 % at either end."""
    place = np.arange(len(boxes))[::-1]
    axes.set_yticks(place, list(boxes))
    for row, box in zip(place.tolist(), boxes.values(), strict=True):
        axes.hlines(row, box[0], box[4], color=FIRST, linewidth=1.2)
        axes.hlines(row, box[1], box[3], color=FIRST, linewidth=8, alpha=0.45)
        axes.plot(box[2], row, "|", color=INK, markersize=9, markeredgewidth=1.8)
    log_axis(axes, "x", write)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=8))
    axes.set_ylim(-0.6, len(boxes) - 0.4)
    axes.grid(visible=True, axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(unit)


def box_of(numbers: npt.NDArray[Any], weights: npt.NDArray[np.int64]) -> Box:
    """Give the quantiles of numbers that rise: 5 %, 25 %, 50 %, 75 % and 95 %."""
    cumulated = np.cumsum(weights)
    places = np.searchsorted(cumulated, np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * cumulated[-1])
    return tuple(float(number) for number in numbers[places.clip(max=len(numbers) - 1)])


def draw_rates(axes: Axes, rates: Sequence[Rate], hits: Sequence[int], trials: Sequence[int]) -> None:
    """Draw the rate of each feature with its interval of 95 %, and a line for all of them together."""
    place = np.arange(len(rates))[::-1]
    known = np.array(trials) > 0
    if known.any():
        shares = np.array(hits)[known] / np.array(trials)[known]
        low, high = interval(np.array(hits)[known], np.array(trials)[known])
        axes.hlines(place[known], low, high, color=FIRST, linewidth=1.4)
        axes.plot(shares, place[known], "o", color=FIRST, markersize=3.5)
        axes.axvline(sum(hits) / sum(trials), color=INK, linewidth=0.6, linestyle=(0, (1, 2)))
        axes.set_xlim(0, min(1.0, float(high.max()) * 1.05))
    axes.set_yticks(place, [str(rate.feature_id) for rate in rates], fontsize=8)
    axes.set_ylim(-0.6, len(rates) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    axes.tick_params(axis="y", length=0)


def draw_vocabulary(axes: Axes, occurrences: Occurrences) -> None:
    """Draw over the least count of a feature which share of the features a vocabulary keeps, and of the occurrences."""
    counts, numbers = occurrences.counts, occurrences.num_features
    for weights, colour in ((numbers, SECOND), (numbers * counts, FIRST)):
        left = np.cumsum(weights[::-1])[::-1] / weights.sum()
        axes.step([1, *counts.tolist()], [1.0, *left.tolist()], where="pre", color=colour, linewidth=1.6)
    log_axis(axes, "x", count, num_marks=4)
    axes.set_xlim(0.9, max(2, int(counts[-1])) * 1.2)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))


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


def draw_counted_ranks(axes: Axes, occurrences: Occurrences, *, num_rows: int) -> None:
    """Draw the shares of a field's features over their ranks, both logarithmic, all of them counted."""
    last = np.cumsum(occurrences.num_features[::-1])
    first = last - occurrences.num_features[::-1] + 1
    shares = occurrences.counts[::-1] / num_rows
    axes.plot(np.stack([first, last], axis=1).ravel(), np.repeat(shares, 2), color=FIRST, linewidth=1.8)
    _rank_axes(axes, int(last[-1]), 0.5 / num_rows)


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
    _rank_axes(axes, num_features, lowest)


def _rank_axes(axes: Axes, num_features: int, lowest: float) -> None:
    log_axis(axes, "x", count, num_marks=4)
    log_axis(axes, "y", percent, num_marks=4)
    axes.set_xlim(0.8, max(2, num_features) * 1.3)
    axes.set_ylim(lowest, 1.5)
    axes.axvline(num_features, color=INK, linewidth=0.5, linestyle=(0, (1, 2)))
