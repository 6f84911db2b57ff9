from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig

from extract.download import Parameters, download, forget, landed
from extract.unpack import unpack
from pipeline import files, s3
from pipeline.errors import PipelineError, SettingsError, SourceError
from pipeline.landed import Asset, read_manifest
from pipeline.s3 import RemoteObject, client_config, look_at, s3_errors
from tests.integration.extract.conftest import Stored
from tests.integration.extract.proxy import CutError, Spoil, is_head, proxy_to, refusal, refusing
from tests.ports import free_port
from tests.unit.extract.archives import COMMON, SKELETON, Entry, archive_of, tar_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 256 << 10
KEYS: Any = {"aws_access_key_id": "key", "aws_secret_access_key": "hidden", "region_name": "us-east-1"}
HEADERS = 50_000  # more bytes than the heads of all the answers of a download
CONTENT = random.Random(3).randbytes(3_000_000)
OTHER = random.Random(4).randbytes(2_500_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "taobao_train.tar.gz"


def fetch(stored: Stored, path: Path, endpoint_url: str | None = None, **options: Any) -> Asset:
    client = stored.client(endpoint_url)
    found = look_at(client, stored.bucket, stored.key)
    return download(client, found, path, Parameters(**{"part_bytes": PART, "connections": 4, **options}))


def look(stored: Stored) -> RemoteObject:
    return look_at(stored.client(), stored.bucket, stored.key)


def assert_landed(path: Path, content: bytes = CONTENT) -> None:
    assert path.read_bytes() == content
    manifest = read_manifest(path)
    assert manifest is not None
    assert (manifest.size_bytes, manifest.sha256) == (len(content), "")
    assert files_of(path) == [path.name, f"{path.name}.json"]


def assert_continues(stored: Stored, path: Path) -> None:
    """Check that a download which failed after 1.5 MB goes on from there, by the bytes that the store serves."""
    assert files_of(path) == [f"{path.name}.part", f"{path.name}.part.json"]
    assert not [file for file in opened_files() if file.startswith(str(path))]
    done = parts_done(path)
    assert done >= 2  # of 1.5 MB, no more than four parts were still under way
    with proxy_to(stored.server.endpoint_url) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        assert proxy.answered < len(CONTENT) - done * PART + HEADERS
    assert_landed(path)


def parts_done(path: Path) -> int:
    """Count the parts that the journal of a download says are there."""
    return len(json.loads(path.with_name(f"{path.name}.part.json").read_text())["done"])


def opened_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(descriptor.readlink()))
    return found


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


def unpacked(path: Path) -> Asset:
    """Unpack what has landed, and give what is then known of the archive."""
    landed = read_manifest(path)
    assert landed is not None
    return unpack(path, landed, {name: path.parent.parent / name for name in (SKELETON, COMMON)})[0]


def test_the_etag_of_an_upload_in_parts_is_checked_against_the_content(stored: Stored, path: Path) -> None:
    content = archive_of(Entry(SKELETON, CONTENT * 5), Entry(COMMON))
    config = TransferConfig(multipart_threshold=1, multipart_chunksize=6 << 20)
    stored.client().upload_fileobj(io.BytesIO(content), stored.bucket, stored.key, Config=config)
    found = look(stored)
    assert found.etag.endswith("-3")
    assert fetch(stored, path).md5_part_bytes == 6 << 20
    assert_landed(path, content)
    assert unpacked(path).sha256 == hashlib.sha256(content).hexdigest()
    assert read_manifest(path) == unpacked(path)


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


def test_a_connection_that_stalls_for_good_ends_in_one_line_and_the_next_run_continues(
    stored: Stored, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_SECONDS", 0.3)
    ended = threading.Event()

    def spoil(_connection: int, _before: int, data: bytes) -> bytes:
        if proxy.answered > 1_500_000 and ended.wait(60):
            raise CutError
        return data

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url) as proxy:
        proxy.spoil = spoil
        begun = time.monotonic()
        with pytest.raises(SourceError, match=r"keeps breaking off \(ReadTimeoutError\).*again, it continues"):
            fetch(stored, path, proxy.endpoint_url)
        assert time.monotonic() - begun < 30
        ended.set()
    assert_continues(stored, path)


