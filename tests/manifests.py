"""What unpacking writes of a CSV file, for files that tests write themselves, or put into a bucket."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from embedded.s3_server import S3Server, open_client
from pipeline.landed import Asset, write_manifest
from pipeline.lines import Lines
from pipeline.mysql import MysqlConnection
from pipeline.registry import Partition, record_asset
from pipeline.s3 import look_at
from pipeline.settings import RECORD_KINDS, RecordKind, Settings
from spark_jobs.partitions import plan_partitions


def asset_of(path: Path, *, uri: str = "s3://bucket/key#member", grain: int = 1) -> Asset:
    """Read a file as unpacking reads it, with a mark at each line by default."""
    content = path.read_bytes()
    lines = Lines(len(content), grain)
    lines.update(content)
    return Asset(
        uri,
        "etag",
        len(content),
        datetime.now(UTC),
        sha256=hashlib.sha256(content).hexdigest(),
        num_rows=lines.num_lines,
        marks=lines.marks,
    )


def partitions_of(path: Path, kind: RecordKind, sha256: str, partition_size: int) -> list[Partition]:
    """Cut a file as the job does, at the first line that can be."""
    return plan_partitions(path, kind, replace(asset_of(path), sha256=sha256), partition_size)


def environ_of(server: S3Server) -> dict[str, str]:
    """What a user sets to read from a server."""
    return {
        "AWS_ENDPOINT_URL": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": server.access.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.access.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def move_to_bucket(settings: Settings, registry: MysqlConnection, server: S3Server) -> str:
    """Move the unpacked files into a bucket, recorded as files that are read there, and give its name."""
    client, bucket = open_client(server), f"csv-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    for kind in RECORD_KINDS:
        path = settings.member_path(kind)
        client.upload_file(str(path), bucket, f"some/where/{path.name}")
        found = look_at(client, bucket, f"some/where/{path.name}")
        asset = replace(asset_of(path, uri=found.uri), etag=found.etag, path=found.uri, version=found.etag)
        path.unlink()
        write_manifest(path, asset)
        record_asset(registry, asset)
    return bucket
