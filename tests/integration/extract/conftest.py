from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
import pytest

from embedded.s3_server import S3Server
from pipeline import s3
from pipeline.s3 import client_config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass
class Stored:
    """An object of the real S3 server, or one to be."""

    server: S3Server
    bucket: str
    key: str
    clients: list[S3Client] = field(default_factory=list)

    def client(self, endpoint_url: str | None = None) -> S3Client:
        """Open a client as the pipeline does, for the server or for a proxy before it."""
        client = boto3.client(
            "s3",
            endpoint_url=endpoint_url or self.server.endpoint_url,
            aws_access_key_id=self.server.access.access_key_id,
            aws_secret_access_key=self.server.access.secret_access_key,
            region_name="us-east-1",
            config=client_config(4),
        )
        self.clients.append(client)
        return client

    def put(self, content: bytes) -> None:
        self.client().put_object(Bucket=self.bucket, Key=self.key, Body=content)


@pytest.fixture
def stored(s3: S3Server, bucket: str) -> Iterator[Stored]:
    stored = Stored(s3, bucket, f"development/{uuid.uuid4().hex}.tar.gz")
    yield stored
    for client in stored.clients:
        client.close()


@pytest.fixture(scope="session")
def bucket(s3: S3Server) -> str:
    stored = Stored(s3, f"bucket-{uuid.uuid4().hex}", "the-first-write-is-slow")
    stored.client().create_bucket(Bucket=stored.bucket)
    stored.put(b"x")
    return stored.bucket


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again sooner, and give up sooner, than in earnest."""
    monkeypatch.setattr(s3, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(s3, "REQUEST_ATTEMPTS", 2)
