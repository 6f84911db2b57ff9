from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig

from extract import s3
from extract.download import download, forget, landed
from extract.landing import ArchiveManifest, read_manifest
from extract.s3 import RemoteObject, client_config, look_at, s3_errors
from pipeline import files
from pipeline.errors import PipelineError, SettingsError, SourceError
from tests.integration.extract.conftest import Stored
from tests.integration.extract.proxy import CutError, proxy_to
from tests.ports import free_port

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 256 << 10
CONTENT = random.Random(3).randbytes(3_000_000)
OTHER = random.Random(4).randbytes(2_500_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "taobao_train.tar.gz"


def fetch(stored: Stored, path: Path, endpoint_url: str | None = None, **options: Any) -> ArchiveManifest:
    client = stored.client(endpoint_url)
    found = look_at(client, stored.bucket, stored.key)
    return download(client, found, path, **{"part_bytes": PART, "connections": 4, **options})


def look(stored: Stored) -> RemoteObject:
    return look_at(stored.client(), stored.bucket, stored.key)


def assert_landed(path: Path, content: bytes = CONTENT) -> None:
    assert path.read_bytes() == content
    manifest = read_manifest(path, ArchiveManifest)
    assert manifest is not None
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert files_of(path) == [path.name, f"{path.name}.json"]


def files_of(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, len(CONTENT)])
def test_an_object_of_any_size_lands_whole_and_private(stored: Stored, path: Path, size: int) -> None:
    stored.put(CONTENT[:size])
    manifest = fetch(stored, path)
    assert_landed(path, CONTENT[:size])
    assert (manifest.uri, manifest.size_bytes) == (f"s3://{stored.bucket}/{stored.key}", size)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_etag_of_an_upload_in_parts_is_checked_against_the_content(stored: Stored, path: Path) -> None:
    content = CONTENT * 5
    config = TransferConfig(multipart_threshold=1, multipart_chunksize=6 << 20)
    stored.client().upload_fileobj(io.BytesIO(content), stored.bucket, stored.key, Config=config)
    found = look(stored)
    assert found.etag.endswith("-3")
    assert found.md5_part_bytes == 6 << 20
    fetch(stored, path)
    assert_landed(path, content)


def test_an_object_that_has_landed_is_known_until_it_or_the_file_changes(stored: Stored, path: Path) -> None:
    stored.put(CONTENT)
    manifest = fetch(stored, path)
    assert landed(path, look(stored)) == manifest
    stored.put(CONTENT[::-1])
    assert landed(path, look(stored)) is None
    stored.put(CONTENT)
    assert landed(path, look(stored)) == manifest
    os.truncate(path, 100)
    assert landed(path, look(stored)) is None
    fetch(stored, path)
    assert_landed(path)
    forget(path)
    assert landed(path, look(stored)) is None


def test_a_connection_that_is_cut_in_the_middle_of_a_part_costs_only_what_was_not_there(
    stored: Stored, path: Path
) -> None:
    def spoil(_connection: int, before: int, data: bytes) -> bytes:
        if before > 200_000:
            raise CutError
        return data

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        assert proxy.connections > len(CONTENT) // 300_000
        assert proxy.answered < 1.6 * len(CONTENT)
    assert_landed(path)


