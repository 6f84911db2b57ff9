"""What source and sample show, side by side: for the manifest, the report and the person who waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spark_jobs.sampling import theory
from spark_jobs.sampling.design import (
    LABEL_NAMES,
    LABEL_ORDER,
    TARGET_NAMES,
    Design,
    Plan,
    clusters_of,
    label_counts,
    rate_counts,
    strata_of,
    stratum_name,
)
from spark_jobs.sampling.passes import FileTally, GroupCounts, SampleTally, Stratum
from spark_jobs.sampling.theory import Fit, Interval


@dataclass(frozen=True)
class Findings:
    """Everything that was counted.

    Attributes:
        source: the samples of the source.
        source_groups: its common features.
        num_groups: how many common feature groups the source has.
        num_groups_with_samples: how many of them have samples; of a sample of groups only, else 0.
        sample: the samples that were drawn, counted in the archive itself.
        sample_groups: the common features that were drawn, likewise.
        num_sample_groups: how many groups these are.
        drawn_groups: how many samples of each label each drawn group has; of a sample of groups only.
    """

    design: Design
    plan: Plan
    source: SampleTally
    source_groups: FileTally
    num_groups: int
    num_groups_with_samples: int
    sample: SampleTally
    sample_groups: FileTally
    num_sample_groups: int
    drawn_groups: GroupCounts | None


@dataclass(frozen=True)
class StratumRow:
    """A stratum, or a label, in source and sample.

    Attributes:
        interval: Wilson's, of its share of the source, from the sample.
        weight: how many of the source each drawn one stands for; None where none was drawn.
    """

    stratum: Stratum
    source: int
    source_share: float
    sample: int
    sample_share: float
    interval: Interval
    weight: float | None

    @property
    def name(self) -> str:
        """The stratum in words."""
        return stratum_name(self.stratum)


@dataclass(frozen=True)
class RateRow:
    """A target in source and sample.

    Attributes:
        needed: how many samples it takes in all.
        estimate: from the sample, weighted; None where its base was not drawn.
        interval: of the estimate.
        design_effect: of drawing whole groups, in the source; 1 without.
    """

    name: str
    margin: str
    source: float
    needed: int
    estimate: float | None
    interval: Interval
    design_effect: float


@dataclass(frozen=True)
class FieldRow:
    """A feature name: in what share of the records it occurs."""

    name: str
    source_share: float
    sample_share: float
    interval: Interval


def strata_rows(findings: Findings) -> list[StratumRow]:
    """Give each stratum; where labels do not make the strata, each label."""
    rule = findings.design.rule
    if not rule.labels:
        source, sample = label_counts(findings.source.cells), label_counts(findings.sample.cells)
        counts: dict[Stratum, tuple[int, int]] = {
            (label, None): (source[label], sample[label]) for label in LABEL_ORDER if source[label]
        }
    else:
        drawn = {stratum: tally.count for stratum, tally in strata_of(findings.sample.cells, rule).items()}
        counts = {each.stratum: (each.size, drawn.get(each.stratum, 0)) for each in findings.plan.strata}
    population, total = findings.source.file.num_eligible, findings.sample.file.num_eligible
    return [
        StratumRow(
            stratum,
            size,
            size / population,
            number,
            number / total,
            theory.wilson_interval(number, total, findings.design.confidence, population),
            size / number if number else None,
        )
        for stratum, (size, number) in counts.items()
    ]


def rate_rows(findings: Findings) -> list[RateRow]:
    """Give each target that was asked for."""
    return [_rate_row(findings, number) for number in range(len(findings.plan.targets))]


def _rate_row(findings: Findings, number: int) -> RateRow:
    target, confidence = findings.plan.targets[number], findings.design.confidence
    if findings.drawn_groups is not None:
        clusters = clusters_of(target.target, findings.drawn_groups)
        estimate: float | None = clusters.rate if clusters.mean_size else None
        interval = theory.cluster_interval(clusters, findings.num_groups_with_samples, confidence)
    else:
        weights = {each.stratum: each.size / each.drawn for each in findings.plan.strata if each.drawn}
        hits = base = 0.0
        for (label, scene), tally in findings.sample.cells.items():
            labels = [tally.count if each == label else 0 for each in range(len(LABEL_NAMES))]
            more_hits, more_base = rate_counts(target.target, labels)
            weight = weights[findings.design.rule.of((label, scene))]
            hits, base = hits + weight * more_hits, base + weight * more_base
        _, drawn_base = rate_counts(target.target, label_counts(findings.sample.cells))
        estimate = hits / base if base else None
        interval = (
            theory.wilson_interval(estimate * drawn_base, drawn_base, confidence, target.base)
            if estimate is not None
            else Interval(0.0, 1.0)
        )
    return RateRow(
        name=TARGET_NAMES[target.target],
        margin=str(target.margin),
        source=target.rate,
        needed=target.total,
        estimate=estimate,
        interval=interval,
        design_effect=target.design_effect,
    )


def field_rows(source: FileTally, sample: FileTally, confidence: float) -> list[FieldRow]:
    """Give each feature name of a file, in the order of the names."""
    if not source.num_eligible or not sample.num_eligible:
        return []
    return [
        FieldRow(
            name.decode("ascii"),
            num_lines / source.num_eligible,
            sample.coverage[name] / sample.num_eligible,
            theory.wilson_interval(sample.coverage[name], sample.num_eligible, confidence, source.num_eligible),
        )
        for name, num_lines in sorted(source.coverage.items())
    ]


def weighting_effect(findings: Findings) -> float:
    """Give Kish's design effect of the unequal weights of the strata."""
    strata = findings.plan.strata
    return theory.kish_design_effect([each.size for each in strata], [each.drawn for each in strata])


