"""The explode job: two CSV files of one data set into the long staging tables, by Spark.

The job cuts both files into partitions, and each Spark task lands one of them, from the raw bytes of the file to
`LOAD DATA LOCAL`. Every executor must therefore reach the MySQL server, and the files: in S3, or under the driver's
path. Running the job again does what is left to do: nothing, after a complete load of the same files.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

if not __package__:  # run as a file, by spark-submit: that puts this folder on the path, not the project's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("spark_jobs.explode_features")


from pipeline.background import beside
from pipeline.cli import command_parser, run_command, say
from pipeline.commands import make_command
from pipeline.csv_files import Place, places_of
from pipeline.errors import DatabaseError, LoadError
from pipeline.landed import Asset, manifest_path, read_manifest
from pipeline.mysql import MysqlConnection, explained
from pipeline.progress import track
from pipeline.registry import (
    LoadTotals,
    Partition,
    begin_load,
    current_partitions,
    has_loaded_features,
    landed_asset,
    load_totals,
    open_registry,
    staging_lock,
    supersede_load,
)
from pipeline.settings import RECORD_KINDS, RecordKind, Settings, load_settings
from pipeline.steps import StepResult, byte_size, refuse_unknown
from pipeline.units import duration, quantity
from pipeline.waiting import waits_reported
from spark_jobs.context import spark_context
from spark_jobs.contradictions import reject_repeats, reject_second_names
from spark_jobs.failures import explained_failure
from spark_jobs.features import collect_features, land_features
from spark_jobs.forms import check_form
from spark_jobs.landing import Destination, land_partitions
from spark_jobs.partitions import holds_records, plan_partitions
from spark_jobs.staging import empty_staging_tables, has_staging_tables

DEFAULT_PARTITION_SIZE = 8 << 20

# What a task that is lost has to do again is the partition that it was at, but its worker is asked for this many.
_MOST_PARTITIONS_IN_TASK = 16

_SECONDS_BETWEEN_POLLS = 0.5

Part: TypeAlias = tuple[Place, Partition]


@dataclass(frozen=True)
class SourceFile:
    """A CSV file: where it is, what it holds, and what its manifest says."""

    path: Place
    kind: RecordKind
    landed: Asset


_NOTHING = LoadTotals(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Load:
    """A load, as a run finds or begins it.

    Attributes:
        partitions: all that it has.
        pending: those of them that are still to be landed.
        landed: what the others hold, which earlier runs have landed.
        has_features: whether its distinct features are there.
    """

    load_id: int
    partitions: tuple[Partition, ...]
    pending: tuple[Partition, ...]
    landed: LoadTotals = _NOTHING
    has_features: bool = False


def read_parameters(parameters: Mapping[str, Any]) -> int:
    """Read `partition_size`, such as `8 MiB`, as bytes.

    Raises:
        SettingsError: a parameter is unknown, or makes no sense.
    """
    refuse_unknown(parameters, {"partition_size"}, step="explode")
    return byte_size(parameters, "partition_size", default=DEFAULT_PARTITION_SIZE)


def run_step(settings: Settings, partition_size: int, *, verbose: bool = False) -> StepResult:
    """Land the data set's CSV files in the staging tables.

    Args:
        settings: name the data set, the databases and the Spark master.
        partition_size: how many bytes of a file one transaction lands.
        verbose: let Spark's own output through.

    Raises:
        PipelineError: the load is not complete. What has landed stays, and the next run does the rest.
    """
    with (
        staging_lock(settings.mysql, settings.staging_database),
        waits_reported(settings.mysql, settings.staging_database),
        explained(settings.mysql),
    ):
        # A registry for each of the short things: over hours, a connection that says nothing may be ended by a proxy.
        with closing(open_registry(settings)) as registry:
            files = _source_files(settings, registry)
            load = _current_load(registry, files) if not settings.force else None
            if load and load.has_features:
                return StepResult(f"skipped: {_counts(load.landed)} are in staging already")
            files = _placed(settings, files)
            load = load or _new_load(registry, files, partition_size)
        destination = Destination(settings.mysql, settings.staging_database, load.load_id)
        parts = interleaved(load.partitions, [file.path for file in files])
        seconds = _land(settings, destination, parts, verbose=verbose)
        begun = time.monotonic()
        features = collect_features(destination)
        while num_rejects := reject_second_names(destination, parts, features):
            _tell(num_rejects, "give a feature_id another feature_name than more records do")
            _land(settings, destination, parts, verbose=verbose)
            features = collect_features(destination)
        num_features = land_features(destination, features)
        seconds += time.monotonic() - begun
        with closing(open_registry(settings)) as registry:
            return StepResult(_summary(load_totals(registry, load.load_id), num_features, load, seconds))


def _source_files(settings: Settings, registry: MysqlConnection) -> tuple[SourceFile, ...]:
    return tuple(_source_file(settings, registry, kind) for kind in RECORD_KINDS)


def _source_file(settings: Settings, registry: MysqlConnection, kind: RecordKind) -> SourceFile:
    path, again = settings.member_path(kind), make_command("extract", settings)
    landed = read_manifest(path)
    if landed is None:
        what = "is not the file that was unpacked" if manifest_path(path).is_file() else "has not landed"
        raise LoadError(f"{path} {what}: run {again}, with all of its steps")
    asset = landed_asset(registry, landed.uri)
    if asset is None or asset.sha256 != landed.sha256:
        raise LoadError(f"{path} has not landed in this database: run {again}, with all of its steps")
    return SourceFile(path, kind, landed)


def _placed(settings: Settings, files: Sequence[SourceFile]) -> tuple[SourceFile, ...]:
    places = places_of(settings, {file.kind: (settings.member_path(file.kind), file.landed) for file in files})
    return tuple(replace(file, path=places[file.kind]) for file in files)


def _current_load(registry: MysqlConnection, files: Sequence[SourceFile]) -> Load | None:
    """Give the load of just these files that is complete or was begun, if there is one."""
    load_id, states = current_partitions(registry)
    planned_for = {(partition.source_file, partition.source_sha256) for partition in states}
    wanted = {(file.path.name, file.landed.sha256) for file in files if file.landed.size_bytes}
    if load_id is None or planned_for != wanted or not has_staging_tables(registry):
        return None
    pending = tuple(partition for partition, state in states.items() if state != "loaded")
    landed, has_features = load_totals(registry, load_id), has_loaded_features(registry, load_id)
    return Load(load_id, tuple(states), pending, landed, has_features)


def _new_load(registry: MysqlConnection, files: Sequence[SourceFile], partition_size: int) -> Load:
    """Begin a load in empty staging tables.

    Files of which nothing can land are refused before the load that is there is touched. That one is superseded before
    the tables are emptied, and the new one planned last: stopped anywhere between, there is no current load, and the
    next run begins here again.
    """
    for file in files:
        check_form(file.path, file.kind)
    if not any(holds_records(file.path, file.kind) for file in files):
        names = " and ".join(str(file.path) for file in files)
        raise LoadError(
            f"{names} hold no records: what is in staging stays; put an archive with records into the source, and"
            " run the same command again"
        )
    partitions = tuple(
        partition for file in files for partition in plan_partitions(file.path, file.kind, file.landed, partition_size)
    )
    supersede_load(registry)
    empty_staging_tables(registry)
    return Load(begin_load(registry, partitions), partitions, partitions)


def _land(settings: Settings, destination: Destination, parts: Sequence[Part], *, verbose: bool) -> float:
    """Land the partitions that are left, without the records that repeat a key, and give the seconds that it took."""
    left = _left(settings)
    if not left:
        return 0.0
    # Secrets travel with the code and not with the tasks, which Spark's client writes to a file on their way.
    land, places = partial(land_partitions, destination), {path.name: path for path, _ in parts}

    def task(partitions: Sequence[Partition]) -> None:
        land((places[partition.source_file], partition) for partition in partitions)

    log = None if verbose else settings.root / "logs" / "spark.log"
    with spark_context(settings, "deepcvr explode", log=log) as context:
        begun = time.monotonic()
        while left:
            with _progress(settings, destination.load_id, left):
                try:
                    pending = [partition for _, partition in parts if partition in left]
                    tasks = list(_grouped(pending, context.defaultParallelism))
                    context.parallelize(tasks, len(tasks)).foreach(task)
                except Exception as error:
                    raise explained_failure(error, log) from error
            before, left = left, _left(settings)
            if left and (num_rejects := reject_repeats(destination, parts, left)):
                _tell(num_rejects, "repeat the key of an earlier line")
                left = _left(settings)
            elif left == before:
                again = make_command("extract", settings)
                raise LoadError(f"{len(left)} partitions have not been landed: run {again} again")
        return time.monotonic() - begun


def _left(settings: Settings) -> set[Partition]:
    """Give the partitions to land next: those that have what others wait for come first."""
    with closing(open_registry(settings)) as registry:
        _, states = current_partitions(registry)
    revised = {partition for partition, state in states.items() if state == "revised"}
    return revised or {partition for partition, state in states.items() if state != "loaded"}


def _tell(num_rejects: int, what: str) -> None:
    say(f"  {num_rejects:,} records {what}, and are rejected: what they are among is landed again")


def _grouped(parts: Sequence[Partition], num_workers: int) -> Iterator[Sequence[Partition]]:
    """Cut the work into tasks: many partitions each at first, and single ones at the end.

    To begin a task costs a tenth of a second, and work that is left to one worker at the end costs the others' time.
    """
    begin = 0
    while begin < len(parts):
        size = min(_MOST_PARTITIONS_IN_TASK, max(1, (len(parts) - begin) // (2 * num_workers)))
        yield parts[begin : begin + size]
        begin += size


def interleaved(partitions: Sequence[Partition], files: Iterable[Place]) -> list[Part]:
    """Order partitions so that both files advance together: tasks side by side then seldom share a table.

    Args:
        partitions: those of all files.
        files: the files.
    """
    paths = {path.name: path for path in files}
    size: dict[str, int] = defaultdict(int)
    for partition in partitions:
        size[partition.source_file] = max(size[partition.source_file], partition.end_byte)
    ordered = sorted(partitions, key=lambda partition: partition.end_byte / size[partition.source_file])
    return [(paths[partition.source_file], partition) for partition in ordered]


def _progress(settings: Settings, load_id: int, left: Iterable[Partition]) -> AbstractContextManager[None]:
    """Show the rows that have landed, as the registry counts them, whichever machine landed them."""
    total = sum(partition.num_lines for partition in left)

    def poll(ended: threading.Event) -> None:
        with (
            suppress(DatabaseError),  # the tasks tell what became of the server
            explained(settings.mysql),
            closing(open_registry(settings)) as registry,
            track("explode", total, "rows") as progress,
        ):
            before = load_totals(registry, load_id).num_lines
            while not ended.wait(_SECONDS_BETWEEN_POLLS):
                now = load_totals(registry, load_id).num_lines
                progress.advance(now - before)
                before = now

    return beside(poll)


def _summary(totals: LoadTotals, num_features: int, load: Load, seconds: float) -> str:
    """Tell what this run has landed, and how fast; beside it the whole load, where earlier runs have landed some."""
    own = totals.without(load.landed)
    parts = [f"{_counts(own)} in {_partitions(len(load.pending))}"] if load.pending else []
    rate = f" ({own.num_structures / seconds:,.0f} structures/s)" if load.pending else ""
    told = f"{', '.join([*parts, f'{num_features:,} features'])}, {duration(seconds)}{rate}"
    if len(load.pending) == len(load.partitions):
        return told
    return f"{told}; with those of earlier runs {_counts(totals)} in {_partitions(len(load.partitions))}"


def _partitions(number: int) -> str:
    return "1 partition" if number == 1 else f"{number:,} partitions"


def _counts(totals: LoadTotals) -> str:
    return (
        f"{quantity(totals.num_rows, 'rows')}, {totals.num_structures:,} structures,"
        f" {totals.num_rejects:,} rejected records"
        + (f", {totals.num_non_records:,} lines that are no records" if totals.num_non_records else "")
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job from the command line and give its exit code."""
    parser = command_parser(
        "explode_features.py",
        "Explode the feature lists of a data set that `make extract` has unpacked into the staging tables.",
        examples="  spark-submit --master 'local[4]' spark_jobs/explode_features.py --dataset test\n",
        verbose="show Spark's own output, and tracebacks",
    )
    parser.add_argument("--dataset", help="train or test (default: DATASET, or train)")
    parser.add_argument("--mode", help="development or production (default: DEEPCVR_MODE, MODE, or development)")
    parser.add_argument("--partition-size", help="how much of a file one task lands (default: 8 MiB)")
    parser.add_argument("--force", action="store_true", help="load again even if the same files are in staging")
    options = parser.parse_args(arguments)

    def explode() -> None:
        settings = load_settings(mode=options.mode, data_set=options.dataset, force=options.force or None)
        declared = next((step.parameters for step in settings.steps if step.task == "spark_jobs.explode_features"), {})
        given = {"partition_size": options.partition_size} if options.partition_size else {}
        partition_size = read_parameters({**declared, **given})
        say(run_step(settings, partition_size, verbose=options.verbose).result)

    return run_command(
        explode,
        verbose=options.verbose,
        interrupted="run the same command again, it continues where this one stopped",
    )
