"""The two passes of a sample as Spark jobs: one counts what there is, one draws."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pipeline.background import beside
from pipeline.csv_files import Place
from pipeline.errors import LoadError
from pipeline.progress import track
from pipeline.samples import SampledFile
from pipeline.settings import RecordKind
from spark_jobs.failures import explained_failure
from spark_jobs.partitions import cut_ranges
from spark_jobs.records import Words
from spark_jobs.sampling.archive import Piece
from spark_jobs.sampling.design import Plan, plan_clusters, plan_sample, strata_of
from spark_jobs.sampling.parameters import Design
from spark_jobs.sampling.passes import (
    Drawn,
    FileTally,
    GroupCounts,
    Range,
    Replicates,
    SampleTally,
    Stratum,
    count_clusters,
    count_groups,
    count_samples,
    draw_lines_of_groups,
    draw_samples,
    merge_groups,
)
from spark_jobs.sampling.ranks import Cut, Key, cut, draw, make_key, ranks

if TYPE_CHECKING:
    from pyspark import SparkContext

# A task's share of a file: small enough that all cores have work, large enough that what comes back stays small.
LARGEST_RANGE = 64 << 20
SMALLEST_RANGE = 1 << 20
_RANGES_PER_CORE = 4

_SECONDS_BETWEEN_POLLS = 0.5

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Job:
    """What the passes share: the Spark context, the files and their ranges, and the folder for what is drawn."""

    context: SparkContext
    places: Mapping[RecordKind, Place]
    ranges: Mapping[RecordKind, Sequence[tuple[int, int]]]
    folder: Path
    log: Path | None

    def run(self, label: str, kind: RecordKind, task: Callable[[Range], ResultT]) -> list[ResultT]:
        """Run a task for each range of a file, and give what they return in the order of the ranges."""
        parts, place = list(enumerate(self.ranges[kind])), self.places[kind]
        total = self.ranges[kind][-1][1] if parts else 0
        with _progress(self.context, label, total, len(parts)):
            try:
                # The place travels with the code: it may hold secrets, and Spark's client writes tasks to a file.
                tasks = self.context.parallelize(parts, len(parts) or 1)
                return tasks.map(lambda part: task(Range(part[0], place, kind, *part[1]))).collect()
            except Exception as error:
                raise explained_failure(error, self.log) from error

    def share(self, value: ResultT) -> Callable[[], ResultT]:
        """Give every executor a value, once."""
        try:
            broadcast = self.context.broadcast(value)
        except Exception as error:
            raise explained_failure(error, self.log) from error
        return lambda: broadcast.value


@dataclass(frozen=True)
class Population:
    """What the counting pass found.

    Attributes:
        groups: indexes of the common feature groups, sorted, each once.
        clusters: how many samples each group has; of a sample of groups only.
        replicates: the samples by random groups of these; of a sample of groups only.
    """

    common: FileTally
    groups: Words
    samples: SampleTally
    clusters: GroupCounts | None
    replicates: Replicates | None = None


def open_job(context: SparkContext, files: Mapping[RecordKind, SampledFile], folder: Path, log: Path | None) -> Job:
    """Cut the files into ranges for the tasks of a Spark context.

    Args:
        context: the Spark context.
        files: the file of each kind.
        folder: gets what is drawn.
        log: file with Spark's own account, which messages name.
    """
    cores = context.defaultParallelism
    ranges: dict[RecordKind, list[tuple[int, int]]] = {}
    for kind, file in files.items():
        size = file.size_bytes // (cores * _RANGES_PER_CORE)
        ranges[kind] = cut_ranges(file.path, min(max(size, SMALLEST_RANGE), LARGEST_RANGE))
    return Job(context, {kind: file.path for kind, file in files.items()}, ranges, folder, log)


def make_plan(design: Design, population: Population) -> Plan:
    """Find how many to draw; see `plan_sample` and `plan_clusters`."""
    if population.clusters is not None:
        return plan_clusters(design, population.clusters)
    return plan_sample(design, population.samples.cells)


def count_population(job: Job, design: Design) -> Population:
    """Read both files once and count what can be drawn."""
    common, indexes = FileTally(), []
    for tally, index in job.run("count groups", "common_feature", count_groups):
        common.add(tally)
        indexes.append(index)
    groups = np.unique(np.concatenate([np.zeros(0, np.uint64), *indexes]))
    shared, rule, key = job.share(groups), design.strata, _key(design)
    samples = SampleTally()
    if not design.clusters:
        for each in job.run("count samples", "sample", lambda part: count_samples(part, key, shared(), rule)):
            samples.add(each)
        return Population(common, groups, samples, None)
    clusters = GroupCounts(np.zeros(0, np.uint64), np.zeros((0, 4), np.int64))
    replicates, random_key = Replicates(), make_key(design.seed, "replicates")
    for each, more, by_group in job.run(
        "count samples", "sample", lambda part: count_clusters(part, random_key, shared(), rule)
    ):
        samples.add(each)
        clusters = merge_groups(clusters, more)
        replicates.add(by_group)
    return Population(common, groups, samples, clusters, replicates)


def _key(design: Design) -> Key:
    return make_key(design.seed, "groups" if design.clusters else "samples")


def draw_pieces(job: Job, design: Design, population: Population, plan: Plan) -> dict[RecordKind, list[Piece]]:
    """Read both files once more and draw: the pieces of each member of the archive, in their order."""
    samples, referred = _drawn_samples(job, design, population, plan)
    wanted, folder = job.share(referred), job.folder
    common = job.run("draw groups", "common_feature", lambda part: draw_lines_of_groups(part, wanted(), folder))
    return {"sample": samples, "common_feature": [Piece(each.file, each.num_bytes) for each in common]}


def _drawn_samples(job: Job, design: Design, population: Population, plan: Plan) -> tuple[list[Piece], Words]:
    """Draw the samples: the pieces of their file, and the groups that they refer to, sorted."""
    folder = job.folder
    if population.clusters is not None:
        index = population.clusters.index
        chosen = index[draw(ranks(index, _key(design)), plan.groups or 0)]
        wanted = job.share(chosen)
        found = job.run("draw samples", "sample", lambda part: draw_lines_of_groups(part, wanted(), folder))
        return [Piece(each.file, each.num_bytes) for each in found], chosen
    tallies = strata_of(population.samples.cells, design.strata)
    cuts = {each.stratum: cut(tallies[each.stratum].histogram, each.drawn) for each in plan.strata}
    shared, rule, key = job.share(population.groups), design.strata, _key(design)
    found = job.run(
        "draw samples",
        "sample",
        lambda part: draw_samples(part, folder, key=key, groups=shared(), rule=rule, cuts=cuts),
    )
    return _decided(found, cuts)


def _decided(found: Sequence[Drawn], cuts: Mapping[Stratum, Cut]) -> tuple[list[Piece], Words]:
    """Decide on the lines in the last bin of each stratum."""
    owner = np.repeat(np.arange(len(found)), [len(each.ranks) for each in found])
    all_ranks = np.concatenate([each.ranks for each in found])
    strata = [stratum for each in found for stratum in each.strata]
    keep = np.zeros(len(all_ranks), np.bool_)
    for stratum, end in cuts.items():
        members = np.flatnonzero([each == stratum for each in strata])
        if len(members) < end.from_bin:
            raise LoadError("the two passes over the samples do not agree: the file has changed meanwhile, try again")
        keep[members[draw(all_ranks[members], end.from_bin)]] = True
    pieces, indexes = [], [np.zeros(0, np.uint64)]
    for number, each in enumerate(found):
        kept = keep[owner == number]
        dropped = zip(each.begin[~kept].tolist(), each.end[~kept].tolist(), strict=True)
        pieces.append(Piece(each.file, each.num_bytes, tuple(dropped)))
        indexes += [each.index, each.undecided_index[kept]]
    return pieces, np.unique(np.concatenate(indexes))


def _progress(context: SparkContext, label: str, total: int, num_parts: int) -> AbstractContextManager[None]:
    """Show how much of a file the tasks have done."""
    from py4j.protocol import Py4JError

    def poll(ended: threading.Event) -> None:
        # What became of the JVM, the job tells.
        with suppress(Py4JError, OSError), track(label, total, "B") as progress:
            tracker = context.statusTracker()
            before = 0
            while not ended.wait(_SECONDS_BETWEEN_POLLS):
                stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
                done = sum(stage.numCompletedTasks for stage in stages if stage) * total // max(1, num_parts)
                if done > before:
                    progress.advance(done - before)
                    before = done

    return beside(poll)