REFUSALS = [("503 Slow Down", "SlowDown"), ("500 Internal Server Error", "InternalError")]


@pytest.mark.parametrize(("status", "code"), [*REFUSALS, ("429 Too Many Requests", "TooManyRequests")])
def test_a_busy_server_is_asked_again(stored: Stored, path: Path, status: str, code: str) -> None:
    refused: set[int] = set()

    def is_refused(connection: int) -> bool:
        if connection % 3 == 1:
            refused.add(connection)
        return connection in refused

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url, refusing(refusal(status, code), is_refused)) as proxy:
        fetch(stored, path, proxy.endpoint_url)
    assert refused
    assert_landed(path)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        *(
            (*refused, rf"keeps answering {refused[0][:3]} \({refused[1]}\): run the same command")
            for refused in REFUSALS
        ),
        ("400 Bad Request", "ExpiredToken", r"which have expired \(ExpiredToken\): get new ones for AWS_ACCESS_KEY_ID"),
        ("403 Forbidden", "AccessDenied", r"does not let you read it \(AccessDenied\): check AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_server_that_refuses_from_the_middle_on_ends_in_one_line_and_the_next_run_continues(
    stored: Stored, path: Path, status: str, code: str, message: str
) -> None:
    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url) as proxy:
        proxy.spoil = refusing(refusal(status, code), lambda _: proxy.answered > 1_500_000)
        with pytest.raises(SourceError, match=message) as caught:
            fetch(stored, path, proxy.endpoint_url)
    assert "\n" not in str(caught.value)
    assert_continues(stored, path)


def test_an_object_that_is_removed_while_it_is_downloaded_ends_in_one_line_and_continues_when_it_is_back(
    stored: Stored, path: Path
) -> None:
    removed: list[bool] = []

    def spoil(_connection: int, _before: int, data: bytes) -> bytes:
        if proxy.answered > 1_500_000 and not removed:
            removed.append(True)
            stored.client().delete_object(Bucket=stored.bucket, Key=stored.key)
        return data

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url) as proxy:
        proxy.spoil = spoil
        with pytest.raises(SourceError, match="has no such object"):
            fetch(stored, path, proxy.endpoint_url, connections=1)
    stored.put(CONTENT)
    assert_continues(stored, path)


def halved(_connection: int, _before: int, data: bytes) -> bytes:
    """Say and send half of what the server gives, as if that were all."""
    if not is_head(data):
        return data
    length = re.search(rb"Content-Length: (\d+)", data)
    assert length
    half = b"Connection: close\r\nContent-Length: %d" % (int(length[1]) // 2)
    return data.replace(length[0], half, 1)


def test_a_body_that_is_shorter_than_its_range_is_completed(stored: Stored, path: Path) -> None:
    shortened: list[int] = []

    def spoil(connection: int, before: int, data: bytes) -> bytes:
        if connection % 2 and is_head(data):
            shortened.append(connection)
            return halved(connection, before, data)
        return data

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        fetch(stored, path, proxy.endpoint_url)
    assert shortened
    assert_landed(path)


def test_bodies_that_are_always_too_short_end_in_one_line_and_the_next_run_continues(
    stored: Stored, path: Path
) -> None:
    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url) as proxy:
        proxy.spoil = lambda *answer: halved(*answer) if proxy.answered > 1_500_000 else answer[2]
        with pytest.raises(SourceError, match=r"keeps breaking off \(an answer ended .* early\): run the same command"):
            fetch(stored, path, proxy.endpoint_url)
    assert_continues(stored, path)