def test_a_stalled_connection_is_given_up_and_the_part_asked_for_again(
    stored: Stored, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_SECONDS", 1)

    def spoil(connection: int, before: int, data: bytes) -> bytes:
        if connection == 1 and before > 100_000:
            time.sleep(6)
        return data

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        fetch(stored, path, proxy.endpoint_url)
    assert_landed(path)


@pytest.mark.parametrize("status", [b"503 Slow Down", b"500 Internal Server Error"])
def test_a_busy_server_is_asked_again(stored: Stored, path: Path, status: bytes) -> None:
    def spoil(connection: int, before: int, data: bytes) -> bytes:
        if connection % 3 == 1 and before == 0:
            return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return data if connection % 3 != 1 else b""

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        fetch(stored, path, proxy.endpoint_url)
    assert_landed(path)


def test_a_server_that_stays_down_ends_in_one_line_and_the_next_run_continues(
    stored: Stored,
    path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url) as proxy:

        def spoil(_connection: int, _before: int, data: bytes) -> bytes:
            if proxy.answered > 1_500_000:
                raise CutError
            return data

        proxy.spoil = spoil
        with pytest.raises(SourceError, match="run the same command again, it continues"):
            fetch(stored, path, proxy.endpoint_url)
    assert files_of(path) == [f"{path.name}.part", f"{path.name}.part.json"]
    with proxy_to(stored.server.endpoint_url) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        assert proxy.answered < len(CONTENT) - 3 * PART
    assert "the download goes on" in capsys.readouterr().out
    assert_landed(path)


def test_a_download_that_was_killed_continues_from_the_parts_it_has(root: Path, stored: Stored, path: Path) -> None:
    program = """
import sys
from pathlib import Path
import boto3
from extract import download, s3
download.SECONDS_BETWEEN_JOURNALS = 0.1
bucket, key, path = sys.argv[1:]
client = boto3.client("s3", config=s3.client_config(2))
found = s3.look_at(client, bucket, key)
download.download(client, found, Path(path), part_bytes=262144, connections=2)
"""

    def slow(_connection: int, _before: int, data: bytes) -> bytes:
        time.sleep(0.02)
        return data

    stored.put(CONTENT)
    journal = path.with_name(f"{path.name}.part.json")
    with proxy_to(stored.server.endpoint_url, slow) as proxy:
        environ = {
            **os.environ,
            "AWS_ENDPOINT_URL": proxy.endpoint_url,
            "AWS_ACCESS_KEY_ID": stored.server.access.access_key_id,
            "AWS_SECRET_ACCESS_KEY": stored.server.access.secret_access_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        with subprocess.Popen(
            [sys.executable, "-c", program, stored.bucket, stored.key, str(path)], cwd=root, env=environ
        ) as process:
            deadline = time.monotonic() + 20
            while not (journal.exists() and json.loads(journal.read_text())["done"]) and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
    assert not path.exists()
    done = len(json.loads(journal.read_text())["done"])
    assert 0 < done < len(CONTENT) // PART
    with proxy_to(stored.server.endpoint_url) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        assert proxy.answered < len(CONTENT) - done * PART + 50_000
    assert_landed(path)


def test_a_kill_between_the_rename_and_the_manifest_costs_no_download(stored: Stored, path: Path) -> None:
    stored.put(CONTENT)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extract.download.write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(stored, path)
    assert read_manifest(path, ArchiveManifest) is None
    with proxy_to(stored.server.endpoint_url) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        assert proxy.answered < 10_000
    assert_landed(path)


def test_an_object_that_is_replaced_while_it_is_downloaded_is_begun_again(
    stored: Stored,
    path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replaced: list[bool] = []

    def spoil(_connection: int, before: int, data: bytes) -> bytes:
        if before > 600_000 and not replaced:
            replaced.append(True)
            stored.put(OTHER)
        return data

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        fetch(stored, path, proxy.endpoint_url, connections=1)
    assert "was replaced while it was downloaded: starting again" in capsys.readouterr().out
    assert_landed(path, OTHER)


def test_an_object_that_was_replaced_between_two_runs_is_begun_again(
    stored: Stored,
    path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url) as proxy:

        def spoil(_connection: int, _before: int, data: bytes) -> bytes:
            if proxy.answered > 1_500_000:
                raise CutError
            return data

        proxy.spoil = spoil
        with pytest.raises(SourceError):
            fetch(stored, path, proxy.endpoint_url)
    stored.put(OTHER)
    fetch(stored, path)
    assert "has changed since its download began" in capsys.readouterr().out
    assert_landed(path, OTHER)


def test_bytes_that_changed_on_the_way_are_thrown_away(stored: Stored, path: Path) -> None:
    stored.put(CONTENT)
    middle = CONTENT[1_000_000:1_000_016]

    def spoil(_connection: int, _before: int, data: bytes) -> bytes:
        return data.replace(middle, bytes(16))

    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        with pytest.raises(SourceError, match="does not match the object's ETag"):
            fetch(stored, path, proxy.endpoint_url)
        assert files_of(path) == []
        fetch(stored, path, proxy.endpoint_url, check_etag=False)
    assert path.read_bytes() != CONTENT


@pytest.mark.parametrize("damage", ["not json", "{}", '{"etag": 1}', None])
def test_a_journal_that_makes_no_sense_is_not_believed(stored: Stored, path: Path, damage: str | None) -> None:
    stored.put(CONTENT)
    path.parent.mkdir()
    found = look(stored)
    journal = {"etag": found.etag, "size_bytes": found.size_bytes, "part_bytes": PART, "done": [0, 99]}
    path.with_name(f"{path.name}.part.json").write_text(damage or json.dumps(journal))
    path.with_name(f"{path.name}.part").write_bytes(bytes(len(CONTENT)))
    fetch(stored, path)
    assert_landed(path)


def test_an_object_that_does_not_fit_on_the_disk_is_not_begun(
    stored: Stored, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.put(CONTENT)
    monkeypatch.setattr(files, "DISK_RESERVE", shutil.disk_usage(path.parent.parent).total)
    with pytest.raises(PipelineError, match=r"too small for s3://.*make room"):
        fetch(stored, path)
    assert not path.exists()


def test_a_disk_that_fills_up_ends_in_one_line_and_the_next_run_continues(
    stored: Stored, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.put(CONTENT)
    write = os.pwrite

    def full(descriptor: int, data: bytes, position: int) -> int:
        if position > 1_000_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data, position)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(PipelineError, match=r"the disk is full while writing .*taobao_train.tar.gz.part: make room"):
        fetch(stored, path)
    assert not path.exists()
    monkeypatch.undo()
    fetch(stored, path)
    assert_landed(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"aws_secret_access_key": "wrong-secret"},
            "refuses the credentials.*SignatureDoesNotMatch.*AWS_ACCESS_KEY_ID",
        ),
        ({"aws_access_key_id": "nobody"}, "refuses the credentials.*InvalidAccessKeyId"),
        ({"bucket": "no-such-bucket"}, "has no bucket no-such-bucket.*pipeline.yml"),
        ({"key": "no-such-key"}, "there is no such object.*MODE, DATASET"),
        ({"endpoint_url": "closed"}, "does not answer.*AWS_ENDPOINT_URL"),
    ],
)
def test_an_object_that_cannot_be_read_is_explained_in_one_line(
    stored: Stored, change: dict[str, str], message: str
) -> None:
    stored.put(b"x")
    access = stored.server.access
    arguments: dict[str, Any] = {
        "endpoint_url": stored.server.endpoint_url,
        "aws_access_key_id": access.access_key_id,
        "aws_secret_access_key": access.secret_access_key,
        "bucket": stored.bucket,
        "key": stored.key,
        **change,
    }
    if arguments["endpoint_url"] == "closed":
        arguments["endpoint_url"] = f"http://user:hidden@127.0.0.1:{free_port()}"
    bucket, key = arguments.pop("bucket"), arguments.pop("key")
    client: S3Client = boto3.Session().client("s3", region_name="us-east-1", config=client_config(1), **arguments)
    with pytest.raises(SourceError, match=message) as caught:
        look_at(client, bucket, key)
    text = str(caught.value)
    assert text.startswith(f"s3://{bucket}/{key}: ")
    assert "\n" not in text
    assert not any(secret in text for secret in ("wrong-secret", "hidden", access.secret_access_key))


def test_an_endpoint_that_is_no_url_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL"), s3_errors("s3://bucket/key"):
        boto3.client("s3", endpoint_url="not a url", region_name="us-east-1")


def test_half_of_the_credentials_is_a_mistake_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(SettingsError, match="AWS_SECRET_ACCESS_KEY"), s3_errors("s3://bucket/key"):
        boto3.Session().client("s3", region_name="us-east-1").list_buckets()


def test_an_etag_that_is_no_md5_is_only_kept(stored: Stored, path: Path) -> None:
    stored.put(CONTENT)
    found = look(stored)
    unchecked = RemoteObject(found.bucket, found.key, found.etag, found.size_bytes, None)
    assert download(stored.client(), unchecked, path, part_bytes=PART, connections=2).etag == found.etag
    assert_landed(path)
