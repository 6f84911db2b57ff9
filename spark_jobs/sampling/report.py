"""The report of a sample: one HTML page with its plots inside, readable in light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pipeline.page import FIRST, INK, SECOND, SIZE, figure, log_axis, page, paragraph, percent, table
from pipeline.settings import Settings
from spark_jobs.sampling.design import Plan
from spark_jobs.sampling.findings import (
    FieldRow,
    Findings,
    RateRow,
    StratumRow,
    field_rows,
    fits,
    group_field_rows,
    rate_rows,
    shown_interval,
    shown_weight,
    strata_rows,
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

_ORIGIN = Markup(
    "<p class=faint>Drawn from <code>{uri}</code>, SHA-256 <code>{source}</code>, with seed {seed}."
    " The archive has SHA-256 <code>{archive}</code>.</p>\n"
)
_ABOUT_FITS = (
    "Pearson's test of the weighted shares, corrected for the design (Rao and Scott). A p below 0.01 says that source"
    " and sample differ by more than chance; one sample in a hundred has that without a fault. What the strata hold"
    " does not vary, and leaves no degrees of freedom."
)
_ABOUT_GROUPS = (
    "Impressions count with their weights, groups as they were drawn. A group is drawn with its impressions, so that"
    " one with many of them is likelier to be here: the groups of the sample stand for impressions, not for groups."
)
_ABOUT_WHOLE_GROUPS = "Every group that has impressions had the same chance to be drawn."
_ABOUT_FIELDS = (
    "The share of the impressions, weighted, and of the common feature groups, that have a field. The interval is of"
    " the share in the source. It is unknown for groups that came with their impressions, or if some groups have none."
)


def write_report(path: Path, settings: Settings, findings: Findings, manifest: Mapping[str, Any]) -> None:
    """Write the report. The same findings give the same bytes with the same matplotlib.

    Args:
        path: the HTML file.
        settings: name the data set.
        findings: what was counted.
        manifest: the sample's manifest.
    """
    title = f"Development sample of {settings.data_set.name}"
    path.write_text(page(title, _parts(findings, manifest)), encoding="utf-8")


def _parts(findings: Findings, manifest: Mapping[str, Any]) -> Iterator[Markup]:
    design, percents = findings.design, f"{findings.design.confidence * 100:g} %"
    yield paragraph(_headline(findings))
    yield _ORIGIN.format(
        uri=manifest["source"]["uri"],
        source=manifest["source"]["sha256"],
        seed=design.seed,
        archive=manifest["archive"]["sha256"],
    )
    yield Markup("<h2>Strata</h2>\n")
    yield table(
        ("", "source", "share", "sample", "share", "weighted", f"{percents} interval", "weight"),
        map(_stratum, strata_rows(findings)),
    )
    yield paragraph(_about_strata(findings), "faint")
    yield Markup("<h2>Rates</h2>\n")
    yield table(
        ("", "margin asked for", "impressions it takes", "source", "sample", f"{percents} interval", "design effect"),
        map(_rate, rate_rows(findings)),
    )
    yield paragraph(_about_rates(findings.plan), "faint")
    yield Markup("<h2>Goodness of fit</h2>\n")
    yield table(
        ("", "chi-square", "degrees of freedom", "p", ""),
        [
            (name, f"{fit.statistic:.2f}", f"{round(fit.degrees, 1):g}", f"{fit.p_value:.3f}", remark)
            for name, fit, remark in fits(findings)
        ],
    )
    yield paragraph(_ABOUT_FITS, "faint")
    yield Markup("<h2>Distributions</h2>\n")
    yield Markup("<p><span class=first>■ source</span> &nbsp; <span class=second>■ sample</span></p>\n")
    yield Markup("<div class=plots>\n{}</div>\n").format(Markup().join(_plots(findings)))
    yield paragraph(_ABOUT_WHOLE_GROUPS if design.clusters else _ABOUT_GROUPS, "faint")
    yield Markup("<h2>Fields</h2>\n")
    yield paragraph(_ABOUT_FIELDS)
    for name, rows in _coverages(findings):
        yield Markup("<h3>{}</h3>\n").format(name)
        yield table(("field", "source", "sample", f"{percents} interval"), map(_field, rows))


def _headline(findings: Findings) -> str:
    return (
        f"{findings.sample.file.num_eligible:,} of {findings.source.file.num_eligible:,} impressions and the"
        f" {findings.num_sample_groups:,} of {findings.num_groups:,} common feature groups that they refer to;"
        f" {findings.design.name}."
    )


def _about_strata(findings: Findings) -> str:
    text = (
        "The weight is how many impressions of the source each drawn one stands for. With their weights the drawn give"
        " the weighted share, and the interval is of that: exact where it is the same in every sample of this design."
    )
    effect = weighting_effect(findings)
    if effect > 1.001:
        text += (
            " Weights differ: use them where shares matter. Of what has nothing to do with the strata they cost a"
            f" factor of {effect:.3f} in the variance (Kish)."
        )
    for number, what in (
        (findings.source.file.num_rejects, "lines of the samples and"),
        (findings.source_groups.num_rejects, "of the common features were no good record, and"),
        (findings.source.file.num_orphans, "samples named a common feature group that is not there: none was drawn."),
    ):
        text += f" {number:,} {what}"
    return text


def _about_rates(plan: Plan) -> str:
    drawn = (
        "The sample has the size that the most demanding rate takes when impressions are drawn at random."
        if plan.groups is None
        else f"{plan.groups:,} whole groups were drawn, as many as the most demanding rate takes."
    )
    return (
        f"{drawn} The design effect is the ratio of the variance, as the source has it, to that of a sample at random"
        " with as many impressions that the rate is a rate of. The interval is Wilson's at the size that the design"
        " effect leaves, around the weighted estimate; exact where the strata hold the rate, so that it does not vary."
    )


def _stratum(row: StratumRow) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.source:,}",
        f"{row.source_share:.4%}",
        f"{row.sample:,}",
        f"{row.sample_share:.4%}",
        f"{row.estimate:.4%}",
        shown_interval(row.interval),
        shown_weight(row),
    )


def _rate(row: RateRow) -> tuple[str, ...]:
    return (
        row.name,
        row.margin,
        f"{row.needed:,}",
        f"{row.source:.4%}",
        "none" if row.estimate is None else f"{row.estimate:.4%}",
        shown_interval(row.interval),
        f"{row.design_effect:.2f}",
    )


def _field(row: FieldRow) -> tuple[str, ...]:
    return row.name, f"{row.source_share:.2%}", f"{row.sample_share:.2%}", shown_interval(row.interval, 2)


def _coverages(findings: Findings) -> list[tuple[str, list[FieldRow]]]:
    return [("Impressions", field_rows(findings)), ("Common feature groups", group_field_rows(findings))]


def _plots(findings: Findings) -> Iterator[Markup]:
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
    for name, rows in _coverages(findings):
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