@pytest.mark.parametrize(
    ("header", "instead"),
    [
        (rb"206 Partial Content", b"200 OK"),  # with all of the object, as of a cache that knows no ranges
        (rb"Content-Range: bytes \d+-", b"Content-Range: bytes 5-"),
        (rb"/%d" % len(CONTENT), b"/99"),
        (rb"Content-Range: [^\r]*", b"X: y"),
    ],
)
def test_a_store_that_gives_another_range_is_not_believed(
    stored: Stored, path: Path, header: bytes, instead: bytes
) -> None:
    def spoil(_connection: int, _before: int, data: bytes) -> bytes:
        if is_head(data) and b"206" in data[:20]:
            data = re.sub(header, instead, data, count=1)
            return re.sub(rb"Content-Range:", b"X-Range:", data) if instead == b"200 OK" else data
        return data

    stored.put(CONTENT)
    with (
        proxy_to(stored.server.endpoint_url, spoil) as proxy,
        pytest.raises(SourceError, match=r"does not answer bytes=\d+-\d+ with that range.*AWS_ENDPOINT_URL"),
    ):
        fetch(stored, path, proxy.endpoint_url)
    fetch(stored, path)
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
    assert_continues(stored, path)
    assert "the download goes on" in capsys.readouterr().out


PROGRAM = """
import os, resource, shutil, sys, threading, time
from pathlib import Path
import boto3
from extract import download
from pipeline import s3
from pipeline.cli import run_command
download.SECONDS_BETWEEN_JOURNALS = 0.1
bucket, key, name = sys.argv[1:]
path = Path(name)
journal = path.with_name(f"{path.name}.part.json")

def land():
    client = boto3.client("s3", config=s3.client_config(2))
    found = s3.look_at(client, bucket, key)
    download.download(client, found, path, download.Parameters(262144, 2))

PRELUDE
sys.exit(run_command(land, verbose=False))
"""


def command(stored: Stored, path: Path, prelude: str = "") -> list[str]:
    """A process of its own that lands the object."""
    return [sys.executable, "-c", PROGRAM.replace("PRELUDE", prelude), stored.bucket, stored.key, str(path)]


def environ(stored: Stored, endpoint_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": stored.server.access.access_key_id,
        "AWS_SECRET_ACCESS_KEY": stored.server.access.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def slow(_connection: int, _before: int, data: bytes) -> bytes:
    time.sleep(0.02)
    return data


def test_a_download_that_was_killed_continues_from_the_parts_it_has(root: Path, stored: Stored, path: Path) -> None:
    stored.put(CONTENT)
    journal = path.with_name(f"{path.name}.part.json")
    with (
        proxy_to(stored.server.endpoint_url, slow) as proxy,
        subprocess.Popen(command(stored, path), cwd=root, env=environ(stored, proxy.endpoint_url)) as process,
    ):
        deadline = time.monotonic() + 20
        while not (journal.exists() and parts_done(path)) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    done = parts_done(path)
    assert 0 < done < len(CONTENT) // PART
    with proxy_to(stored.server.endpoint_url) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        assert proxy.answered < len(CONTENT) - done * PART + HEADERS
    assert_landed(path)


def test_a_kill_between_the_rename_and_the_manifest_costs_no_download(stored: Stored, path: Path) -> None:
    stored.put(CONTENT)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extract.download.write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(stored, path)
    assert read_manifest(path) is None
    with proxy_to(stored.server.endpoint_url) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        assert proxy.answered < 10_000
    assert_landed(path)


@pytest.mark.parametrize("other", [OTHER, CONTENT[::-1]], ids=["of another size", "of the same size"])
@pytest.mark.parametrize("connections", [1, 4])
def test_an_object_that_is_replaced_while_it_is_downloaded_is_begun_again(
    stored: Stored, path: Path, capsys: pytest.CaptureFixture[str], other: bytes, connections: int
) -> None:
    replaced: list[bool] = []
    one_by_one = threading.Lock()  # or the other connections could end before the object is replaced

    def spoil(_connection: int, _before: int, data: bytes) -> bytes:
        with one_by_one:
            if proxy.answered > 600_000 and not replaced:
                replaced.append(True)
                stored.put(other)
        return data

    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url) as proxy:
        proxy.spoil = spoil
        fetch(stored, path, proxy.endpoint_url, connections=connections)
    assert "was replaced while it was downloaded: starting again" in capsys.readouterr().out
    assert_landed(path, other)


