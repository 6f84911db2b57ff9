"""The tables of a sample as a person reads them: their cells, for the report and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from spark_jobs.sampling.findings import FieldRow, Findings, StratumRow, fits, rate_rows, strata_rows
from spark_jobs.sampling.theory import Interval

Cells = tuple[str, ...]


def strata_cells(findings: Findings) -> Iterator[Cells]:
    """Give each stratum: source, its share, sample, its share, weighted share, interval, weight."""
    for row in strata_rows(findings):
        yield (
            row.name,
            f"{row.source:,}",
            f"{row.source_share:.4%}",
            f"{row.sample:,}",
            f"{row.sample_share:.4%}",
            f"{row.estimate:.4%}",
            _interval(row.interval),
            _weight(row),
        )


def rate_cells(findings: Findings) -> Iterator[Cells]:
    """Give each rate: margin asked for, impressions it takes, source, sample, interval, design effect."""
    for row in rate_rows(findings):
        yield (
            row.name,
            str(row.margin),
            f"{row.takes:,}",
            f"{row.rate:.4%}",
            "none" if row.estimate is None else f"{row.estimate:.4%}",
            _interval(row.interval),
            f"{row.design_effect:.2f}",
        )


def fit_cells(findings: Findings) -> Iterator[Cells]:
    """Give each test of goodness of fit: chi-square, degrees of freedom, p, and a remark."""
    for name, fit, remark in fits(findings):
        yield name, f"{fit.statistic:.2f}", f"{round(fit.degrees, 1):g}", f"{fit.p_value:.3f}", remark


def field_cells(rows: Iterable[FieldRow], meanings: Mapping[str, str]) -> Iterator[Cells]:
    """Give each field: meaning, source, sample, interval."""
    for row in rows:
        yield (
            row.name,
            meanings.get(row.name, "unknown field"),
            f"{row.source_share:.2%}",
            f"{row.sample_share:.2%}",
            _interval(row.interval, 2),
        )


def confidence(findings: Findings) -> str:
    """Write the confidence of the intervals."""
    return f"{findings.design.confidence * 100:g} %"


def printed_tables(findings: Findings) -> list[str]:
    """Give the report's tables as lines of text."""
    interval = f"{confidence(findings)} interval"
    tables: tuple[tuple[Cells, Iterable[Cells]], ...] = (
        (
            ("stratum", "source", "share", "sample", "share", "weighted", interval, "weight"),
            strata_cells(findings),
        ),
        (
            ("rate", "margin asked for", "takes", "source", "sample", interval, "design effect"),
            rate_cells(findings),
        ),
        (("goodness of fit", "chi-square", "degrees", "p", ""), fit_cells(findings)),
    )
    return [line for head, rows in tables for line in (*_aligned([head, *rows]), "")][:-1]


def _interval(interval: Interval | None, digits: int = 4) -> str:
    if interval is None:
        return "unknown"
    if interval.low == interval.high:
        return "exact"
    return f"{interval.low:.{digits}%} to {interval.high:.{digits}%}"


def _weight(row: StratumRow) -> str:
    if row.weight is None:
        return "by stratum" if row.sample else "none drawn"
    return f"{row.weight:,.2f}"


def _aligned(rows: Sequence[Cells]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([f"  {first:<{widths[0]}}", *cells]).rstrip()
