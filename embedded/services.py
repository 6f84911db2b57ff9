"""The embedded services that the settings call for: started, described and stopped together."""

from __future__ import annotations

import importlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded import mysql_server, s3_server
from embedded.programs import find_mysql_program, work_folder
from embedded.running import Report, ServiceStatus, describe_mysql, describe_s3, explained, services_folder
from pipeline.cli import shown
from pipeline.commands import SETUP
from pipeline.errors import ServiceError, UsageError
from pipeline.files import write_json
from pipeline.progress import track, working
from pipeline.settings import GENERATED_SCALE, GENERATED_SEED, DataSet, Settings
from pipeline.units import duration, quantity

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def start_services(settings: Settings, report: Report, *, with_source: bool = True) -> None:
    """Start what the settings call for and does not run yet: MySQL, and S3 filled with generated data.

    Args:
        settings: say which services are embedded.
        report: is told each thing in one line.
        with_source: False for a command that reads no archive.

    Raises:
        ServiceError: a service cannot be started.
    """
    with services_folder(settings.embedded_dir) as base:
        if settings.mysql.is_embedded:
            _start_mysql(base, report)
        if with_source and settings.source.kind == "generated":
            server = _start_s3(base, report)
            _fill(settings, server, report, scale=GENERATED_SCALE, seed=GENERATED_SEED, force=False)
            report(f"S3: generated data ({_contents(settings, server)})")


def find_services(settings: Settings) -> list[ServiceStatus]:
    """Find out of each service whether it runs, where, since when, and the size of its data. Starts nothing."""
    base = settings.embedded_dir
    with explained(base):
        return [_find_mysql(settings, base), _find_s3(settings, base)]


def fill_bucket(settings: Settings, report: Report, *, scale: float, seed: int, force: bool) -> None:
    """Put generated archives into the embedded bucket.

    Args:
        settings: name the bucket, the keys and the data sets.
        report: is told each thing in one line.
        scale: the share of the full size.
        seed: names the random numbers.
        force: replace the archives that are there.

    Raises:
        UsageError: the settings call for another source.
        ServiceError: the server cannot be started.
    """
    if settings.source.kind != "generated":
        raise UsageError(f"the source is not the embedded server ({settings.source.reason}): set SOURCE=generated")
    with services_folder(settings.embedded_dir) as base:
        server = _start_s3(base, report)
        _fill(settings, server, report, scale=scale, seed=seed, force=force)
        report(f"the embedded S3 server holds {_contents(settings, server)}")


def _start_mysql(base: Path, report: Report) -> None:
    begun = time.monotonic()
    server = mysql_server.find_mysql(base)
    if server is None:
        program = find_mysql_program(base)
        if program is None:
            raise ServiceError(f"there is no MySQL server program: run {SETUP}, or set MYSQL_HOST")
        with working("start MySQL"):
            server = mysql_server.start_mysql(program, base)
    else:
        with working("wait for MySQL"):
            mysql_server.wait_until_ready(server.base)
    state = "running" if server.was_running else f"started in {duration(time.monotonic() - begun)}"
    report(f"MySQL: {server.title} {state}, socket {shown(server.unix_socket)}")


def _start_s3(base: Path, report: Report) -> s3_server.S3Server:
    begun = time.monotonic()
    with working("start S3"):
        server = s3_server.start_s3(base)
    write_json(base / "services.json", {"s3": server.services_entry})
    state = "running" if server.was_running else f"started in {duration(time.monotonic() - begun)}"
    report(f"S3: SeaweedFS {state}, {server.endpoint_url}")
    return server


def _fill(
    settings: Settings, server: s3_server.S3Server, report: Report, *, scale: float, seed: int, force: bool
) -> None:
    client = s3_server.open_client(server)
    bucket = settings.source.bucket
    if bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)
    for data_set in settings.data_sets.values():
        is_there = _stored_scale(client, settings, data_set) is not None
        if data_set.name not in source_data().DATA_SETS:
            if not is_there:
                report(f"S3: s3://{bucket}/{settings.source.key_of(data_set.archive)} is not there, nor generated")
        elif force or not is_there:
            _generate_into_bucket(client, settings, data_set, report, scale=scale, seed=seed)


def _generate_into_bucket(
    client: S3Client, settings: Settings, data_set: DataSet, report: Report, *, scale: float, seed: int
) -> None:
    begun = time.monotonic()
    key = settings.source.key_of(data_set.archive)
    with work_folder(settings.embedded_dir / "tmp_source") as folder:
        path = folder / data_set.archive
        source_data().generate_archive(path, data_set.name, scale=scale, seed=seed)
        size = path.stat().st_size
        metadata = {"scale": f"{scale:g}", "seed": str(seed)}
        with working(f"upload {data_set.name}"), track(f"upload {data_set.name}", size, "B") as progress:
            client.upload_file(
                str(path), settings.source.bucket, key, ExtraArgs={"Metadata": metadata}, Callback=progress.advance
            )
    report(
        f"S3: s3://{settings.source.bucket}/{key} generated"
        f" ({quantity(size, 'B')} in {duration(time.monotonic() - begun)})"
    )


def source_data() -> Any:
    """Give the package that generates source data: by its name, since it is of another layer."""
    return importlib.import_module("source_data")


def _stored_scale(client: S3Client, settings: Settings, data_set: DataSet) -> float | None:
    """Give the scale of the archive in the bucket; None where there is none."""
    from botocore.exceptions import ClientError

    key = settings.source.key_of(data_set.archive)
    try:
        metadata = client.head_object(Bucket=settings.source.bucket, Key=key)["Metadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return None
        raise ServiceError(f"the embedded S3 server cannot tell of {key}: {error}") from error
    return float(metadata.get("scale", "nan"))


def _contents(settings: Settings, server: s3_server.S3Server) -> str:
    client = s3_server.open_client(server)
    scales = {name: _stored_scale(client, settings, each) for name, each in settings.data_sets.items()}
    shares = {name: _share(scale) for name, scale in scales.items() if scale is not None}
    if len(set(shares.values())) == 1:
        return next(iter(shares.values()))
    return ", ".join(f"{name}: {share}" for name, share in shares.items())


def _share(scale: float) -> str:
    """Say how much of the data an archive has; one that was not generated, such as a drawn sample, has no scale."""
    return "a sample or another upload" if math.isnan(scale) else f"{scale * 100:g} % of Ali-CCP"


def _find_mysql(settings: Settings, base: Path) -> ServiceStatus:
    if not settings.mysql.is_embedded:
        return ServiceStatus("MySQL", False, False, f"MYSQL_HOST is {settings.mysql.host}")
    return describe_mysql(base)


def _find_s3(settings: Settings, base: Path) -> ServiceStatus:
    found = describe_s3(base)
    if not found.is_running and settings.source.kind != "generated":
        return ServiceStatus("S3", False, False, settings.source.reason)
    return found
