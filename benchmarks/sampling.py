"""`python -m benchmarks.sampling`: how fast a sample is counted and drawn, beside how fast the lines can be read.

Three ways of reading the same files in the same Spark context are measured: Spark's own (`spark.read.text` into
nothing), Python's (`for line in file` in the tasks), and a bare count of newlines, which does not tell lines apart. The
sampling checks every feature structure of every line on the way. Figures of a busy machine are worth little.
"""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("benchmarks.sampling")

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.source_data import write_csvs
from pipeline.cli import command_parser, run_command, say
from pipeline.settings import RECORD_KINDS, load_settings
from spark_jobs.context import spark_context
from spark_jobs.draw_sample import Job, count_population, draw_pieces, make_plan, open_job
from spark_jobs.partitions import read_range
from spark_jobs.sampling.parameters import read_design
from spark_jobs.sampling.passes import Range

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The sampling is to take at most three times as long as Spark takes to read the lines.
WANTED_SHARE = 1 / 3
_ROUNDS = 5


@dataclass(frozen=True)
class Speeds:
    """Bytes a second, the best of some rounds; those of the sampling are of both files, which it reads one by one."""

    spark_lines: float
    python_lines: float
    newlines: float
    count: float
    draw: float


def measure(folder: Path, scale: float) -> Speeds:
    """Generate train data and measure.

    Args:
        folder: gets the data; exists.
        scale: the share of the full size.
    """
    from pyspark.sql import SparkSession  # noqa: PLC0415 - slow to import

    settings = load_settings(environ={})
    write_csvs(folder, "train", scale=scale)
    paths = {kind: folder / settings.data_set.members[kind] for kind in RECORD_KINDS}
    size = sum(path.stat().st_size for path in paths.values())
    design = read_design(settings.sample)
    with spark_context(settings, "deepcvr benchmark", log=settings.root / "logs" / "spark.log") as context:
        job = open_job(context, paths, folder, None)
        population = count_population(job, design)
        plan = make_plan(design, population)
        draw_pieces(job, design, population, plan)  # workers have started and imported what they need
        spark = SparkSession.builder.getOrCreate()
        ways: dict[str, Callable[[], object]] = {
            "spark_lines": lambda: _read_by_spark(spark, list(paths.values())),
            "python_lines": lambda: _in_tasks(job, _python_lines),
            "newlines": lambda: _in_tasks(job, _newlines),
            "count": lambda: count_population(job, design),
            "draw": lambda: draw_pieces(job, design, population, plan),
        }
        # One after another in each round, so that what else the machine does meets them all.
        seconds = [{name: _seconds(work) for name, work in ways.items()} for _ in range(_ROUNDS)]
    return Speeds(**{name: size / min(each[name] for each in seconds) for name in ways})


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _read_by_spark(spark: SparkSession, paths: Sequence[Path]) -> None:
    for path in paths:
        spark.read.text(str(path)).write.format("noop").mode("overwrite").save()


def _in_tasks(job: Job, task: Callable[[Range], int]) -> None:
    for kind in RECORD_KINDS:
        job.run("read", kind, task)


def _python_lines(part: Range) -> int:
    number, left = 0, part.end_byte - part.first_byte
    with part.path.open("rb") as file:
        file.seek(part.first_byte)
        for line in file:
            number, left = number + 1, left - len(line)
            if left <= 0:
                break
    return number


def _newlines(part: Range) -> int:
    return sum(block.count(b"\n") for block in read_range(part.path, part.first_byte, part.end_byte))


def report(speeds: Speeds) -> list[str]:
    """Give lines for a person."""
    rows = (
        ("Spark reads the lines", speeds.spark_lines),
        ("Python reads the lines", speeds.python_lines),
        ("newlines are counted", speeds.newlines),
        ("sampling: the pass that counts", speeds.count),
        ("sampling: the pass that draws", speeds.draw),
    )
    lines = [
        f"  {name:<31} {speed / 1e6:>7,.0f} MB/s  {speed / speeds.spark_lines:>5.2f} of Spark's" for name, speed in rows
    ]
    return [*lines, f"  wanted of each pass: at least {WANTED_SHARE:.2f} of Spark's"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and give the exit code."""
    parser = command_parser(
        "python -m benchmarks.sampling", str(__doc__), examples="  python -m benchmarks.sampling --scale 0.1\n"
    )
    parser.add_argument("--scale", type=float, default=0.01, help="share of the full size of train (%(default)s)")
    options = parser.parse_args(arguments)

    def run() -> None:
        with tempfile.TemporaryDirectory(prefix="deepcvr-sampling-") as folder:
            for line in report(measure(Path(folder), options.scale)):
                say(line)

    return run_command(run, verbose=options.verbose, interrupted="nothing of the run is kept")
