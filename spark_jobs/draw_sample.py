"""The sampling job: from the two CSV files of a data set to a smaller archive of the same form, by Spark.

One pass counts, one draws; docs/decisions/development-sample.md gives the reasons. Every executor must see the files
and the folder of the sample under the same paths as the driver. No database is needed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if not __package__:  # run as a file, by spark-submit: that puts this folder on the path, not the project's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("spark_jobs.draw_sample")

import numpy as np

from pipeline.background import beside
from pipeline.cli import command_parser, run_command, say, shown
from pipeline.errors import LoadError
from pipeline.files import (
    disk_errors,
    hold_lock,
    make_private_folder,
    read_json,
    require_free_disk,
    sync_folder,
    write_json,
)
from pipeline.progress import quantity, track
from pipeline.samples import SampleSource, read_source, sample_paths
from pipeline.settings import RECORD_KINDS, SAMPLE_PARAMETERS, RecordKind, Settings, load_settings
from pipeline.steps import StepResult
from spark_jobs.context import spark_context
from spark_jobs.failures import explained_failure
from spark_jobs.partitions import cut_ranges
from spark_jobs.records import Words
from spark_jobs.sampling.archive import Member, Piece, compressor, write_archive
from spark_jobs.sampling.design import Plan, plan_clusters, plan_sample, strata_of
from spark_jobs.sampling.findings import (
    Findings,
    StratumRow,
    fits,
    printed_table,
    rate_rows,
    strata_rows,
    weighting_effect,
)
from spark_jobs.sampling.parameters import Design, StratumRule, read_design
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
from spark_jobs.sampling.scan import scan

if TYPE_CHECKING:
    from pyspark import SparkContext

# Raised when the same source and parameters would give another sample, or another account of it.
FORMAT = 2

# A task's share of a file: small enough that all cores have work, large enough that what comes back stays small.
LARGEST_RANGE = 64 << 20
SMALLEST_RANGE = 1 << 20
_RANGES_PER_CORE = 4

_SECONDS_BETWEEN_POLLS = 0.5
# Indexes of groups that are gathered before those that stand twice are dropped.
_MOST_UNSORTED = 1 << 20

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Job:
    """What the passes share: the Spark context, the ranges of each file, and the folder for what is drawn."""

    context: SparkContext
    ranges: Mapping[RecordKind, Sequence[Range]]
    folder: Path
    log: Path | None

    def run(self, label: str, kind: RecordKind, task: Callable[[Range], ResultT]) -> list[ResultT]:
        """Run a task for each range of a file, and give what they return in the order of the ranges."""
        parts = list(self.ranges[kind])
        with _progress(self.context, label, parts):
            try:
                return self.context.parallelize(parts, len(parts) or 1).map(task).collect()
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


@dataclass(frozen=True)
class _Drawing:
    """What is drawn, and from what."""

    design: Design
    source: SampleSource
    population: Population
    plan: Plan


def read_parameters(parameters: Mapping[str, Any]) -> Design:
    """Read the parameters of a sample; see `spark_jobs.sampling.design.read_design`.

    Raises:
        UsageError: one of them makes no sense.
    """
    return read_design(parameters)


def run_step(settings: Settings, design: Design, *, verbose: bool = False) -> StepResult:
    """Draw the sample of the run's data set, unless the very same has been drawn already.

    Args:
        settings: name the data set and the Spark master.
        design: see `read_parameters`.
        verbose: let Spark's own output through.

    Raises:
        PipelineError: the sample is not drawn; one that was drawn before is still there.
    """
    paths = sample_paths(settings)
    with hold_lock(settings.sample_folder / ".lock", f"another make sample is drawing from {settings.data_set.name}"):
        source = read_source(settings)
        if not settings.force and _is_drawn(settings, design, source):
            return StepResult(f"skipped: this sample is in {shown(paths.archive)} already (FORCE=1 draws it again)")
        with disk_errors(paths.work):
            shutil.rmtree(paths.work, ignore_errors=True)
            make_private_folder(paths.work)
            try:
                findings = _draw(settings, design, source, verbose=verbose)
            finally:
                shutil.rmtree(paths.work, ignore_errors=True)
    for line in _told(findings):
        say(line)
    return StepResult(_result(settings, findings))


def _is_drawn(settings: Settings, design: Design, source: SampleSource) -> bool:
    paths = sample_paths(settings)
    manifest = read_json(paths.manifest) or {}
    try:
        found = manifest["format"], manifest["parameters"], manifest["source"]["sha256"]
        checksum = manifest["archive"]["sha256"]
    except (KeyError, TypeError):
        return False
    is_same = found == (FORMAT, design.described(), source.sha256)
    return is_same and paths.report.is_file() and paths.archive.is_file() and _sha256(paths.archive) == checksum


def _sha256(path: Path) -> str:
    with disk_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _draw(settings: Settings, design: Design, source: SampleSource, *, verbose: bool) -> Findings:
    paths = sample_paths(settings)
    log = None if verbose else settings.root / "logs" / "spark.log"
    with spark_context(settings, "deepcvr sample", log=log) as context:
        job = open_job(context, {kind: source.files[kind].path for kind in RECORD_KINDS}, paths.work, log)
        population = count_population(job, design)
        plan = make_plan(design, population)
        say(f"  {_planned(plan)}")
        pieces = draw_pieces(job, design, population, plan)
    # A make extract may have unpacked another archive in the place of this one while it was read.
    read_source(settings)
    members = [Member(settings.data_set.members[kind], pieces[kind]) for kind in RECORD_KINDS]
    return _write(settings, _Drawing(design, source, population, plan), members)


def open_job(context: SparkContext, paths: Mapping[RecordKind, Path], folder: Path, log: Path | None) -> Job:
    """Cut the files into ranges for the tasks of a Spark context.

    Args:
        context: the Spark context.
        paths: the file of each kind.
        folder: gets what is drawn.
        log: file with Spark's own account, which messages name.
    """
    cores = context.defaultParallelism
    ranges: dict[RecordKind, list[Range]] = {}
    for kind, path in paths.items():
        with disk_errors(path):
            size = path.stat().st_size // (cores * _RANGES_PER_CORE)
            cuts = cut_ranges(path, min(max(size, SMALLEST_RANGE), LARGEST_RANGE))
        ranges[kind] = [Range(number, path, kind, first, end) for number, (first, end) in enumerate(cuts)]
    return Job(context, ranges, folder, log)


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
    shared, rule, key = job.share(groups), design.rule, _key(design)
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
    return {"sample": samples, "common_feature": [Piece(each.file, each.num_bytes, ()) for each in common]}


def _drawn_samples(job: Job, design: Design, population: Population, plan: Plan) -> tuple[list[Piece], Words]:
    """Draw the samples: the pieces of their file, and the groups that they refer to, sorted."""
    folder = job.folder
    if population.clusters is not None:
        index = population.clusters.index
        chosen = index[draw(ranks(index, _key(design)), plan.groups or 0)]
        wanted = job.share(chosen)
        found = job.run("draw samples", "sample", lambda part: draw_lines_of_groups(part, wanted(), folder))
        return [Piece(each.file, each.num_bytes, ()) for each in found], chosen
    tallies = strata_of(population.samples.cells, design.rule)
    cuts = {each.stratum: cut(tallies[each.stratum].histogram, each.drawn) for each in plan.strata}
    shared, rule, key = job.share(population.groups), design.rule, _key(design)
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


class _Indexes:
    """Indexes of groups, each once, in about as much memory as they take."""

    def __init__(self) -> None:
        self._found: list[Words] = [np.zeros(0, np.uint64)]
        self._unsorted = 0

    def add(self, index: Words) -> None:
        self._found.append(np.unique(index))
        self._unsorted += len(self._found[-1])
        if self._unsorted > len(self._found[0]) + _MOST_UNSORTED:
            self.all()

    def all(self) -> Words:
        self._found, self._unsorted = [np.unique(np.concatenate(self._found))], 0
        return self._found[0]


class _Written:
    """What goes into the archive, counted and checked as it goes."""

    def __init__(self, settings: Settings, rule: StratumRule, *, clusters: bool) -> None:
        self._kinds = {name: kind for kind, name in settings.data_set.members.items()}
        self._rule, self._clusters = rule, clusters
        self.samples, self.common = SampleTally(), FileTally()
        self.drawn_groups = GroupCounts(np.zeros(0, np.uint64), np.zeros((0, 4), np.int64))
        self.referred, self.groups = _Indexes(), _Indexes()

    def see(self, name: str, block: bytes) -> None:
        """Take a block of lines of a member."""
        kind = self._kinds[name]
        found = scan(block, kind, scenes=self._rule.scenes)
        if kind == "common_feature":
            self.common.see(found)
            self.groups.add(found.index)
            return
        self.samples.see(found, np.ones(len(found.index), np.bool_))
        self.referred.add(found.index)
        if self._clusters:
            index, place = np.unique(found.index, return_inverse=True)
            labels = np.bincount(place * 4 + found.label, minlength=4 * len(index)).reshape(-1, 4)
            self.drawn_groups = merge_groups(self.drawn_groups, GroupCounts(index, labels))


def _write(settings: Settings, drawing: _Drawing, members: Sequence[Member]) -> Findings:
    from spark_jobs.sampling.report import write_report  # noqa: PLC0415 - the driver alone draws plots

    paths, design, population = sample_paths(settings), drawing.design, drawing.population
    total = sum(member.num_bytes for member in members)
    require_free_disk(paths.work, total, str(paths.archive))
    written = _Written(settings, design.rule, clusters=design.clusters)
    archive, report = paths.work / "archive", paths.work / "report"
    with track("pack", total, "B") as progress:

        def see(name: str, block: bytes) -> None:
            written.see(name, block)
            progress.advance(len(block))

        checksums = write_archive(archive, members, see)
    findings = Findings(
        design=design,
        plan=drawing.plan,
        source=population.samples,
        source_groups=population.common,
        num_groups=len(population.groups),
        num_groups_with_samples=len(population.clusters.index) if population.clusters else 0,
        sample=written.samples,
        sample_groups=written.common,
        num_sample_groups=len(written.groups.all()),
        drawn_groups=written.drawn_groups if design.clusters else None,
        replicates=population.replicates,
    )
    _check(findings, written)
    manifest = {
        "format": FORMAT,
        "archive": _described_archive(settings, findings, members, checksums, archive),
        "parameters": design.described(),
        "source": _described_source(settings, findings, drawing.source),
        **_described_findings(findings),
    }
    write_report(report, settings, findings, manifest)
    # The manifest is the last to come: without it, or with one that names another archive, nothing has been drawn.
    paths.manifest.unlink(missing_ok=True)
    for made, path in ((archive, paths.archive), (report, paths.report)):
        made.chmod(0o600)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)
    sync_folder(settings.sample_folder)
    write_json(paths.manifest, manifest)
    return findings


def _check(findings: Findings, written: _Written) -> None:
    """Hold what was written against what was to be drawn.

    Raises:
        LoadError: they differ, so that a file was changed meanwhile, or this code is wrong.
    """
    drawn = {stratum: tally.count for stratum, tally in strata_of(findings.sample.cells, findings.design.rule).items()}
    planned = {each.stratum: each.drawn for each in findings.plan.strata if each.drawn}
    problems = [
        (findings.design.clusters or drawn == planned, "strata"),
        (not findings.sample.file.num_rejects and not findings.sample_groups.num_rejects, "records"),
        (np.array_equal(written.referred.all(), written.groups.all()), "common feature groups"),
    ]
    if wrong := [what for right, what in problems if not right]:
        raise LoadError(f"the {wrong[0]} of the archive are not those that were drawn: a file has changed, try again")


def _described_archive(
    settings: Settings, findings: Findings, members: Sequence[Member], checksums: Mapping[str, str], path: Path
) -> dict[str, Any]:
    num_lines = {
        settings.data_set.members["sample"]: findings.sample.file.num_lines,
        settings.data_set.members["common_feature"]: findings.sample_groups.num_lines,
    }
    return {
        "name": settings.data_set.archive,
        "size_bytes": path.stat().st_size,
        "sha256": _sha256(path),
        "compressor": compressor(),
        "members": {
            member.name: {
                "size_bytes": member.num_bytes,
                "sha256": checksums[member.name],
                "num_lines": num_lines[member.name],
            }
            for member in members
        },
    }


def _described_source(settings: Settings, findings: Findings, source: SampleSource) -> dict[str, Any]:
    counted = {"sample": findings.source.file, "common_feature": findings.source_groups}
    return {
        "uri": source.uri,
        "etag": source.etag,
        "sha256": source.sha256,
        "members": {
            settings.data_set.members[kind]: {
                "size_bytes": source.files[kind].size_bytes,
                "sha256": source.files[kind].sha256,
                "num_lines": counted[kind].num_lines,
                "num_rejected": counted[kind].num_rejects,
                "num_orphans": counted[kind].num_orphans,
            }
            for kind in RECORD_KINDS
        },
    }


def _described_findings(findings: Findings) -> dict[str, Any]:
    rows, strata = strata_rows(findings), {each.stratum for each in findings.plan.strata}
    return {
        "samples": {"source": findings.source.file.num_eligible, "sample": findings.sample.file.num_eligible},
        "common_feature_groups": {"source": findings.num_groups, "sample": findings.num_sample_groups},
        "targets": [
            {
                "target": each.target,
                "margin": {"value": each.margin.value, "kind": "relative" if each.margin.relative else "absolute"},
                "rate": each.rate,
                "needed": each.needed,
                "of": each.base,
                "takes": each.total,
                "estimate": row.estimate,
                "interval": [row.interval.low, row.interval.high],
                "design_effect": each.design_effect,
            }
            for each, row in zip(findings.plan.targets, rate_rows(findings), strict=True)
        ],
        "strata": [_described_row(row) for row in rows if row.stratum in strata],
        # Of labels that do not make the strata.
        "labels": [_described_row(row) for row in rows if row.stratum not in strata],
        "design_effect_of_weights": weighting_effect(findings),
        "goodness_of_fit": [
            {"of": name, "statistic": fit.statistic, "degrees": fit.degrees, "p_value": fit.p_value}
            for name, fit, _ in fits(findings)
        ],
    }


def _described_row(row: StratumRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "click_label": None if row.stratum[0] is None else row.stratum[0] >> 1,
        "conversion_label": None if row.stratum[0] is None else row.stratum[0] & 1,
        "scene": row.stratum[1],
        "source": row.source,
        "sample": row.sample,
        "weight": row.weight,
        "estimate": row.estimate,
        "interval": [row.interval.low, row.interval.high],
    }


def _planned(plan: Plan) -> str:
    needs = ", ".join(f"{each.target} {each.margin} needs {each.total:,}" for each in plan.targets)
    groups = f" in {plan.groups:,} common feature groups" if plan.groups is not None else ""
    about = "about " if plan.groups is not None else ""
    return f"size: {about}{plan.total:,} of {plan.population:,} impressions{groups} ({needs})"


def _told(findings: Findings) -> Iterator[str]:
    yield ""
    yield from printed_table(findings)
    yield ""
    left_out = (
        (findings.source.file.num_rejects, "lines of the samples are no good record"),
        (findings.source_groups.num_rejects, "lines of the common features are no good record"),
        (findings.source.file.num_orphans, "samples name a common feature group that is not there"),
    )
    for number, what in left_out:
        if number:
            yield f"  {number:,} {what}: none of them was drawn, nor counted as part of the source"


def _result(settings: Settings, findings: Findings) -> str:
    path = sample_paths(settings).archive
    return (
        f"{findings.sample.file.num_lines:,} of {findings.source.file.num_lines:,} impressions with"
        f" {findings.num_sample_groups:,} of {findings.num_groups:,} common feature groups,"
        f" {quantity(path.stat().st_size, 'B')} in {shown(path)}"
    )


def _progress(context: SparkContext, label: str, parts: Sequence[Range]) -> AbstractContextManager[None]:
    """Show how much of a file the tasks have done."""
    total = sum(part.end_byte - part.first_byte for part in parts)
    from py4j.protocol import Py4JError  # noqa: PLC0415 - slow to import, and not every run needs Spark

    def poll(ended: threading.Event) -> None:
        # What became of the JVM, the job tells.
        with suppress(Py4JError, OSError), track(label, total, "B") as progress:
            tracker = context.statusTracker()
            before = 0
            while not ended.wait(_SECONDS_BETWEEN_POLLS):
                stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
                done = sum(stage.numCompletedTasks for stage in stages if stage) * total // max(1, len(parts))
                if done > before:
                    progress.advance(done - before)
                    before = done

    return beside(poll)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job from the command line and give its exit code."""
    parser = command_parser(
        "draw_sample.py",
        "Draw a sample from a data set that `make sample` has landed. `python -m extract.sample --help` explains the\n"
        "options.",
        examples="  spark-submit --master 'local[4]' spark_jobs/draw_sample.py --dataset test --margin 10%\n",
        verbose="show Spark's own output, and tracebacks",
    )
    parser.add_argument("--dataset", help="train or test (default: DATASET, or train)")
    parser.add_argument("--mode", help="development or production (default: DEEPCVR_MODE, MODE, or development)")
    for name in SAMPLE_PARAMETERS:
        parser.add_argument(f"--{name}", help=f"default: {name.upper()}, or sample.{name} of pipeline.yml")
    parser.add_argument("--force", action="store_true", help="draw again even if the same sample is there")
    options = parser.parse_args(arguments)

    def run() -> None:
        settings = load_settings(mode=options.mode, data_set=options.dataset, force=options.force or None)
        given = {name: getattr(options, name) or os.environ.get(name.upper()) for name in SAMPLE_PARAMETERS}
        parameters = {name: given[name] or settings.sample[name] for name in SAMPLE_PARAMETERS}
        say(run_step(settings, read_parameters(parameters), verbose=options.verbose).result)

    return run_command(run, verbose=options.verbose, interrupted="run the same command again, the drawing begins again")