def test_an_object_that_is_replaced_again_and_again_ends_in_one_line_and_lands_when_that_ends(
    stored: Stored, path: Path
) -> None:
    count = 0

    def spoil(_connection: int, _before: int, data: bytes) -> bytes:
        nonlocal count
        if is_head(data) and b"206" in data[:20]:
            count += 1
            if count % 3 == 0:
                stored.put(OTHER + bytes(count))
        return data

    stored.put(CONTENT)
    with (
        proxy_to(stored.server.endpoint_url, spoil) as proxy,
        pytest.raises(SourceError, match="replaced again and again while it is downloaded: try later"),
    ):
        fetch(stored, path, proxy.endpoint_url, connections=1)
    assert not path.exists()
    fetch(stored, path)
    assert_landed(path, OTHER + bytes(9))


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


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["a plain tar", "gzip"])
def test_bytes_that_changed_on_the_way_are_thrown_away(
    stored: Stored, path: Path, pack: Callable[[bytes], bytes]
) -> None:
    content = pack(tar_of([Entry(SKELETON, CONTENT), Entry(COMMON)]))
    stored.put(content)
    middle = content[1_000_000:1_000_016]

    def spoil(_connection: int, _before: int, data: bytes) -> bytes:
        return data.replace(middle, bytes(16))

    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        with pytest.raises(SourceError, match=r"does not match the object's ETag .*, so it was thrown away"):
            unpacked(path)
        assert files_of(path) == []
        assert [each for each in path.parent.parent.iterdir() if each.is_file()] == []
        fetch(stored, path, proxy.endpoint_url, check_etag=False)
    assert path.read_bytes() != content


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


FILL_THE_DISK = """
def fill():
    while not (journal.exists() and "[\\n" in journal.read_text()):
        time.sleep(0.01)
    with (path.parents[1] / "filler").open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 10, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                pass

threading.Thread(target=fill, daemon=True).start()
"""

# Runs the first command on a small disk of its own, which the command fills while it downloads, makes room, and runs
# the second. An ordinary user may mount in a namespace of his own.
ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=72m none "$1"
df -k "$1" >&2
if {first}; then exit 9; fi
df -k "$1" | tail -n 1 >&2
rm "$1/filler"
ls "$1/archives"
AWS_ENDPOINT_URL=$2 {second}
sha256sum "$1/archives/taobao_train.tar.gz"
"""
PRIVATE_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


def test_a_disk_that_fills_up_ends_in_one_line_and_the_next_run_continues(
    root: Path, stored: Stored, tmp_path: Path
) -> None:
    if subprocess.run([*PRIVATE_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode:
        pytest.skip("this system lets its users mount nothing: the test with a limit on file sizes stands alone")
    stored.put(CONTENT)
    disk = tmp_path / "disk"
    disk.mkdir()
    path = disk / "archives" / "taobao_train.tar.gz"
    script = ON_A_SMALL_DISK.format(
        first=shlex.join(command(stored, path, FILL_THE_DISK)), second=shlex.join(command(stored, path))
    )
    with proxy_to(stored.server.endpoint_url, slow) as first, proxy_to(stored.server.endpoint_url) as second:
        ended = subprocess.run(
            [*PRIVATE_MOUNTS, "sh", "-c", script, "sh", str(disk), second.endpoint_url],
            cwd=root,
            env=environ(stored, first.endpoint_url),
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if not line.startswith(("Filesystem", "none"))]
    assert len(errors) == 1, ended.stderr
    assert re.match(rf"error: the disk is full while writing {path.parent}/\S+: make room", errors[0])
    assert ended.stderr.splitlines()[-1].split()[3] == "0"  # kilobytes that were left
    assert "the download goes on" in ended.stdout
    assert second.answered < len(CONTENT)
    assert hashlib.sha256(CONTENT).hexdigest() in ended.stdout


def test_a_file_that_may_not_grow_so_large_ends_in_one_line(root: Path, stored: Stored, path: Path) -> None:
    stored.put(CONTENT)
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))"
    environment = environ(stored, stored.server.endpoint_url)
    ended = subprocess.run(
        command(stored, path, limit), cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: the disk is full while writing {path}.part: make room")
    assert ended.stderr.count("\n") == 1
    assert not path.exists()
    subprocess.run(command(stored, path), cwd=root, env=environment, check=True)
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
        ({"key": "no-such-key"}, "has no such object.*MODE, DATASET"),
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
    assert download(stored.client(), unchecked, path, Parameters(PART, 2)).etag == found.etag
    assert_landed(path)


def changed(head: Callable[[bytes], bytes], *, method: bytes = b"") -> Spoil:
    """Change the heads of a store's answers, as something on the way does; of a HEAD alone where they have no body."""

    def spoil(_connection: int, _before: int, data: bytes) -> bytes:
        if not is_head(data) or (method == b"HEAD" and b"206" in data[:20]):
            return data
        beginning, end, body = data.partition(b"\r\n\r\n")
        return head(beginning) + end + body

    return spoil


