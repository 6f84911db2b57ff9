"""Put a development sample into the bucket, where `make extract MODE=development` takes it from.

The archive that the sample was drawn from is kept under `full/`, so that another sample can be drawn from it. One that
`make sample` neither made nor drew from is replaced only when that is asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pipeline.cli import say
from pipeline.errors import SourceError, UsageError
from pipeline.files import disk_errors
from pipeline.landed import read_manifest
from pipeline.progress import track
from pipeline.s3 import endpoint_of, s3_errors, version_of
from pipeline.samples import sample_paths
from pipeline.settings import Settings, load_settings, object_uri
from pipeline.steps import StepResult
from pipeline.units import quantity

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Of the objects that `make sample` uploads, in S3's own form for metadata.
SAMPLE_OF = "sample-of"
_SHA256, _SOURCE_ETAG = "sha256", "sample-of-etag"

FULL = "full"


def development_settings(settings: Settings) -> Settings:
    """Give the settings of the same data set in development mode, from where pipeline.yml says that it is taken."""
    environ = {name: value for name, value in os.environ.items() if name != "SOURCE"}
    return load_settings(root=settings.root, environ=environ, mode="development", data_set=settings.data_set.name)


def find_object(client: S3Client, settings: Settings) -> Mapping[str, Any] | None:
    """Give the ETag, the size and the metadata of a data set's archive; None if there is none."""
    with s3_errors(settings.archive_uri, endpoint_of(client)):
        try:
            head = client.head_object(Bucket=settings.source.bucket, Key=settings.archive_key)
        except client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return {
            "etag": version_of(head),
            "size_bytes": head.get("ContentLength", 0),
            "metadata": head.get("Metadata", {}),
        }


def check_target(client: S3Client, settings: Settings, *, drawn_from: str) -> Mapping[str, Any] | None:
    """Check that the sample may go where it is to go, and give what is there.

    Args:
        client: the S3 client.
        settings: of the run that draws it.
        drawn_from: URI of the archive that it is drawn from.

    Raises:
        UsageError: another archive is there, which `make sample` did not make, and FORCE is not set.
    """
    target = development_settings(settings)
    there = find_object(client, target)
    is_kept = there is None or SAMPLE_OF in there["metadata"] or drawn_from == target.archive_uri
    if there is not None and not is_kept and not settings.force:
        what = f"{target.archive_uri} holds an archive ({quantity(there['size_bytes'], 'B')}) that make sample"
        raise UsageError(f"{what} neither made nor draws from: UPLOAD=1 FORCE=1 replaces it")
    return there


def upload(client: S3Client, settings: Settings) -> StepResult:
    """Upload the sample of the run's data set, with its manifest and report.

    Args:
        client: the S3 client.
        settings: of the run that drew it.

    Raises:
        UsageError: see `check_target`.
        SourceError: the store refuses.
    """
    target, paths = development_settings(settings), sample_paths(settings)
    manifest = json.loads(paths.manifest.read_text(encoding="utf-8"))
    checksum, source = manifest["archive"]["sha256"], manifest["source"]
    drawn_from = source["uri"]
    there = check_target(client, settings, drawn_from=drawn_from)
    if there is not None and there["metadata"].get(_SHA256) == checksum:
        return StepResult(f"skipped: {target.archive_uri} is this sample already")
    with s3_errors(target.archive_uri, endpoint_of(client)):
        if there is not None and SAMPLE_OF not in there["metadata"] and drawn_from == target.archive_uri:
            if there["etag"] != source["etag"]:
                raise SourceError(f"{drawn_from} was replaced after the sample was drawn: run the same command again")
            drawn_from = _keep(client, target, there)
        metadata = {SAMPLE_OF: drawn_from, _SOURCE_ETAG: source["etag"], _SHA256: checksum}
        name = target.archive_key.removesuffix(".tar.gz")
        size = paths.archive.stat().st_size
        # The archive is the last: what stands beside it is then of this sample or of an earlier one, and it says which.
        for path, key, content_type in (
            (paths.manifest, f"{name}.sample.json", "application/json"),
            (paths.report, f"{name}.sample.html", "text/html; charset=utf-8"),
            (paths.archive, target.archive_key, "application/gzip"),
        ):
            _put(
                client, path, object_uri(target.source.bucket, key), {"Metadata": metadata, "ContentType": content_type}
            )
    return StepResult(f"{quantity(size, 'B')} to {target.archive_uri}")


def _put(client: S3Client, path: Path, uri: str, arguments: dict[str, Any]) -> None:
    from boto3.exceptions import S3UploadFailedError

    address = urlsplit(uri)
    with disk_errors(path), track("upload", path.stat().st_size, "B") as progress:
        try:
            client.upload_file(
                str(path),
                address.netloc,
                unquote(address.path.lstrip("/")),
                ExtraArgs=arguments,
                Callback=progress.advance,
            )
        except S3UploadFailedError as error:
            reason = " ".join(str(error).rpartition(": ")[2].split())
            raise SourceError(
                f"{uri}: {endpoint_of(client)} does not take it ({reason}): check that the credentials may write there"
            ) from error


def full_settings(settings: Settings) -> Settings:
    """Give the settings by which the archive is found that a sample was drawn from and has replaced."""
    return replace(
        settings,
        source=replace(settings.source, prefix=str(PurePosixPath(settings.source.prefix) / FULL)),
        archives_folder=settings.archives_folder / FULL,
        unpacked_folder=settings.unpacked_folder / FULL,
    )


def _keep(client: S3Client, target: Settings, there: Mapping[str, Any]) -> str:
    """Put the archive that is about to be replaced elsewhere, and say where.

    What has landed of it is uploaded, and not the object copied: not every store gives a copy in parts an ETag of which
    the next download can check anything.
    """
    landed = read_manifest(target.archive_path)
    if landed is None or (landed.uri, landed.etag) != (target.archive_uri, there["etag"]):
        raise SourceError(f"{target.archive_uri} is not what was drawn from: run the same command again")
    kept = full_settings(target)
    _put(client, target.archive_path, kept.archive_uri, {"Metadata": dict(there["metadata"])})
    say(f"  {target.archive_uri} is kept as {kept.archive_uri}, from which make sample draws from now on")
    return kept.archive_uri
