"""What source and sample show, side by side: for the manifest, the report and the person who waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from spark_jobs.sampling import theory
from spark_jobs.sampling.design import (
    LABEL_ORDER,
    Plan,
    label_counts,
    labels_of_strata,
    rate_counts,
    strata_of,
    stratum_name,
)
from spark_jobs.sampling.parameters import TARGET_NAMES, Design, Margin, Target
from spark_jobs.sampling.passes import CellTally, FileTally, GroupCounts, Replicates, SampleTally, Stratum
from spark_jobs.sampling.theory import Fit, Interval

# A test of fit with a smaller p is no chance, but for one sample in a hundred.
_DOUBTFUL = 0.01


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
        replicates: the source by random groups of its groups; of a sample of groups only.
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
    replicates: Replicates | None = None


@dataclass(frozen=True)
class StratumRow:
    """A stratum, or a label, in source and sample, as the manifest has it too.

    Attributes:
        name: in words.
        click_label: None where the labels make no strata, and so is `conversion_label`.
        scene: None where the scene makes no strata.
        sample_share: of the drawn, which says nothing of the source where weights differ.
        estimate: of the share of the source, from the sample, weighted.
        interval: of the estimate.
        weight: how many of the source each drawn one stands for; None where none was drawn, and of a label whose
            samples come from strata with different weights.
    """

    name: str
    click_label: int | None
    conversion_label: int | None
    scene: int | None
    source: int
    source_share: float
    sample: int
    sample_share: float
    weight: float | None
    estimate: float
    interval: Interval


@dataclass(frozen=True)
class RateRow:
    """A target in source and sample, as the manifest has it too.

    Attributes:
        margin: what was asked for.
        rate: in the source.
        needed: how many of those that it is a rate of are to be drawn.
        of: how many of these the source has.
        takes: how many samples that takes in all.
        estimate: from the sample, weighted; None where its base was not drawn.
        interval: of the estimate.
        design_effect: of the strata and their weights, or of drawing whole groups, in the source.
    """

    target: Target
    margin: Margin
    rate: float
    needed: int
    of: int
    takes: int
    estimate: float | None
    interval: Interval
    design_effect: float

    @property
    def name(self) -> str:
        """The target in words."""
        return TARGET_NAMES[self.target]


@dataclass(frozen=True)
class FieldRow:
    """A feature name: in what share of the records it occurs.

    Attributes:
        sample_share: of impressions, weighted.
        interval: of the share in the source; None where the sample says nothing of it.
    """

    name: str
    source_share: float
    sample_share: float
    interval: Interval | None


def strata_rows(findings: Findings) -> list[StratumRow]:
    """Give each stratum and, where labels do not make the strata, each label."""
    plan = findings.plan
    rows = [
        # The strata hold their own shares: nothing varies.
        _stratum_row(
            findings,
            row.stratum,
            [(each.size if each is row else 0, each.size) for each in plan.strata],
            [(each.drawn if each is row else 0, each.drawn) for each in plan.strata],
            0.0,
        )
        for row in plan.strata
    ]
    if findings.design.strata.labels:
        return rows
    source, sample = _labels(findings, findings.source), _labels(findings, findings.sample)
    return rows + [
        _stratum_row(
            findings,
            (label, None),
            [(labels[label], sum(labels)) for labels in source],
            [(labels[label], sum(labels)) for labels in sample],
            plan.label_effects[label],
        )
        for label in LABEL_ORDER
        if any(labels[label] for labels in source)
    ]


def rate_rows(findings: Findings) -> list[RateRow]:
    """Give each target that was asked for."""
    rows, source, sample = [], _labels(findings, findings.source), _labels(findings, findings.sample)
    for target in findings.plan.targets:
        estimate, interval = _estimated(
            findings,
            [rate_counts(target.target, labels) for labels in source],
            [rate_counts(target.target, labels) for labels in sample],
            target.design_effect,
        )
        rows.append(
            RateRow(
                target=target.target,
                margin=target.margin,
                rate=target.rate,
                needed=target.needed,
                of=target.base,
                takes=target.total,
                estimate=estimate,
                interval=interval,
                design_effect=target.design_effect,
            )
        )
    return rows


def field_rows(findings: Findings) -> list[FieldRow]:
    """Give each feature name of the impressions, in the order of the names."""
    source, sample = _tallies(findings, findings.source), _tallies(findings, findings.sample)
    rows = []
    for name, number in sorted(findings.source.file.coverage.items()):
        known = [(each.coverage[name], each.count) for each in source]
        seen = [(each.coverage[name], each.count) for each in sample]
        estimate, interval = _estimated(findings, known, seen, _field_effect(findings, name, known))
        share = number / findings.source.file.num_eligible
        rows.append(FieldRow(name.decode("ascii"), share, estimate or 0.0, interval))
    return rows


def group_field_rows(findings: Findings) -> list[FieldRow]:
    """Give each feature name of the common feature groups, in the order of the names.

    Groups that come with their impressions are no sample of the groups whose chances are known: they have no interval.
    """
    source, sample = findings.source_groups, findings.sample_groups
    if not source.num_eligible or not sample.num_eligible:
        return []
    # Groups without impressions have no chance, also when whole groups are drawn.
    is_random = source.num_eligible in (sample.num_eligible, findings.num_groups_with_samples)
    return [
        FieldRow(
            name.decode("ascii"),
            num_lines / source.num_eligible,
            sample.coverage[name] / sample.num_eligible,
            theory.proportion_interval(
                sample.coverage[name], sample.num_eligible, findings.design.confidence, source.num_eligible
            )
            if is_random
            else None,
        )
        for name, num_lines in sorted(source.coverage.items())
    ]


def weighted_lengths(findings: Findings) -> theory.Shares:
    """Give how many impressions have a list of each length, from the sample, in units of the source."""
    lengths = np.array([each.list_lengths for each in _tallies(findings, findings.sample)])
    weighted: theory.Shares = np.array(_weights(findings), np.float64) @ lengths
    return weighted


def weighting_effect(findings: Findings) -> float:
    """Give Kish's design effect of the unequal weights of the strata."""
    strata = findings.plan.strata
    return theory.kish_design_effect([each.size for each in strata], [each.drawn for each in strata])


