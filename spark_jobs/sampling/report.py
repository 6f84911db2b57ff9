"""The report of a sample: one HTML page with its plots inside, readable in light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pipeline.fields import known_fields
from pipeline.page import FIRST, INK, SECOND, SIZE, figure, log_axis, percent, render
from pipeline.settings import Settings
from spark_jobs.sampling import tables
from spark_jobs.sampling.findings import (
    FieldRow,
    Findings,
    StratumRow,
    field_rows,
    group_field_rows,
    strata_rows,
    verdict,
    weighted_lengths,
    weighting_effect,
)
from spark_jobs.sampling.theory import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches.
_BAR_HEIGHT = 0.23
# A distribution is drawn up to the length that all but this share of the records keep to.
_TAIL = 0.001
_MOST_POINTS = 60


def write_report(path: Path, settings: Settings, findings: Findings, manifest: Mapping[str, Any]) -> None:
    """Write the report. The same findings give the same bytes with the same matplotlib.

    Args:
        path: the HTML file.
        settings: name the data set.
        findings: what was counted.
        manifest: the sample's manifest.
    """
    coverages = [("Impressions", field_rows(findings)), ("Common feature groups", group_field_rows(findings))]
    content = render(
        Path(__file__).with_name("report.html"),
        data_set=settings.data_set.name,
        findings=findings,
        design=findings.design,
        manifest=manifest,
        tables=tables,
        confidence=tables.confidence(findings),
        weighting_effect=weighting_effect(findings),
        coverages=coverages,
        is_generated=settings.source.kind == "generated",
        meanings={name: known["meaning"] for name, known in known_fields(settings.root).items()},
        verdict=verdict(findings),
        figures=list(_figures(findings, coverages)),
    )
    path.write_text(content, encoding="utf-8")


def _figures(findings: Findings, coverages: Sequence[tuple[str, Sequence[FieldRow]]]) -> Iterator[Markup]:
    strata = strata_rows(findings)
    yield figure(
        "Share of each stratum, weighted, on a logarithmic scale, with the interval",
        partial(_draw_strata, rows=strata),
        size=_size(len(strata)),
    )
    for caption, source, sample in (
        ("Features of an impression", findings.source.file.list_lengths, weighted_lengths(findings)),
        (
            "Features of a common feature group",
            findings.source_groups.list_lengths,
            findings.sample_groups.list_lengths.astype(np.float64),
        ),
    ):
        yield figure(caption, partial(_draw_lengths, source=source, sample=sample))
    for name, rows in coverages:
        caption = f"{name} that have a field, with the interval"
        yield figure(caption, partial(_draw_coverage, rows=rows), size=_size(len(rows)))


def _size(num_bars: int) -> tuple[float, float]:
    return SIZE[0], max(SIZE[1], 0.7 + 2 * _BAR_HEIGHT * num_bars)


def _draw_strata(axes: Axes, rows: Sequence[StratumRow]) -> None:
    place = np.arange(len(rows))[::-1]
    axes.barh(place + 0.2, [row.source_share for row in rows], 0.36, color=FIRST)
    axes.barh(place - 0.2, [row.estimate for row in rows], 0.36, color=SECOND)
    _whiskers(axes, place - 0.2, [row.interval for row in rows])
    log_axis(axes, "x", percent)
    axes.set_yticks(place, [row.name.replace(" and ", "\nand ").replace(", ", ",\n") for row in rows])
    axes.set_xlabel("share of the impressions")


def _draw_coverage(axes: Axes, rows: Sequence[FieldRow]) -> None:
    place = np.arange(len(rows))[::-1]
    axes.barh(place + 0.2, [row.source_share for row in rows], 0.36, color=FIRST)
    axes.barh(place - 0.2, [row.sample_share for row in rows], 0.36, color=SECOND)
    _whiskers(axes, place - 0.2, [row.interval for row in rows])
    axes.set_yticks(place, [row.name for row in rows])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the records")


def _whiskers(axes: Axes, place: npt.NDArray[Any], intervals: Sequence[Interval | None]) -> None:
    for height, interval in zip(place.tolist(), intervals, strict=True):
        if interval is not None:
            axes.hlines(height, interval.low, interval.high, color=INK, linewidth=1)


def _draw_lengths(axes: Axes, source: npt.NDArray[np.int64], sample: npt.NDArray[np.float64]) -> None:
    last = int(np.searchsorted(np.cumsum(source), source.sum() * (1 - _TAIL))) if source.sum() else 0
    width = last // _MOST_POINTS + 1
    edges = np.arange(0, last + width, width)
    for counts, colour in ((source, FIRST), (sample, SECOND)):
        shares = np.add.reduceat(counts, edges[edges < len(counts)]) / max(1, counts.sum())
        axes.step(edges[: len(shares)], shares, where="mid", color=colour, linewidth=1.6)
    axes.set_xlabel("features" if width == 1 else f"features, in steps of {width}")
    axes.set_ylabel("share of the records")
    axes.set_ylim(bottom=0)
