"""The sampling job: from the two CSV files of a data set to a smaller archive of the same form, by Spark.

One pass counts, one draws; docs/decisions/development-sample.md gives the reasons. Every executor must see the files,
where they are not in S3, and the folder of the sample under the same paths as the driver. No database is needed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, by spark-submit: that puts this folder on the path, not the project's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("spark_jobs.draw_sample")

from pipeline.cli import command_parser, run_command, say, shown
from pipeline.files import (
    disk_errors,
    hold_lock,
    make_private_folder,
    read_json,
    require_free_disk,
    sync_folder,
    write_json,
)
from pipeline.progress import track
from pipeline.samples import SampleSource, read_source, sample_paths
from pipeline.settings import RECORD_KINDS, SAMPLE_PARAMETERS, RecordKind, Settings, load_settings
from pipeline.steps import StepResult
from pipeline.units import quantity
from spark_jobs.context import spark_context
from spark_jobs.sampling.archive import Member, Written, changed, checksum, write_archive
from spark_jobs.sampling.design import Plan, strata_of
from spark_jobs.sampling.findings import Findings
from spark_jobs.sampling.job import Population, count_population, draw_pieces, make_plan, open_job
from spark_jobs.sampling.manifest import FORMAT, describe
from spark_jobs.sampling.parameters import Design, read_design
from spark_jobs.sampling.tables import printed_tables


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
        sha256 = manifest["archive"]["sha256"]
    except (KeyError, TypeError):
        return False
    is_same = found == (FORMAT, asdict(design), source.sha256)
    return is_same and paths.report.is_file() and paths.archive.is_file() and checksum(paths.archive) == sha256


def _draw(settings: Settings, design: Design, source: SampleSource, *, verbose: bool) -> Findings:
    paths = sample_paths(settings)
    log = None if verbose else settings.root / "logs" / "spark.log"
    with spark_context(settings, "deepcvr sample", log=log) as context:
        job = open_job(context, source.files, paths.work, log)
        population = count_population(job, design)
        plan = make_plan(design, population)
        say(f"  {_planned(plan)}")
        pieces = draw_pieces(job, design, population, plan)
    # A make extract may have unpacked another archive in the place of this one while it was read.
    read_source(settings)
    members = [Member(kind, settings.data_set.members[kind], pieces[kind]) for kind in RECORD_KINDS]
    return _write(settings, source, members, design=design, population=population, plan=plan)


def _write(
    settings: Settings,
    source: SampleSource,
    members: Sequence[Member],
    *,
    design: Design,
    population: Population,
    plan: Plan,
) -> Findings:
    from spark_jobs.sampling.report import write_report

    paths, total = sample_paths(settings), sum(member.num_bytes for member in members)
    require_free_disk(paths.work, total, str(paths.archive))
    written = Written(population.groups, design.strata)
    archive, report = paths.work / "archive", paths.work / "report"
    with track("pack", total, "B") as progress:

        def see(kind: RecordKind, block: bytes) -> None:
            written.see(kind, block)
            progress.advance(len(block))

        checksums = write_archive(archive, members, see)
    findings = Findings(
        design=design,
        plan=plan,
        source=population.samples,
        source_groups=population.common,
        num_groups=len(population.groups),
        num_groups_with_samples=len(population.clusters.index) if population.clusters else 0,
        sample=written.samples,
        sample_groups=written.common,
        num_sample_groups=written.num_groups,
        drawn_groups=written.drawn_groups if design.clusters else None,
        replicates=population.replicates,
    )
    _check(findings, written)
    manifest = describe(settings, source, findings, archive=archive, members=members, checksums=checksums)
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


def _check(findings: Findings, written: Written) -> None:
    """Hold what was written against what was to be drawn.

    Raises:
        LoadError: they differ, so that a file was changed meanwhile, or this code is wrong.
    """
    cells, rule = findings.sample.cells, findings.design.strata
    drawn = {stratum: tally.count for stratum, tally in strata_of(cells, rule).items()}
    planned = {each.stratum: each.drawn for each in findings.plan.strata if each.drawn}
    problems = [
        (findings.design.clusters or drawn == planned, "strata"),
        (not findings.sample.file.num_rejects and not findings.sample_groups.num_rejects, "records"),
        (written.is_whole, "common feature groups"),
    ]
    for right, what in problems:
        if not right:
            raise changed(what)


def _planned(plan: Plan) -> str:
    needs = ", ".join(f"{each.target} {each.margin} needs {each.total:,}" for each in plan.targets)
    groups = f" in {plan.groups:,} common feature groups" if plan.groups is not None else ""
    about = "about " if plan.groups is not None else ""
    return f"size: {about}{plan.total:,} of {plan.population:,} impressions{groups} ({needs})"


def _told(findings: Findings) -> Iterator[str]:
    yield ""
    yield from printed_tables(findings)
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