WEAK = changed(lambda head: re.sub(rb'(?i)\r\netag: "', b'\r\nETag: W/"', head))
BARE = changed(lambda head: re.sub(rb'(?i)\r\netag: "(\w+)"', rb"\r\nETag: \1", head))
WITHOUT_ETAG = changed(lambda head: re.sub(rb"(?i)\r\netag: [^\r]*", b"", head))
WITHOUT_LENGTH = changed(lambda head: re.sub(rb"(?i)\r\ncontent-length: [^\r]*", b"", head), method=b"HEAD")
WITHOUT_BOTH = changed(lambda head: re.sub(rb"(?i)\r\n(etag|content-length): [^\r]*", b"", head), method=b"HEAD")


@pytest.mark.parametrize(
    "spoil",
    [WEAK, BARE, WITHOUT_ETAG, WITHOUT_LENGTH, WITHOUT_BOTH],
    ids=["a weak ETag", "an ETag without quotes", "no ETag", "no size in a HEAD", "neither in a HEAD"],
)
def test_an_object_lands_whatever_is_lost_of_what_the_store_says_of_it(
    stored: Stored, path: Path, spoil: Spoil
) -> None:
    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        fetch(stored, path, proxy.endpoint_url)
        assert_landed(path)
        client = stored.client(proxy.endpoint_url)
        assert landed(path, look_at(client, stored.bucket, stored.key))
        time.sleep(1.1)  # Last-Modified counts seconds
        stored.put(CONTENT[::-1])
        assert landed(path, look_at(client, stored.bucket, stored.key)) is None


@pytest.mark.parametrize("spoil", [WEAK, WITHOUT_ETAG], ids=["a weak ETag", "no ETag"])
def test_an_object_that_is_pinned_otherwise_is_known_when_it_is_replaced(
    stored: Stored, path: Path, spoil: Spoil, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.put(CONTENT)
    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        client = stored.client(proxy.endpoint_url)
        found = look_at(client, stored.bucket, stored.key)
        time.sleep(1.1)
        stored.put(CONTENT[::-1])
        download(client, found, path, Parameters(PART, 4))
    assert "was replaced while it was downloaded" in capsys.readouterr().out
    assert_landed(path, CONTENT[::-1])


def test_a_store_that_says_nothing_of_the_version_is_told_as_none(stored: Stored, path: Path) -> None:
    stored.put(CONTENT)
    spoil = changed(lambda head: re.sub(rb"(?i)\r\n(etag|last-modified): [^\r]*", b"", head))
    with (
        proxy_to(stored.server.endpoint_url, spoil) as proxy,
        pytest.raises(SourceError, match=r"does not say which version of it is there .*check AWS_ENDPOINT_URL"),
    ):
        fetch(stored, path, proxy.endpoint_url)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ("403 Forbidden", "InvalidObjectState", r"keeps it in a class for archives.*restore it"),
        ("403 Forbidden", "SecondLevelDomainForbidden", r"default\.s3\.addressing_style virtual"),
        ("403 Forbidden", "RequestTimeTooSkewed", r"refuses the time of this machine.*set its clock right"),
        ("403 Forbidden", "AccessDenied", r"check AWS_ACCESS_KEY_ID.*requester_pays.*told to whoever may not list"),
        ("403 Forbidden", "SomethingNew", r"does not let you read it \(SomethingNew\): check AWS_ACCESS_KEY_ID"),
        ("403 Forbidden", "UserDisable", r"has closed the account or the bucket"),
        ("400 Bad Request", "KMS.DisabledException", r"does not let you use the key that it is encrypted with"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", r"in another region.*set AWS_DEFAULT_REGION"),
        ("405 Method Not Allowed", "MethodNotAllowed", r"has no such object"),
        ("407 Proxy Authentication Required", "407", r"is reached by a proxy that asks for a name and a password"),
        ("418 I'm a teapot", "Teapot", r"answers 418 \(Teapot\): check MODE, DATASET and SOURCE"),
    ],
)
def test_what_the_store_refuses_is_told_with_its_remedy_and_the_stores_words(
    stored: Stored, status: str, code: str, message: str
) -> None:
    words = f"It is so.&#8238; {'k' * 60}"
    answer = refusal(status, code, words)
    with (
        proxy_to(stored.server.endpoint_url, refusing(answer, lambda _: True)) as proxy,
        pytest.raises(SourceError, match=rf'{message}.*; it says "It is so\.\\u202e …"$') as caught,
    ):
        look_at(stored.client(proxy.endpoint_url), stored.bucket, stored.key)
    assert "\n" not in str(caught.value)