def fits(findings: Findings) -> Iterator[tuple[str, Fit, str]]:
    """Give each test of goodness of fit: of what, its outcome, and a remark."""
    source, sample = label_counts(findings.source.cells), label_counts(findings.sample.cells)
    clusters = findings.drawn_groups
    effect = 1.0
    if clusters is not None:
        effects = [theory.cluster_design_effect(clusters_of(each.target, clusters)) for each in findings.plan.targets]
        effect = max(1.0, sum(effects) / len(effects))
    yield (
        "labels",
        theory.goodness_of_fit(
            [sample[label] for label in LABEL_ORDER],
            [source[label] for label in LABEL_ORDER],
            design_effect=effect,
        ),
        "held by the strata" if findings.design.rule.labels else "left to chance",
    )
    yield (
        "features of an impression",
        theory.goodness_of_fit(
            findings.sample.file.list_lengths.tolist(), findings.source.file.list_lengths.tolist(), design_effect=effect
        ),
        "left to chance",
    )


def printed_table(findings: Findings) -> list[str]:
    """Give the report's table as lines of text."""
    percent = f"{findings.design.confidence * 100:g} %"
    rows = [("stratum", "source", "share", "sample", "share", f"{percent} interval", "weight")]
    rows += [
        (
            row.name,
            f"{row.source:,}",
            f"{row.source_share:.4%}",
            f"{row.sample:,}",
            f"{row.sample_share:.4%}",
            f"{row.interval.low:.4%} to {row.interval.high:.4%}",
            "none drawn" if row.weight is None else f"{row.weight:,.2f}",
        )
        for row in strata_rows(findings)
    ]
    rates = [("rate", "margin asked for", "takes", "source", "sample", f"{percent} interval", "design effect")]
    rates += [
        (
            row.name,
            row.margin,
            f"{row.needed:,}",
            f"{row.source:.4%}",
            "none" if row.estimate is None else f"{row.estimate:.4%}",
            f"{row.interval.low:.4%} to {row.interval.high:.4%}",
            f"{row.design_effect:.2f}",
        )
        for row in rate_rows(findings)
    ]
    tests = [("goodness of fit", "chi-square", "degrees", "p", "")]
    tests += [
        (name, f"{fit.statistic:.2f}", f"{fit.degrees}", f"{fit.p_value:.3f}", remark)
        for name, fit, remark in fits(findings)
    ]
    tables: list[Sequence[tuple[str, ...]]] = [rows, rates, tests]
    return [line for table in tables for line in (*_aligned(table), "")][:-1]


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = row
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([f"  {first:<{widths[0]}}", *cells]).rstrip()
