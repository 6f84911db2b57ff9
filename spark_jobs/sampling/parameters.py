"""What is asked of a sample, as it is typed or declared. Standard library only: it is checked before set-up too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pipeline.errors import UsageError
from pipeline.settings import SAMPLE_PARAMETERS, read_flag

if TYPE_CHECKING:
    from spark_jobs.sampling.passes import Cell, Stratum

Target = Literal["ctr", "cvr", "ctcvr"]
Allocation = Literal["proportional", "neyman"]

TARGETS: tuple[Target, ...] = get_args(Target)
ALLOCATIONS: tuple[Allocation, ...] = get_args(Allocation)
TARGET_NAMES: Mapping[Target, str] = {
    "ctr": "click-through rate",
    "cvr": "conversion rate given a click",
    "ctcvr": "click-through and conversion rate",
}

LARGEST_SEED = 2**63 - 1

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(%?)")
# In place of what pipeline.yml declares, which is not read before set-up.
_SOUND = {
    "margin": "5%",
    "confidence": "95%",
    "seed": "1",
    "strata": "labels",
    "allocation": "proportional",
    "minimum": "1",
    "clusters": "no",
}


@dataclass(frozen=True)
class StratumRule:
    """What makes the strata: the labels, the scene, both, or nothing."""

    labels: bool
    scene: bool

    def of(self, cell: Cell) -> Stratum:
        """Give the stratum that a cell belongs to."""
        label, scene = cell
        return (label if self.labels else None, scene if self.scene else None)


@dataclass(frozen=True)
class Margin:
    """A margin of error: half the width of an interval.

    Attributes:
        value: in units of the rate, or as a share of it.
        kind: which of the two.
    """

    value: float
    kind: Literal["absolute", "relative"]

    def absolute(self, rate: float) -> float:
        """Give the margin in units of the rate."""
        return self.value * rate if self.kind == "relative" else self.value

    def __str__(self) -> str:
        """Write it as a person reads it."""
        return f"± {self.value:.6g} absolute" if self.kind == "absolute" else f"± {self.value * 100:.6g} % of the rate"


@dataclass(frozen=True)
class Design:
    """What is asked for, as the manifest of a sample has it too.

    Attributes:
        margins: of each target that counts.
        confidence: of the intervals, between 0 and 1.
        seed: names the sample among all of the same design.
        strata: what makes them.
        allocation: how the total is divided among them.
        minimum_per_stratum: the least of each.
        clusters: whether whole common feature groups are drawn, without strata.
    """

    margins: Mapping[Target, Margin]
    confidence: float
    seed: int
    strata: StratumRule
    allocation: Allocation
    minimum_per_stratum: int
    clusters: bool

    @property
    def name(self) -> str:
        """The kind of sample, in words."""
        if self.clusters:
            return "whole common feature groups"
        strata = " and ".join(
            name for name, used in (("labels", self.strata.labels), ("scene", self.strata.scene)) if used
        )
        return f"stratified by {strata}, {self.allocation}" if strata else "simple random"


def read_design(parameters: Mapping[str, Any]) -> Design:
    """Read a design as it is typed or declared.

    Args:
        parameters: `margin`, `confidence`, `seed`, `strata`, `allocation`, `minimum` and `clusters`.

    Raises:
        UsageError: one of them makes no sense.
    """
    clusters = read_flag("CLUSTERS", parameters["clusters"])
    strata = _strata(str(parameters["strata"]))
    allocation = str(parameters["allocation"])
    if allocation not in ALLOCATIONS:
        raise UsageError(f"ALLOCATION is {allocation!r}, expected {' or '.join(ALLOCATIONS)}")
    return Design(
        margins=_margins(str(parameters["margin"])),
        confidence=_confidence(str(parameters["confidence"])),
        seed=_whole(parameters["seed"], "SEED", LARGEST_SEED),
        strata=StratumRule(labels=False, scene=False) if clusters else strata,
        allocation="neyman" if allocation == "neyman" and not clusters else "proportional",
        minimum_per_stratum=0 if clusters else _whole(parameters["minimum"], "MINIMUM", 2**31),
        clusters=clusters,
    )


def _strata(text: str) -> StratumRule:
    names = {name.strip() for name in text.split(",")}
    if not names <= {"labels", "scene", "none"} or (len(names) > 1 and "none" in names):
        raise UsageError(f"STRATA is {text!r}, expected labels, scene, labels,scene or none")
    return StratumRule(labels="labels" in names, scene="scene" in names)


def _whole(value: Any, name: str, largest: int) -> int:
    text = str(value).strip()
    if not text.isascii() or not text.isdigit() or int(text) > largest:
        raise UsageError(f"{name} is {text!r}, expected a whole number from 0")
    return int(text)


def _confidence(text: str) -> float:
    number, percent = _number(text, "CONFIDENCE", "95% or 0.95")
    confidence = number / 100 if percent else number
    if not 0 < confidence < 1:
        raise UsageError(f"CONFIDENCE is {text!r}, expected more than 0 % and less than 100 %, such as 95% or 0.95")
    return confidence


def _margins(text: str) -> Mapping[Target, Margin]:
    margins: dict[Target, Margin] = {}
    for part in text.split(","):
        name, colon, margin = part.rpartition(":")
        target = next((each for each in TARGETS if each == (name.strip() if colon else "ctr")), None)
        if target is None or target in margins:
            raise UsageError(
                f"MARGIN is {text!r}: name each of {', '.join(TARGETS)} at most once, such as ctr:5%,cvr:20%"
            )
        number, percent = _number(margin, "MARGIN", "5% (of the rate) or 0.002 (absolute), ctr:5%,cvr:20% for more")
        value = number / 100 if percent else number
        if not 0 < value < 1:
            raise UsageError(f"MARGIN is {text!r}: a margin is more than 0 and less than {'100 %' if percent else '1'}")
        margins[target] = Margin(value, "relative" if percent else "absolute")
    return margins


def _number(text: str, name: str, example: str) -> tuple[float, bool]:
    found = _NUMBER.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{name} is {text!r}, expected a number such as {example}")
    return float(found[1]), bool(found[2])


def check_environment(environ: Mapping[str, str]) -> None:
    """Check what the environment says of a sample.

    Raises:
        UsageError: a parameter makes no sense.
        SettingsError: a flag makes none.
    """
    read_flag("UPLOAD", environ.get("UPLOAD"))
    read_design({name: environ.get(name.upper()) or _SOUND[name] for name in SAMPLE_PARAMETERS})
