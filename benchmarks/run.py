"""One run: all stages in their order, reported as they are measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bare_load import Prepared, prepare
from benchmarks.exploding import Task, measure_exploding, tasks_of
from benchmarks.job import dbt_seconds, measure_job
from benchmarks.results import Measurement, Run, growth, run_name, seconds_by_stage, table, write
from benchmarks.unpacking import measure_unpacking
from benchmarks.workspace import copy_project, s3_server, workspace
from embedded.mysql_server import memory_bytes
from embedded.programs import Kind, provide_mysql_program
from pipeline.cli import say
from pipeline.progress import duration, quantity
from pipeline.settings import RECORD_KINDS, Settings
from source_data import generate_archive

_DATA_SET = "train"


def measure_all(root: Path, scale: float, kinds: Sequence[Kind]) -> None:
    """Measure every stage, print a table for each server and write it as JSON.

    Args:
        root: the project.
        scale: the share of the full size of train.
        kinds: the servers to measure on, one after the other.

    Raises:
        PipelineError: a stage failed, or another run goes on.
    """
    begun = time.monotonic()
    load = os.getloadavg()[0]
    say(f"measuring {scale:g} of {_DATA_SET} on {_describe_machine()}, load average {load:.1f}")
    with workspace(root) as place:
        settings = copy_project(place, "unpacked").settings
        archive = place.source / settings.data_set.archive
        common = _reported(_measure_files(archive, scale, settings))
        tasks = [task for kind in RECORD_KINDS for task in tasks_of(settings.member_path(kind), kind)]
        say("  writing the rows as text for the bare loads")
        prepared = prepare(in_order_of_landing(tasks), place.prepared)
        with s3_server(place, archive) as s3:
            for kind in kinds:
                title = provide_mysql_program(root / ".embedded", kind=kind).title
                say(f"{title}:")
                copy = copy_project(place, kind, s3)
                measurements = [*common, *_reported(measure_job(place, copy, kind, prepared))]
                conditions = _conditions(title, load, archive, settings, prepared)
                _publish(root / "benchmarks" / "results", Run(scale, kind, conditions, measurements, dbt_seconds(copy)))
    say(f"measured in {duration(time.monotonic() - begun)}")


def _measure_files(archive: Path, scale: float, settings: Settings) -> Iterator[Measurement]:
    """Measure what needs no server."""
    begun = time.monotonic()
    summary = generate_archive(archive, _DATA_SET, scale=scale)
    size = summary.skeleton.bytes + summary.common.bytes
    yield Measurement("generate the source data", time.monotonic() - begun, size, "B", is_baseline=True)
    yield from measure_unpacking(archive, settings)
    yield from measure_exploding(settings)


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


def in_order_of_landing(tasks: Iterable[Task]) -> list[Task]:
    """Order tasks as the job does, so that both files advance together."""
    tasks = list(tasks)
    size = {path: max(task[2].end_byte for task in tasks if task[0] == path) for path, _, _ in tasks}
    return sorted(tasks, key=lambda task: task[2].end_byte / size[task[0]])


def _conditions(server: str, load: float, archive: Path, settings: Settings, prepared: Prepared) -> dict[str, Any]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "server": server,
        "python": platform.python_version(),
        "machine": _describe_machine(),
        "load_average_before": load,
        "archive_bytes": archive.stat().st_size,
        "csv_bytes": sum(settings.member_path(kind).stat().st_size for kind in RECORD_KINDS),
        "staged_rows": sum(part.num_rows for part in prepared.staging),
    }


def _describe_machine() -> str:
    return f"{len(os.sched_getaffinity(0))} cores, {quantity(memory_bytes(), 'B')} of memory, {platform.system()}"


def _publish(folder: Path, run: Run) -> None:
    earlier = seconds_by_stage(folder / f"{run_name(run.scale / 10, run.server)}.json")
    say("")
    for line in table([*run.measurements, *growth(earlier, run.measurements)]):
        say(line)
    say(f"\nwritten to {write(folder, run)}")
