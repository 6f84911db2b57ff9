"""Uploading a sample to a real S3 server: what is replaced, what is refused, and what is kept."""

from __future__ import annotations

import io
import json
import random
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from embedded.s3_server import S3Server, open_client
from extract import sample_steps
from extract import upload as upload_module
from extract.download import Parameters, download
from extract.upload import SAMPLE_OF, find_object, full_settings, upload
from pipeline.errors import SourceError, UsageError
from pipeline.s3 import look_at
from pipeline.samples import sample_paths
from pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def client(s3: S3Server) -> Iterator[S3Client]:
    client = open_client(s3)
    yield client
    client.close()


@pytest.fixture
def settings(root: Path, tmp_path: Path, client: S3Client) -> Settings:
    """Settings with a bucket of the test's own."""
    declared = yaml.safe_load((root / "pipeline.yml").read_text())
    declared["source"]["bucket"] = f"bucket-{uuid.uuid4().hex}"
    (tmp_path / "pipeline.yml").write_text(yaml.safe_dump(declared))
    client.create_bucket(Bucket=declared["source"]["bucket"])
    return load_settings(root=tmp_path, environ={})


def draw(settings: Settings, content: bytes, *, of: str, etag: str = "etag") -> None:
    """Leave a sample as the drawing would."""
    paths = sample_paths(settings)
    settings.sample_folder.mkdir(parents=True, exist_ok=True)
    paths.archive.write_bytes(content)
    paths.report.write_text("<html>")
    checksum = uuid.uuid5(uuid.NAMESPACE_OID, content.hex()).hex
    paths.manifest.write_text(json.dumps({"archive": {"sha256": checksum}, "source": {"uri": of, "etag": etag}}))


def put(client: S3Client, settings: Settings, content: bytes, **metadata: str) -> str:
    answer = client.put_object(Bucket=settings.source.bucket, Key=settings.archive_key, Body=content, Metadata=metadata)
    return answer["ETag"].strip('"')


def get(client: S3Client, settings: Settings) -> bytes:
    return client.get_object(Bucket=settings.source.bucket, Key=settings.archive_key)["Body"].read()


def test_a_sample_of_production_goes_into_the_development_prefix_and_may_replace_itself(
    settings: Settings, client: S3Client
) -> None:
    production = replace(settings, mode="production", source=replace(settings.source, prefix="production"))
    put(client, production, b"the whole")
    for content in (b"one sample", b"another"):
        draw(production, content, of=production.archive_uri)
        assert "to s3://" in upload(client, production).result
        assert get(client, settings) == content
    assert upload(client, production).result.startswith("skipped")

    listed = client.list_objects_v2(Bucket=settings.source.bucket)["Contents"]
    assert {each["Key"] for each in listed} == {
        "production/taobao_train.tar.gz",
        "development/taobao_train.tar.gz",
        "development/taobao_train.sample.json",
        "development/taobao_train.sample.html",
    }
    assert get(client, production) == b"the whole"


def test_an_archive_that_was_not_drawn_is_replaced_only_when_that_is_asked_for(
    settings: Settings, client: S3Client
) -> None:
    put(client, settings, b"published")
    draw(settings, b"sample", of="s3://bucket/production/taobao_train.tar.gz")
    with pytest.raises(UsageError, match=r"neither made nor draws from: UPLOAD=1 FORCE=1 replaces it$"):
        upload(client, settings)
    assert get(client, settings) == b"published"

    upload(client, replace(settings, force=True))
    assert get(client, settings) == b"sample"


def test_the_archive_that_was_drawn_from_is_kept_and_drawn_from_again(settings: Settings, client: S3Client) -> None:
    # Larger than the parts in which it is uploaded.
    whole = random.Random(1).randbytes(20 << 20)
    client.upload_fileobj(
        io.BytesIO(whole),
        settings.source.bucket,
        settings.archive_key,
        ExtraArgs={"Metadata": {"scale": "0.01", "seed": "5"}},
    )
    found = look_at(client, settings.source.bucket, settings.archive_key)
    download(client, found, settings.archive_path, Parameters())
    draw(settings, b"sample", of=settings.archive_uri, etag=found.etag)
    upload(client, settings)

    full = full_settings(settings)
    again = look_at(client, full.source.bucket, full.archive_key)
    download(client, again, full.archive_path, Parameters())
    assert full.archive_path.read_bytes() == whole
    kept, sample = find_object(client, full), find_object(client, settings)
    assert kept is not None
    assert sample is not None
    assert kept["metadata"] == {"scale": "0.01", "seed": "5"}
    assert sample["metadata"][SAMPLE_OF] == full.archive_uri
    assert sample_steps.origin_of(client, settings) == full


def test_an_archive_that_was_replaced_after_the_drawing_is_not_lost(settings: Settings, client: S3Client) -> None:
    put(client, settings, b"newer")
    draw(settings, b"sample", of=settings.archive_uri, etag="of-the-older")
    with pytest.raises(SourceError, match="was replaced after the sample was drawn: run the same command again"):
        upload(client, replace(settings, force=True))
    assert get(client, settings) == b"newer"


def test_an_archive_of_which_nothing_has_landed_is_not_replaced(settings: Settings, client: S3Client) -> None:
    etag = put(client, settings, b"generated")
    draw(settings, b"sample", of=settings.archive_uri, etag=etag)
    with pytest.raises(SourceError, match="is not what was drawn from: run the same command again"):
        upload(client, replace(settings, force=True))
    assert get(client, settings) == b"generated"


def test_a_sample_is_not_drawn_from(settings: Settings, client: S3Client) -> None:
    put(client, settings, b"sample", **{SAMPLE_OF: "s3://bucket/production/taobao_train.tar.gz"})
    with pytest.raises(UsageError, match=r"is itself a sample, of s3://bucket/production/taobao_train\.tar\.gz"):
        sample_steps.origin_of(client, settings)


def test_a_store_that_takes_nothing_is_told_in_one_line(
    settings: Settings, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(settings, b"sample", of="s3://bucket/production/taobao_train.tar.gz")
    # As one who may read and not write: what the upload asks for first is granted here.
    monkeypatch.setattr(upload_module, "check_target", lambda *_, **__: None)
    stranger = replace(s3, access=replace(s3.access, secret_access_key="wrong"))
    with (
        closing(open_client(stranger)) as client,
        pytest.raises(SourceError, match=r"^s3://\S+: http\S+ does not take it \(.+\): check that the credentials may"),
    ):
        upload(client, settings)