def fits(findings: Findings) -> Iterator[tuple[str, Fit, str]]:
    """Give each test of goodness of fit: of what, its outcome, and a remark."""
    source, sample, replicates = findings.source, findings.sample, findings.replicates
    if replicates is None:
        labels = theory.goodness_of_fit(
            *([[row[label] for label in LABEL_ORDER] for row in _labels(findings, each)] for each in (sample, source))
        )
        lengths = theory.goodness_of_fit(
            *([each.list_lengths for each in _tallies(findings, tally)] for tally in (sample, source))
        )
    else:
        share, order = float(1 / _weights(findings)[0]), list(LABEL_ORDER)
        labels = theory.cluster_fit(np.array(label_counts(sample.cells))[order], replicates.labels[:, order], share)
        known = sorted(replicates.list_lengths.items())
        lengths = theory.cluster_fit(
            [sample.file.list_lengths[length] for length, _ in known], np.transpose([each for _, each in known]), share
        )
    yield "labels", labels, "held by the strata" if findings.design.strata.labels else "left to chance"
    yield "features of an impression", lengths, "left to chance"


def verdict(findings: Findings) -> str:
    """Say in a sentence whether the sample stands for its source."""
    unlike = [
        f"the fit of {name} has p = {fit.p_value:.2g}" for name, fit, _ in fits(findings) if fit.p_value < _DOUBTFUL
    ]
    for row in rate_rows(findings):
        if row.estimate is None:
            unlike.append(f"nothing was drawn to tell the {row.name} from")
        elif abs(row.estimate - row.rate) > row.margin.absolute(row.rate):
            unlike.append(f"the {row.name} is {row.estimate:.4%}, further from {row.rate:.4%} than its margin")
    if not unlike:
        return (
            "The sample stands for its source: each rate is within its margin, and no test of fit finds a difference."
        )
    return f"Look before you use it: {'; '.join(unlike)}. Chance does that now and then: another seed tells."


