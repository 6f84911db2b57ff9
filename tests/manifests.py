"""What unpacking writes of a CSV file, for files that tests write themselves."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.landed import Asset
from pipeline.lines import Lines
from pipeline.registry import Partition
from pipeline.settings import RecordKind
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