PAGE = b"Content-Type: text/html\r\nContent-Length: 27\r\n\r\n<html>Please sign in</html>"
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(OK + PAGE, "does not say which version", id="a page to sign in"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: /in\r\n\r\n", "no request|answers 302", id="a redirection"),
        pytest.param(b"HTTP/1.1 502 Bad Gateway\r\n" + PAGE, "keeps answering 502", id="a gateway"),
        pytest.param(OK + b'ETag: "a"\r\nContent-Length: x\r\n\r\n', "no request|say", id="a size that is none"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "check the network and AWS_ENDPOINT_URL", id="another protocol"),
        pytest.param(OK + b"X: y\r\n" * 200 + b"\r\n", "AWS_", id="many headers"),
    ],
)
def test_whatever_answers_in_place_of_a_store_is_explained(stored: Stored, answer: bytes, message: str) -> None:
    def spoil(_connection: int, before: int, _data: bytes) -> bytes:
        return b"" if before else answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)

    with (
        proxy_to(stored.server.endpoint_url, spoil) as proxy,
        pytest.raises(PipelineError, match=message) as caught,
    ):
        look_at(stored.client(proxy.endpoint_url), stored.bucket, stored.key)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "token"),
    [("http://127.0.0.1:9", "hushhush\n"), ("http://me:hushhush@127.0.0.1:9", "x")],
)
def test_a_secret_is_in_no_message_and_no_traceback(stored: Stored, endpoint: str, token: str) -> None:
    client = boto3.client("s3", endpoint_url=endpoint, aws_session_token=token, **KEYS)
    with pytest.raises(PipelineError) as caught:
        look_at(client, stored.bucket, stored.key)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hush" not in shown
    assert "botocore" in shown  # where it was raised


def test_a_fault_of_our_own_stays_what_it_is() -> None:
    with pytest.raises(KeyError, match="ours"), s3_errors("s3://bucket/key"):
        raise KeyError("ours")


@pytest.mark.parametrize("setting", [{"AWS_MAX_ATTEMPTS": "x"}, {"AWS_RETRY_MODE": "x"}])
def test_a_setting_that_boto3_cannot_use_is_a_mistake_in_the_settings(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, str]
) -> None:
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(SettingsError, match=r"check AWS_\* in the environment, .*~/\.aws/config"),
        s3_errors("s3://b/k"),
    ):
        boto3.client("s3", endpoint_url="https://127.0.0.1:9", **KEYS).list_buckets()


def test_a_proxy_of_the_environment_that_does_not_answer_is_named_without_its_password(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hushhush@localhost:{free_port()}")
    client = stored.client("http://s3.invalid:9000")
    with pytest.raises(SourceError, match=r"the proxy localhost that the environment names \(NO_PROXY") as caught:
        look_at(client, stored.bucket, stored.key)
    assert "hush" not in str(caught.value)
