"""The steps of `make sample`: what is to be drawn from is landed, the sample is drawn, and it is uploaded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from extract import download, local
from extract.steps import ReadyStep, make_ready, name_source, only_run, run_step
from extract.unpack import provide_files
from extract.upload import SAMPLE_OF, check_target, find_object, full_settings
from extract.upload import upload as upload_sample
from pipeline.cli import say, shown
from pipeline.commands import python_command
from pipeline.errors import UsageError
from pipeline.files import make_private_folder
from pipeline.samples import SampledFile, SampleSource, sample_paths, write_source
from pipeline.settings import Settings, Step
from pipeline.steps import StepResult
from pipeline.units import duration

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def check(settings: Settings, parameters: Mapping[str, Any]) -> ReadyStep:
    """Name the source, and find a mistake in the call before the hours that a download may take.

    Args:
        settings: name the data set, the source and the task that draws.
        parameters: of the sample.

    Returns:
        The drawing.

    Raises:
        UsageError: a parameter makes no sense.
        SettingsError: the source's credentials are missing.
    """
    draw = make_ready(settings, Step("draw", settings.sample_task, parameters))
    name_source("sample", settings)
    return draw


def run(settings: Settings, draw: ReadyStep, *, upload: bool) -> None:
    """Land the source, draw the sample and, where that is asked for, upload it.

    Args:
        settings: name the data set and the source.
        draw: the drawing, as `check` gives it.
        upload: whether it goes into the development prefix of the bucket.

    Raises:
        PipelineError: something failed; the message begins with the step's name.
    """
    begun = time.monotonic()
    if settings.source.kind == "files":
        if upload:
            raise UsageError("UPLOAD=1 puts a sample into the bucket that it is drawn from, and the source is none")
        origin = replace(settings, force=False)
        steps = [ReadyStep("download", lambda: _register(origin)), *_steps_after_download(origin, settings, draw)]
        _run(steps)
    else:
        declared = next((step.parameters for step in settings.steps if step.task == "extract.download"), {})
        parameters = download.read_parameters(declared)
        with closing(download.open_source(settings, parameters)) as client:
            steps = _steps_from_bucket(client, settings, draw, parameters, upload=upload)
            _run(steps)
    say(
        f"sample {settings.data_set.name}, {settings.mode}: {len(steps)} steps in"
        f" {duration(time.monotonic() - begun)}; the report is {shown(sample_paths(settings).report)}"
    )


def _run(steps: Sequence[ReadyStep]) -> None:
    for number, step in enumerate(steps, start=1):
        run_step(step, f"{number}/{len(steps)}")


def _steps_from_bucket(
    client: S3Client, settings: Settings, draw: ReadyStep, parameters: download.Parameters, *, upload: bool
) -> list[ReadyStep]:
    origin = origin_of(client, settings)
    if origin.archive_uri != settings.archive_uri:
        say(f"  that is a sample: drawing from what it was drawn from, {origin.archive_uri}")
    if upload:
        check_target(client, settings, drawn_from=origin.archive_uri)
    origin = replace(origin, force=False)
    return [
        ReadyStep("download", lambda: _download(client, origin, parameters)),
        *_steps_after_download(origin, settings, draw),
        *([ReadyStep("upload", lambda: upload_sample(client, settings))] if upload else []),
    ]


def _steps_after_download(origin: Settings, settings: Settings, draw: ReadyStep) -> list[ReadyStep]:
    """Give the steps that are the same for each source; FORCE is to draw again, and not to land again."""
    return [ReadyStep("unpack", lambda: _unpack(origin, settings)), draw]


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


def _download(client: S3Client, origin: Settings, parameters: download.Parameters) -> StepResult:
    with only_run(origin):
        return download.land(origin, client, parameters, command="sample")


def _register(origin: Settings) -> StepResult:
    with only_run(origin):
        return local.register(origin)


def _unpack(origin: Settings, settings: Settings) -> StepResult:
    """Unpack what has landed, and leave word of it for the drawing."""
    with only_run(origin):
        (first, *_), files, result = provide_files(origin, command="sample")
    sampled = {
        kind: SampledFile(origin.member_path(kind), file.size_bytes, file.sha256) for kind, file in files.items()
    }
    make_private_folder(settings.sample_folder)
    write_source(settings, SampleSource(first.uri, first.etag, first.sha256, sampled))
    return result
