"""The steps of `make sample`: what is to be drawn from is landed, the sample is drawn, and it is uploaded."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from extract import download
from extract.s3 import look_at, s3_errors
from extract.steps import only_run, run_step
from extract.unpack import unpack, unpacked
from extract.upload import SAMPLE_OF, check_target, find_object, full_settings
from extract.upload import upload as upload_sample
from pipeline.cli import say, shown
from pipeline.commands import python_command
from pipeline.errors import ArchiveError, UsageError
from pipeline.files import make_private_folder
from pipeline.landed import ArchiveManifest, read_manifest
from pipeline.samples import SampledFile, SampleSource, sample_paths, write_source
from pipeline.settings import RECORD_KINDS, RecordKind, Settings
from pipeline.source import require_source, source_line
from pipeline.steps import Task
from pipeline.units import duration, quantity

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def check(settings: Settings, parameters: Mapping[str, Any]) -> None:
    """Name the source, and find a mistake in the call before the hours that a download may take.

    Raises:
        UsageError: a parameter makes no sense.
        SettingsError: the source's credentials are missing.
    """
    _task().read_parameters(parameters)
    say(f"sample {source_line(settings)}")
    with s3_errors(settings.archive_uri):
        require_source(settings)


def _task() -> Task:
    """Give the task that draws: by its name, since it is of another layer."""
    return cast(Task, importlib.import_module("spark_jobs.draw_sample"))


def _download_parameters(settings: Settings) -> download.Parameters:
    declared = next((step.parameters for step in settings.steps if step.task == "extract.download"), {})
    return download.read_parameters(declared)


def run(settings: Settings, parameters: Mapping[str, Any], *, upload: bool) -> None:
    """Land the source, draw the sample and, where that is asked for, upload it.

    Args:
        settings: name the data set and the source.
        parameters: of the sample.
        upload: whether it goes into the development prefix of the bucket.

    Raises:
        PipelineError: something failed; the message begins with the step's name.
    """
    begun = time.monotonic()
    task, number_of_steps = _task(), 4 if upload else 3
    with closing(download.open_source(settings, _download_parameters(settings))) as client:
        origin = origin_of(client, settings)
        if origin.archive_uri != settings.archive_uri:
            say(f"  that is a sample: drawing from what it was drawn from, {origin.archive_uri}")
        if upload:
            check_target(client, settings, drawn_from=origin.archive_uri)
        steps = [
            ("download", lambda: _download(client, origin)),
            ("unpack", lambda: _unpack(origin, settings)),
            ("draw", lambda: task.run_step(settings, parameters).result),
            ("upload", lambda: upload_sample(client, settings).result),
        ]
        for number, (name, step) in enumerate(steps[:number_of_steps], start=1):
            run_step(name, f"{number}/{number_of_steps}", step)
    say(
        f"sample {settings.data_set.name}, {settings.mode}: {number_of_steps} steps in"
        f" {duration(time.monotonic() - begun)}; the report is {shown(sample_paths(settings).report)}"
    )


def origin_of(client: S3Client, settings: Settings) -> Settings:
    """Find what to draw from: a sample that lies where the archive was says where that is now.

    Raises:
        UsageError: the archive is itself a sample of something else.
    """
    there = find_object(client, settings)
    sample_of = there["metadata"].get(SAMPLE_OF) if there else None
    if sample_of is None:
        return settings
    full = full_settings(settings)
    if sample_of == full.archive_uri and find_object(client, full) is not None:
        return full
    raise UsageError(
        f"{settings.archive_uri} is itself a sample, of {sample_of}, and a sample of it would not stand for the whole:"
        f" draw from the whole with MODE=production, or make generated data again with"
        f" {python_command('embedded fill --force')}"
    )


def _download(client: S3Client, origin: Settings) -> str:
    parameters = _download_parameters(origin)
    with only_run(origin):
        found = look_at(client, origin.source.bucket, origin.archive_key)
        manifest = download.landed(origin.archive_path, found)
        if manifest is not None:
            return f"skipped: {manifest.uri}, {quantity(manifest.size_bytes, 'B')}, has landed already"
        manifest = download.download(
            client,
            found,
            origin.archive_path,
            part_bytes=parameters.part_bytes,
            connections=parameters.connections,
            check_etag=parameters.check_etag,
        )
        return f"{quantity(manifest.size_bytes, 'B')} from {manifest.uri}"


def _unpack(origin: Settings, settings: Settings) -> str:
    """Unpack what has landed, and leave word of it for the drawing."""
    paths = {origin.data_set.members[kind]: origin.member_path(kind) for kind in RECORD_KINDS}
    with only_run(origin):
        landed = read_manifest(origin.archive_path, ArchiveManifest)
        if landed is None:
            raise ArchiveError(f"{origin.archive_path} has gone: run the same command again")
        manifests = unpacked(paths, landed)
        skipped = len(manifests) == len(paths)
        if not skipped:
            manifests = unpack(origin.archive_path, landed, paths)
    files: dict[RecordKind, SampledFile] = {}
    for kind in RECORD_KINDS:
        name = origin.data_set.members[kind]
        files[kind] = SampledFile(paths[name], manifests[name].size_bytes, manifests[name].sha256)
    make_private_folder(settings.sample_folder)
    write_source(settings, SampleSource(landed.uri, landed.etag, landed.sha256, files))
    size = quantity(sum(file.size_bytes for file in files.values()), "B")
    return f"skipped: {size} in {len(files)} files, already unpacked" if skipped else f"{size} in {len(files)} files"