# Of each stratum: those with a property, and those that they are a share of. A sample of groups is one stratum.
_Counts = Sequence[tuple[int, int]]


def _estimated(findings: Findings, source: _Counts, sample: _Counts, effect: float) -> tuple[float | None, Interval]:
    """Estimate a share of the source: Wilson's interval at the size that the design effect leaves.

    Strata of which nothing was drawn may hold anything: the interval reaches as far as they could move the share.
    """
    drawn_base = sum(base for _, base in sample)
    if not drawn_base:
        return None, Interval(0.0, 1.0)
    weights = _weights(findings)
    hits, base = (sum(w * count[part] for w, count in zip(weights, sample, strict=True)) for part in (0, 1))
    estimate = low = high = Fraction(hits) / base
    if findings.drawn_groups is None:
        known = Fraction(sum(count[1] for weight, count in zip(weights, source, strict=True) if weight))
        share = known / sum(count[1] for count in source)
    else:
        # A known share of the groups was drawn, whatever share of the samples these have.
        known, share = Fraction(base), Fraction(1)
    if effect:
        interval = theory.proportion_interval(
            estimate * drawn_base, drawn_base, findings.design.confidence, known, effect
        )
        low, high = Fraction(interval.low), Fraction(interval.high)
    return float(estimate), Interval(float(low * share), float(high * share + 1 - share))


def _stratum_row(findings: Findings, stratum: Stratum, source: _Counts, sample: _Counts, effect: float) -> StratumRow:
    estimate, interval = _estimated(findings, source, sample, effect)
    size, population = (sum(column) for column in zip(*source, strict=True))
    drawn, total = (sum(column) for column in zip(*sample, strict=True))
    weights = {weight for weight, (number, _) in zip(_weights(findings), sample, strict=True) if number}
    label, scene = stratum
    return StratumRow(
        name=stratum_name(stratum),
        click_label=None if label is None else label >> 1,
        conversion_label=None if label is None else label & 1,
        scene=scene,
        source=size,
        source_share=size / population,
        sample=drawn,
        sample_share=drawn / total,
        weight=float(weights.pop()) if len(weights) == 1 else None,
        estimate=estimate or 0.0,
        interval=interval,
    )


def _weights(findings: Findings) -> list[Fraction]:
    """Give how many of the source a drawn one stands for, in each stratum: 0 where nothing was drawn."""
    if findings.drawn_groups is not None:
        return [Fraction(findings.num_groups_with_samples, len(findings.drawn_groups.index))]
    return [Fraction(each.size, each.drawn) if each.drawn else Fraction(0) for each in findings.plan.strata]


def _field_effect(findings: Findings, name: bytes, source: _Counts) -> float:
    if findings.replicates is None:
        strata = findings.plan.strata
        hits, bases = zip(*source, strict=True)
        return theory.stratified_design_effect(
            [each.size for each in strata], [each.drawn for each in strata], bases, hits
        )
    # Random groups of clusters vary as the clusters in them do (Wolter, chapter 2).
    return theory.cluster_design_effect(
        theory.describe_clusters(findings.replicates.labels.sum(axis=1), findings.replicates.coverage[name])
    )


def _strata(findings: Findings) -> list[Stratum]:
    return [each.stratum for each in findings.plan.strata] or [(None, None)]


def _tallies(findings: Findings, tally: SampleTally) -> list[CellTally]:
    found = strata_of(tally.cells, findings.design.strata)
    return [found.get(stratum, CellTally()) for stratum in _strata(findings)]


def _labels(findings: Findings, tally: SampleTally) -> list[list[int]]:
    return labels_of_strata(_strata(findings), tally.cells, findings.design.strata)
