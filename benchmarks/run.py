"""One run: all stages in their order, reported as they are measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.bare_load import Prepared, prepare
from benchmarks.exploding import measure_exploding, tasks_of
from benchmarks.job import STAGING_LOAD, dbt_seconds, measure_job
from benchmarks.results import RESULTS, Measurement, Run, read_runs, table, with_growth, write
from benchmarks.unpacking import measure_unpacking
from benchmarks.workspace import make_copy, workspace
from embedded.mysql_server import memory_bytes
from embedded.programs import Kind
from pipeline.cli import say
from pipeline.settings import RECORD_KINDS, Settings
from pipeline.units import duration, quantity
from source_data import generate_archive
from spark_jobs.explode_features import interleaved
from tests.surroundings import mysql_program

_DATA_SET = "train"


def measure_all(scale: float, kinds: Sequence[Kind], *, with_baselines: bool) -> None:
    """Measure every stage, print a table for each server and write it as JSON.

    Args:
        scale: the share of the full size of train.
        kinds: the servers to measure on, one after the other.
        with_baselines: whether bare ways of doing the same are measured too, which takes as much time and disk again.

    Raises:
        PipelineError: a stage failed, or another run goes on.
    """
    begun = time.monotonic()
    load = os.getloadavg()[0]
    say(f"measuring {scale:g} of {_DATA_SET} on {_describe_machine()}, load average {load:.1f}")
    with workspace() as place:
        archive = place / "source" / f"taobao_{_DATA_SET}.tar.gz"
        generated = time.monotonic()
        summary = generate_archive(archive, _DATA_SET, scale=scale)
        num_bytes = summary.skeleton.bytes + summary.common.bytes
        measured = [
            Measurement("generate the source data", time.monotonic() - generated, num_bytes, "B", is_baseline=True)
        ]
        common, prepared = _reported(measured), None
        if with_baselines:
            more, prepared = _measure_baselines(archive, make_copy(place / "unpacked", archive).settings, place)
            common += more
        for kind in kinds:
            title = mysql_program(kind).title
            say(f"{title}:")
            copy = make_copy(place / kind, archive)
            of_job = _reported(measure_job(place, copy, kind, prepared, num_bytes))
            conditions = _conditions(title, load, archive, num_bytes, of_job)
            _publish(Run(scale, kind, conditions, [*common, *of_job], dbt_seconds(copy)))
    say(f"measured in {duration(time.monotonic() - begun)}")


def _measure_baselines(archive: Path, settings: Settings, place: Path) -> tuple[list[Measurement], Prepared]:
    """Measure what needs no server, and write what the bare loads take."""
    measured = _reported(chain(measure_unpacking(archive, settings), measure_exploding(settings)))
    paths = {kind: settings.member_path(kind) for kind in RECORD_KINDS}
    partitions = [partition for kind in RECORD_KINDS for _, _, partition in tasks_of(paths[kind], kind)]
    say("  writing the rows as text for the bare loads")
    return measured, prepare(interleaved(partitions, paths.values()), place / "prepared")


def _reported(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Take measurements as they are made, with a line for each."""
    taken = []
    for measurement in measurements:
        taken.append(measurement)
        say(f"  {describe(measurement)}")
    return taken


def describe(measurement: Measurement) -> str:
    """Write a measurement as one line of progress."""
    parts = [] if measurement.seconds is None else [duration(measurement.seconds)]
    if measurement.ratio is not None:
        parts.append(f"{measurement.ratio:.2f} x the {measurement.ratio_to}")
    elif measurement.seconds is None and measurement.amount is not None:
        parts.append(quantity(measurement.amount, "B"))
    return f"{measurement.stage}: {', '.join(parts)}"


def _conditions(
    server: str, load: float, archive: Path, csv_bytes: int, of_job: Sequence[Measurement]
) -> dict[str, Any]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "server": server,
        "python": platform.python_version(),
        "machine": _describe_machine(),
        "load_average_before": load,
        "archive_bytes": archive.stat().st_size,
        "csv_bytes": csv_bytes,
        "staged_rows": next(int(each.amount or 0) for each in of_job if each.stage == STAGING_LOAD),
    }


def _describe_machine() -> str:
    return f"{len(os.sched_getaffinity(0))} cores, {quantity(memory_bytes(), 'B')} of memory, {platform.system()}"


def _publish(run: Run) -> None:
    say("")
    for line in table(with_growth(run, read_runs(RESULTS))):
        say(line)
    say(f"\nwritten to {write(RESULTS, run)}")
