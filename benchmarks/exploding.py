"""The explode inside Spark, without landing, against the published method."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from benchmarks import published_method
from benchmarks.published_method import read_slice, seconds_to_explode
from benchmarks.results import Figure, Measurement
from pipeline.errors import LoadError
from pipeline.landed import read_manifest
from pipeline.registry import Partition
from pipeline.settings import RECORD_KINDS, RecordKind, Settings
from spark_jobs.context import spark_context
from spark_jobs.explode import explode
from spark_jobs.explode_features import DEFAULT_PARTITION_SIZE
from spark_jobs.partitions import plan_partitions, read_blocks

if TYPE_CHECKING:
    from pyspark import SparkContext

Task: TypeAlias = tuple[Path, RecordKind, Partition]

_TRIES = 3
# The published method takes some 8 seconds for these and their share of the common features.
_PUBLISHED_SAMPLES = 10_000


def measure_exploding(settings: Settings) -> Iterator[Measurement]:
    """Explode the unpacked CSV files both ways, in a Spark context that has started up.

    Args:
        settings: name the CSV files and the Spark master.
    """
    tasks = [task for kind in RECORD_KINDS for task in tasks_of(settings.member_path(kind), kind)]
    with spark_context(settings, "deepcvr benchmark", log=settings.root / "logs" / "spark.log") as context:
        _ship_own_code()
        _explode_to_nothing(context, tasks[:1] * context.defaultParallelism)  # workers start and import
        num_structures, seconds = min(
            (_explode_to_nothing(context, tasks) for _ in range(_TRIES)), key=lambda result: result[1]
        )
        least = Figure("rate", "at least", 3_000_000)
        exploded = Measurement("explode to a null sink", seconds, num_structures, "structures", figure=least)
        yield exploded
        published = _measure_published(settings, sum(partition.num_lines for _, _, partition in tasks))
        yield published
    assert exploded.rate is not None and published.rate is not None  # noqa: S101, PT018 - for the type checker
    yield Measurement(
        "explode against the published method",
        ratio=exploded.rate / published.rate,
        ratio_to="structures/s of the published method",
        figure=Figure("ratio", "at least", 50),
    )


def tasks_of(path: Path, kind: RecordKind) -> list[Task]:
    """Cut a CSV file that has been unpacked as the job does."""
    landed = read_manifest(path)
    if landed is None:
        raise LoadError(f"{path} has not been unpacked")
    return [(path, kind, partition) for partition in plan_partitions(path, kind, landed, DEFAULT_PARTITION_SIZE)]


def _ship_own_code() -> None:
    """Let Spark's workers have the functions of this package, which the context does not send them."""
    from pyspark import cloudpickle

    import benchmarks.exploding as this_module  # noqa: PLW0406

    for module in (this_module, published_method):
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]


def _explode_to_nothing(context: SparkContext, tasks: Sequence[Task]) -> tuple[int, float]:
    begun = time.monotonic()
    num_structures = context.parallelize(tasks, len(tasks)).map(_count_structures).sum()
    return num_structures, time.monotonic() - begun


def _count_structures(task: Task) -> int:
    path, kind, partition = task
    return sum(explode(block, kind).num_structures for block in read_blocks(path, partition))


def _measure_published(settings: Settings, num_lines: int) -> Measurement:
    """Run the published method on the same share of both files."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    # The shuffle would otherwise be put together into one partition for one core.
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    spark.conf.set("spark.sql.shuffle.partitions", "16")
    share = min(1.0, _PUBLISHED_SAMPLES / num_lines)
    seconds, num_structures = 0.0, 0
    for kind in RECORD_KINDS:
        path = settings.member_path(kind)
        num_records = sum(partition.num_lines for _, _, partition in tasks_of(path, kind))
        slice_ = read_slice(path, kind, max(1, round(num_records * share)))
        seconds_to_explode(spark, slice_.records[:8], kind)  # workers start and import
        seconds += seconds_to_explode(spark, slice_.records, kind)
        num_structures += slice_.num_structures
    return Measurement(
        "explode a slice by the published method", seconds, num_structures, "structures", is_baseline=True
    )
