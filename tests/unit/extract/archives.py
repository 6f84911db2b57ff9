"""Archives for the tests, made as the wrong ones in the world are."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipeline.landed import Asset

SKELETON = "sample_skeleton_train.csv"
COMMON = "common_features_train.csv"


@dataclass(frozen=True)
class Entry:
    """A member to pack."""

    name: str
    content: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    pax: dict[str, str] = field(default_factory=dict)


def tar_of(entries: Iterable[Entry], *, format_: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as tar:
        for entry in entries:
            member = tarfile.TarInfo(entry.name)
            member.size, member.type, member.linkname = len(entry.content), entry.type, entry.link
            member.pax_headers = entry.pax
            tar.addfile(member, io.BytesIO(entry.content))
    return buffer.getvalue()


def archive_of(*entries: Entry) -> bytes:
    return gzip.compress(tar_of(entries), mtime=0)


def land(path: Path, content: bytes) -> Asset:
    """Put an archive where the download would, without its manifest, which is returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Asset(
        uri="s3://bucket/development/taobao_train.tar.gz",
        etag="0",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        landed_at=datetime(2020, 1, 1, tzinfo=UTC),
    )
