from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from extract import steps
from pipeline.errors import ArchiveError, DatabaseError, PipelineError
from pipeline.mysql import connect
from pipeline.settings import MysqlSettings, Settings, load_settings
from tests import manifests
from tests.integration.extract.conftest import Stored
from tests.integration.extract.proxy import CutError, is_head, proxy_to, refusal
from tests.ports import free_port
from tests.unit.extract.archives import COMMON, SKELETON, Entry, archive_of

SAMPLES = b"1,0,0,bacff91692951881,1,301\x029351665\x031.0\n" * 5_000
GOOD = archive_of(Entry(SKELETON, SAMPLES), Entry(COMMON, b"bacff91692951881,0,"))


@pytest.fixture
def project(tmp_path: Path, root: Path, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline.yml that downloads and unpacks from the real S3 server."""
    declared = yaml.safe_load((root / "pipeline.yml").read_text())
    stored.key = "development/taobao_train.tar.gz"
    declared["source"]["bucket"] = stored.bucket
    declared["databases"]["development"] = f"landing_{uuid.uuid4().hex[:12]}_{{data_set}}"
    declared["extract"] = [step for step in declared["extract"] if step["name"] in ("download", "unpack")]
    (tmp_path / "pipeline.yml").write_text(yaml.safe_dump(declared, sort_keys=False))
    for name, value in environ_of(stored).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def environ_of(stored: Stored, endpoint_url: str | None = None) -> dict[str, str]:
    return manifests.environ_of(stored.server) | ({"AWS_ENDPOINT_URL": endpoint_url} if endpoint_url else {})


@pytest.fixture
def settings(project: Path, mysql: MysqlSettings) -> Iterator[Settings]:
    settings = replace(load_settings(root=project), mysql=mysql)
    yield settings
    with closing(connect(mysql)) as connection, connection.cursor() as cursor:
        for database in (settings.database, settings.staging_database):
            cursor.execute(f"drop database if exists `{database}`")


def assets(settings: Settings) -> dict[str, tuple[Any, ...]]:
    with (
        closing(connect(settings.mysql, database=settings.staging_database)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("select uri, etag, size_bytes, sha256, num_rows, landed_at from asset")
        return {row[0]: row[1:] for row in cursor.fetchall()}


def test_the_steps_land_the_data_and_record_it_and_then_find_nothing_to_do(
    settings: Settings, stored: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.put(GOOD)
    steps.run(settings)
    assert settings.member_path("sample").read_bytes() == SAMPLES
    assert settings.member_path("common_feature").read_bytes() == b"bacff91692951881,0,"
    recorded = assets(settings)
    uri = f"s3://{stored.bucket}/development/taobao_train.tar.gz"
    assert {name: row[1:2] + row[3:4] for name, row in recorded.items()} == {
        uri: (len(GOOD), None),
        f"{uri}#{SKELETON}": (len(SAMPLES), 5_000),
        f"{uri}#{COMMON}": (19, 1),
    }
    first = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in first] == [
        "extract train, development",
        "[1/2] download",
        "[2/2] unpack",
        "extract train, development",
    ]
    steps.run(settings)
    again = capsys.readouterr().out.splitlines()
    assert again[1].startswith("[1/2] download: skipped")
    assert again[2].startswith("[2/2] unpack: skipped")
    assert assets(settings) == recorded


def test_force_does_every_step_again(settings: Settings, stored: Stored) -> None:
    stored.put(GOOD)
    steps.run(settings)
    before = assets(settings)
    steps.run(replace(settings, force=True))
    after = assets(settings)
    assert before.keys() == after.keys()
    assert all(after[uri][-1] > before[uri][-1] for uri in before)
    assert all(after[uri][:-1] == before[uri][:-1] for uri in before)


def test_a_registry_that_was_lost_is_filled_again_without_a_download(settings: Settings, stored: Stored) -> None:
    stored.put(GOOD)
    steps.run(settings)
    before = assets(settings)
    with closing(connect(settings.mysql)) as connection, connection.cursor() as cursor:
        cursor.execute(f"drop database `{settings.staging_database}`")
    steps.run(settings)
    assert assets(settings) == before


def test_a_new_object_replaces_what_came_of_the_old_one(settings: Settings, stored: Stored) -> None:
    stored.put(GOOD)
    steps.run(settings)
    stored.put(archive_of(Entry(SKELETON, b"other"), Entry(COMMON, b"")))
    steps.run(settings)
    assert settings.member_path("sample").read_bytes() == b"other"
    assert settings.member_path("common_feature").read_bytes() == b""


def test_a_damaged_archive_stops_the_run_with_the_steps_name_and_no_csv(settings: Settings, stored: Stored) -> None:
    stored.put(GOOD[:-20])
    with pytest.raises(ArchiveError, match=r"^unpack: .*taobao_train.tar.gz is truncated: it ends at byte .*FORCE=1"):
        steps.run(settings)
    assert list(settings.unpacked_folder.iterdir()) == []
    stored.put(GOOD)
    steps.run(settings)
    assert settings.member_path("sample").read_bytes() == SAMPLES


def test_an_archive_that_was_spoiled_on_the_disk_is_downloaded_anew_by_the_same_command(
    settings: Settings, stored: Stored
) -> None:
    stored.put(GOOD)
    steps.run(settings, only="download")
    with settings.archive_path.open("r+b") as file:
        file.seek(len(GOOD) // 2)
        file.write(b"spoiled")
    steps.run(settings)
    assert settings.member_path("sample").read_bytes() == SAMPLES


def test_one_step_runs_alone(settings: Settings, stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    stored.put(GOOD)
    steps.run(settings, only="download")
    assert settings.archive_path.exists()
    assert not settings.unpacked_folder.exists()
    assert "[1/1] download" in capsys.readouterr().out


def test_unpack_alone_says_that_nothing_has_landed(settings: Settings) -> None:
    with pytest.raises(ArchiveError, match="has not landed: run make extract"):
        steps.run(settings, only="unpack")


def test_a_server_that_is_not_there_is_found_out_before_anything_is_downloaded(project: Path) -> None:
    closed = MysqlSettings(host="127.0.0.1", port=free_port(), user="x", password="y", unix_socket=Path("x"))
    settings = replace(load_settings(root=project), mysql=closed)
    with pytest.raises(DatabaseError, match="check MYSQL_HOST"):
        steps.run(settings)
    embedded = load_settings(root=project)
    with pytest.raises(DatabaseError, match="run make up"):
        steps.run(embedded)
    assert [path for path in settings.archives_folder.iterdir() if not path.name.endswith(".lock")] == []


def test_a_second_run_of_the_same_data_set_refuses_while_the_first_goes_on(project: Path) -> None:
    settings = load_settings(root=project)
    with steps.only_run(settings):
        with pytest.raises(
            PipelineError, match=rf"another make extract or make sample is landing train.*process {os.getpid()}"
        ):
            steps.run(settings)
        other = load_settings(root=project, environ={}, data_set="test")
        with pytest.raises(DatabaseError):
            steps.run(other)


def run_command(
    project: Path, environ: dict[str, str], *, root: Path, module: str = "extract.__main__"
) -> subprocess.Popen[str]:
    """Start `python -m extract`, or another command, on another folder than the project's own."""
    program = f"""
import functools
from pathlib import Path
from extract import download
from {module} import main
from pipeline.interrupt import run_main
from pipeline import settings
settings.load_settings = functools.partial(settings.load_settings, root=Path({str(project)!r}))
download.SECONDS_BETWEEN_JOURNALS = 0.1
run_main(lambda: main([]))
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=root,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environ_of_mysql(mysql: MysqlSettings) -> dict[str, str]:
    return {
        "MYSQL_HOST": "127.0.0.1",
        "MYSQL_PORT": str(mysql.port),
        "MYSQL_USER": mysql.user,
        "MYSQL_PASSWORD": mysql.password,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "refuses the credentials (SignatureDoesNotMatch): check AWS_"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "refuses the credentials (InvalidAccessKeyId): check AWS_"),
        (
            {"AWS_ENDPOINT_URL": "http://user:hidden@127.0.0.1:1"},
            "does not answer (EndpointConnectionError): check the",
        ),
        ({"bucket": "no-such-bucket"}, "has no bucket no-such-bucket (NoSuchBucket): check SOURCE, source.bucket"),
        ({"key": "is removed"}, "has no such object (NoSuchKey): check MODE, DATASET and SOURCE"),
    ],
)
def test_a_source_that_cannot_be_read_ends_the_command_in_one_line(
    project: Path, stored: Stored, mariadb_by_tcp: MysqlSettings, root: Path, change: dict[str, str], message: str
) -> None:
    environ = {**environ_of(stored), **environ_of_mysql(mariadb_by_tcp)}
    environ |= {name: value for name, value in change.items() if name.startswith("AWS_")}
    stored.put(GOOD)
    if "key" in change:
        stored.client().delete_object(Bucket=stored.bucket, Key=stored.key)
    if "bucket" in change:
        declared = yaml.safe_load((project / "pipeline.yml").read_text())
        declared["source"]["bucket"] = change["bucket"]
        (project / "pipeline.yml").write_text(yaml.safe_dump(declared, sort_keys=False))
    with run_command(project, environ, root=root) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("error: download: s3://")
    assert message in errors
    assert errors.count("\n") == 1
    secrets = ("wrong-secret", "hidden", stored.server.access.secret_access_key, mariadb_by_tcp.password)
    assert not any(secret in errors for secret in secrets)
    assert not list((project / "data").rglob("*.part*"))


@pytest.mark.parametrize("module", ["extract.__main__", "extract.sample"])
def test_a_command_that_failed_does_not_wait_for_a_network_that_is_gone(
    project: Path, stored: Stored, mariadb_by_tcp: MysqlSettings, root: Path, module: str
) -> None:
    """One connection is refused while the others are silent, which they may be for 30 s."""
    stored.put(archive_of(Entry(SKELETON, os.urandom(40 << 20)), Entry(COMMON, b"x\n")))
    silent: set[int] = set()
    ended = threading.Event()

    def spoil(connection: int, before: int, data: bytes) -> bytes:
        if len(silent) < 3 and before > 1_000_000:
            silent.add(connection)
        if connection in silent:
            ended.wait(120)
            raise CutError
        return refusal("403 Forbidden", "AccessDenied") if len(silent) == 3 and is_head(data) else data

    with proxy_to(stored.server.endpoint_url, spoil) as proxy:
        environ = {**environ_of(stored, proxy.endpoint_url), **environ_of_mysql(mariadb_by_tcp)}
        with run_command(project, environ, root=root, module=module) as process:
            assert process.stderr
            assert "does not let you read it (AccessDenied)" in process.stderr.readline()
            said = time.monotonic()
            assert process.wait(60) == 1
            assert time.monotonic() - said < 5
        ended.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_download_is_answered_and_the_next_run_continues(
    project: Path, stored: Stored, mariadb_by_tcp: MysqlSettings, root: Path, number: signal.Signals
) -> None:
    carrying: list[int] = []

    def slow(connection: int, before: int, data: bytes) -> bytes:
        """One connection fetches the first part at once; the rest of a part takes most of a minute."""
        if before > 1 << 20:
            carrying.append(connection)
            time.sleep(0 if connection == carrying[0] and before < 9 << 20 else 0.1)
        return data

    noise = os.urandom(24 << 20)
    stored.put(archive_of(Entry(SKELETON, noise), Entry(COMMON, b"x\n")))
    mysql = environ_of_mysql(mariadb_by_tcp)
    journal = project / "data/development/archives/taobao_train.tar.gz.part.json"
    with proxy_to(stored.server.endpoint_url, slow) as proxy:
        with run_command(project, {**environ_of(stored, proxy.endpoint_url), **mysql}, root=root) as process:
            deadline = time.monotonic() + 20
            while not (journal.exists() and "[\n  " in journal.read_text()) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert process.poll() is None
            begun = time.monotonic()
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert time.monotonic() - begun < 10
        assert process.returncode == 128 + number
        assert errors.splitlines()[-1] == "interrupted: run the same command again, it continues where this one stopped"
    with run_command(project, {**environ_of(stored), **mysql}, root=root) as process:
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert "the download goes on" in output
    assert (project / "data/development/unpacked" / SKELETON).read_bytes() == noise
