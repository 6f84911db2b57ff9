"""What was measured, the figures to reach, and both as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from embedded.programs import NAMES, Kind
from pipeline.units import quantity

RESULTS = Path(__file__).resolve().parent / "results"

Measured: TypeAlias = Literal["seconds", "rate", "ratio", "bytes"]

# Stages from one scale to one ten times as large.
GROWTH_LIMIT = 10.5

_HEADINGS = ("stage", "seconds", "rate", "ratio", "to", "figure to reach", "reached")


@dataclass(frozen=True)
class Figure:
    """What a stage should reach.

    Attributes:
        of: which of the stage's numbers it is about.
        bound: whether that number should be at least or at most the value.
        value: the figure.
    """

    of: Measured
    bound: Literal["at least", "at most"]
    value: float


@dataclass(frozen=True)
class Measurement:
    """A stage as it was measured.

    Attributes:
        stage: its name, the same in every run.
        seconds: how long it took.
        amount: how much it worked on, in `unit`; for a stage without seconds, how much there was.
        unit: such as `rows`, `structures` or `B`.
        ratio: its speed, or its time, as a share of what `ratio_to` names.
        ratio_to: what the ratio is to, in words.
        figure: what it should reach.
        is_baseline: whether it is no work of the pipeline, but what that is compared with or needs.
    """

    stage: str
    seconds: float | None = None
    amount: float | None = None
    unit: str = ""
    ratio: float | None = None
    ratio_to: str = ""
    figure: Figure | None = None
    is_baseline: bool = False

    @property
    def rate(self) -> float | None:
        """Units a second, where the stage has both."""
        return self.amount / self.seconds if self.amount is not None and self.seconds else None

    @property
    def reached(self) -> bool | None:
        """Whether it reaches its figure; None where it has none."""
        if self.figure is None:
            return None
        numbers = {"seconds": self.seconds, "rate": self.rate, "ratio": self.ratio, "bytes": self.amount}
        number = numbers[self.figure.of]
        if number is None:
            raise ValueError(f"{self.stage} has a figure for its {self.figure.of}, and no {self.figure.of}")
        return number >= self.figure.value if self.figure.bound == "at least" else number <= self.figure.value


@dataclass(frozen=True)
class Run:
    """Everything that one run measured on one server.

    Attributes:
        scale: the share of the full size of train.
        server: `mysql` or `mariadb`.
        conditions: what else tells of the run: versions, the machine, its load, the size of the data.
        measurements: the stages in their order.
        dbt_seconds: how long dbt took for each model and test.
    """

    scale: float
    server: Kind
    conditions: Mapping[str, Any]
    measurements: Sequence[Measurement]
    dbt_seconds: Mapping[str, float]

    @property
    def seconds(self) -> dict[str, float]:
        """How long each stage took."""
        return {each.stage: each.seconds for each in self.measurements if each.seconds is not None}


def table(measurements: Iterable[Measurement]) -> list[str]:
    """Write measurements as the lines of a Markdown table, whose columns stand under one another."""
    rows = [_HEADINGS, *map(_cells, measurements)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    return [lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]]


def _cells(measurement: Measurement) -> tuple[str, ...]:
    figure = measurement.figure
    return (
        measurement.stage,
        "" if measurement.seconds is None else f"{measurement.seconds:,.2f}",
        _rate(measurement),
        "" if measurement.ratio is None else f"{measurement.ratio:.2f}",
        measurement.ratio_to,
        "" if figure is None else f"{figure.bound} {_number(figure.of, figure.value, measurement.unit)}",
        {None: "", True: "yes", False: "no"}[measurement.reached],
    )


def _rate(measurement: Measurement) -> str:
    if measurement.rate is not None:
        return _number("rate", measurement.rate, measurement.unit)
    return "" if measurement.amount is None else _number("bytes", measurement.amount, measurement.unit)


def _number(of: Measured, value: float, unit: str) -> str:
    if of in ("rate", "bytes"):
        amount = quantity(value, "B") if unit == "B" else f"{value:,.0f} {unit}"
        return f"{amount}/s" if of == "rate" else amount
    return f"{value:g} s" if of == "seconds" else f"{value:g}"


def write(folder: Path, run: Run) -> Path:
    """Write a run as `<scale>-<server>.json` and give the file."""
    measurements = [
        asdict(measurement) | {"rate": measurement.rate, "reached": measurement.reached}
        for measurement in run.measurements
    ]
    content = asdict(run) | {"measurements": measurements}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.scale:g}-{run.server}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def read_runs(folder: Path) -> list[Run]:
    """Read all results of a folder, the smallest scale first and MySQL before MariaDB."""
    runs = [_run(json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("*.json")]
    return sorted(runs, key=lambda run: (run.scale, list(NAMES).index(run.server)))


def _run(content: Mapping[str, Any]) -> Run:
    return Run(**{**content, "measurements": [_measurement(each) for each in content["measurements"]]})


def _measurement(content: Mapping[str, Any]) -> Measurement:
    known = {each.name: content[each.name] for each in fields(Measurement)}
    return Measurement(**{**known, "figure": Figure(**content["figure"]) if content["figure"] else None})


def with_growth(run: Run, runs: Iterable[Run]) -> list[Measurement]:
    """Give what a run measured, and the growth of its stages where a run at a tenth of its scale is among others."""
    tenths = (each for each in runs if each.server == run.server and abs(each.scale * 10 / run.scale - 1) < 1e-6)
    earlier = next(tenths, None)
    return [*run.measurements, *(growth(earlier.seconds, run.measurements) if earlier else ())]


def growth(earlier: Mapping[str, float], measurements: Iterable[Measurement]) -> list[Measurement]:
    """Compare the time of each of the pipeline's stages with that at a tenth of the scale.

    Args:
        earlier: seconds of each stage at a tenth of the scale.
        measurements: the stages now.
    """
    return [
        Measurement(
            f"growth of {now.stage}",
            seconds=now.seconds,
            ratio=now.seconds / earlier[now.stage],
            ratio_to="a tenth of the scale",
            figure=Figure("ratio", "at most", GROWTH_LIMIT),
        )
        for now in measurements
        if now.seconds is not None and earlier.get(now.stage) and not now.is_baseline
    ]
