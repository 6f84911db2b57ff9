"""The design of a sample: what is asked for, and from what was counted, how many to draw of each stratum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import LoadError, UsageError
from spark_jobs.sampling import theory
from spark_jobs.sampling.parameters import TARGET_NAMES, Design, Margin, StratumRule, Target
from spark_jobs.sampling.passes import Cell, CellTally, GroupCounts, Stratum
from spark_jobs.sampling.scan import NO_SCENE, SEVERAL_SCENES

# Labels as 2 * click_label + conversion_label: those that are hits of a target, and those that it is a rate of.
_HITS: Mapping[Target, tuple[int, ...]] = {"ctr": (2, 3), "cvr": (3,), "ctcvr": (3,)}
_BASE: Mapping[Target, tuple[int, ...]] = {"ctr": (0, 1, 2, 3), "cvr": (2, 3), "ctcvr": (0, 1, 2, 3)}

LABEL_NAMES = ("no response", "conversion without click", "click-through", "click-through and conversion")
LABELS = range(len(LABEL_NAMES))
# In the order in which a person thinks of them.
LABEL_ORDER = (0, 2, 3, 1)

# More strata than this are a mistake: field 301 has three values in Ali-CCP.
MOST_STRATA = 100


@dataclass(frozen=True)
class TargetSize:
    """What one target needs.

    Attributes:
        target: the rate.
        margin: what was asked for.
        hits: how many samples of the source have it.
        base: of how many.
        needed: how many of the base are to be drawn.
        total: how many samples that takes in all, on average.
        design_effect: of the strata and their weights, or of drawing whole groups: the variance's ratio to that of a
            sample at random with as many of the base.
    """

    target: Target
    margin: Margin
    hits: int
    base: int
    needed: int
    total: int
    design_effect: float

    @property
    def rate(self) -> float:
        """The rate in the source."""
        return self.hits / self.base


@dataclass(frozen=True)
class StratumSize:
    """A stratum: its size in the source, and how many of it are drawn."""

    stratum: Stratum
    size: int
    drawn: int

    @property
    def name(self) -> str:
        """The stratum in words."""
        return stratum_name(self.stratum)


@dataclass(frozen=True)
class Plan:
    """How many are drawn.

    Attributes:
        targets: what each of them needs.
        population: how many samples there are to draw from.
        total: how many are drawn; of a sample of groups, about how many.
        strata: how many of each; none of a sample of groups.
        label_effects: the design effect of the share of each label.
        groups: how many groups are drawn; None of a sample of single impressions.
    """

    targets: tuple[TargetSize, ...]
    population: int
    total: int
    strata: tuple[StratumSize, ...]
    label_effects: tuple[float, ...]
    groups: int | None = None


def stratum_name(stratum: Stratum | Cell) -> str:
    """Give a stratum in words."""
    label, scene = stratum
    scenes = {NO_SCENE: "no scene", SEVERAL_SCENES: "several scenes"}
    parts = [LABEL_NAMES[label]] if label is not None else []
    parts += [scenes.get(scene, f"scene {scene}")] if scene is not None else []
    return ", ".join(parts) or "all impressions"


def label_counts(cells: Mapping[Cell, CellTally]) -> list[int]:
    """Give how many samples each label has."""
    return [sum(tally.count for (label, _), tally in cells.items() if label == each) for each in LABELS]


def labels_of_strata(strata: Iterable[Stratum], cells: Mapping[Cell, CellTally], rule: StratumRule) -> list[list[int]]:
    """Give for each stratum how many samples each label has."""
    return [
        label_counts({cell: tally for cell, tally in cells.items() if rule.of(cell) == stratum}) for stratum in strata
    ]


def stratum_order(stratum: Stratum) -> tuple[int, int]:
    """Order strata as a person thinks of them: no response first, then what follows it."""
    label, scene = stratum
    return (LABEL_ORDER.index(label) if label is not None else -1, scene if scene is not None else 0)


def strata_of(cells: Mapping[Cell, CellTally], rule: StratumRule) -> dict[Stratum, CellTally]:
    """Put cells together to strata, in the order in which they are shown.

    Raises:
        LoadError: there are too many of them to be meant.
    """
    strata: dict[Stratum, CellTally] = {}
    for stratum in sorted({rule.of(cell) for cell in cells}, key=stratum_order):
        strata[stratum] = CellTally()
        for cell, tally in cells.items():
            if rule.of(cell) == stratum:
                strata[stratum].add(tally)
    if len(strata) > MOST_STRATA:
        raise LoadError(f"field 301 makes {len(strata)} strata, more than {MOST_STRATA}: use STRATA=labels")
    return strata


def plan_sample(design: Design, cells: Mapping[Cell, CellTally]) -> Plan:
    """Find how many samples to draw of each stratum.

    The total is the largest that any target needs. A rate among clicks needs so many clicks, and the total that has
    them: of a stratified sample exactly, of others on average.

    Raises:
        LoadError: there is nothing to draw from, or a target has no rate there.
        UsageError: a margin is wider than its rate.
    """
    labels = label_counts(cells)
    targets = tuple(_target_size(design, target, labels) for target in design.margins)
    strata = strata_of(cells, design.strata)
    sizes = [tally.count for tally in strata.values()]
    total = max(target.total for target in targets)
    drawn = (
        theory.neyman(sizes, [_deviation(tally) for tally in strata.values()], total, design.minimum_per_stratum)
        if design.allocation == "neyman"
        else theory.proportional(sizes, total, design.minimum_per_stratum)
    )
    planned = tuple(map(StratumSize, strata, sizes, drawn))
    counts = labels_of_strata(strata, cells, design.strata)

    def effect(rates: Sequence[tuple[int, int]]) -> float:
        hits, bases = zip(*rates, strict=True)
        return theory.stratified_design_effect(sizes, drawn, bases, hits)

    return Plan(
        targets=tuple(
            replace(each, design_effect=effect([rate_counts(each.target, labels) for labels in counts]))
            for each in targets
        ),
        population=sum(sizes),
        total=sum(drawn),
        strata=planned,
        label_effects=tuple(effect([(labels[label], sum(labels)) for labels in counts]) for label in LABELS),
    )


def plan_clusters(design: Design, groups: GroupCounts) -> Plan:
    """Find how many whole common feature groups to draw; groups without samples are not counted.

    Raises:
        LoadError: there is nothing to draw from, or a target has no rate there.
        UsageError: a margin is wider than its rate.
    """
    labels = groups.labels.sum(axis=0).tolist()
    number, population = len(groups.index), int(sum(labels))
    targets, needed = [], []
    for target, margin in design.margins.items():
        simple = _target_size(design, target, labels)
        clusters = clusters_of(target, groups)
        wanted = theory.clusters_needed(clusters, margin.absolute(simple.rate), design.confidence)
        needed.append(wanted)
        targets.append(
            TargetSize(
                target,
                margin,
                simple.hits,
                simple.base,
                round(wanted * simple.base / number),
                round(wanted * population / number),
                theory.cluster_design_effect(clusters),
            )
        )
    drawn = max(needed)
    effects = tuple(
        theory.cluster_design_effect(theory.describe_clusters(groups.labels.sum(axis=1), groups.labels[:, label]))
        for label in LABELS
    )
    return Plan(tuple(targets), population, round(drawn * population / number), (), effects, drawn)


def clusters_of(target: Target, groups: GroupCounts) -> theory.Clusters:
    """Describe groups by what they show of a target."""
    sizes = groups.labels[:, list(_BASE[target])].sum(axis=1)
    hits = groups.labels[:, list(_HITS[target])].sum(axis=1)
    return theory.describe_clusters(sizes, hits)


def rate_counts(target: Target, labels: Sequence[int]) -> tuple[int, int]:
    """Give the hits of a target and what they are counted among."""
    return sum(labels[label] for label in _HITS[target]), sum(labels[label] for label in _BASE[target])


def _target_size(design: Design, target: Target, labels: Sequence[int]) -> TargetSize:
    name, margin, population = TARGET_NAMES[target], design.margins[target], sum(labels)
    hits, base = rate_counts(target, labels)
    if not population:
        raise LoadError("there is no good sample whose common feature group is there: nothing to draw from")
    if not hits:
        raise LoadError(f"the source has no {name} above 0, so no sample can show it: leave {target} out of MARGIN")
    rate = hits / base
    if margin.kind == "absolute" and margin.value >= rate:
        raise UsageError(
            f"MARGIN {target}:{margin.value:g} is absolute and wider than the {name} itself, {rate:.4g}:"
            f" write {target}:{min(margin.value * 100, 99):g}% for a share of it"
        )
    needed = theory.sample_size(rate, margin.absolute(rate), design.confidence, base)
    return TargetSize(target, margin, hits, base, needed, min(population, math.ceil(needed * population / base)), 1.0)


def _deviation(tally: CellTally) -> float:
    """Give the standard deviation of the number of features in a stratum."""
    if tally.count < 2:
        return 0.0
    return float(np.sqrt((tally.sum_square - tally.sum_length**2 / tally.count) / (tally.count - 1)))
