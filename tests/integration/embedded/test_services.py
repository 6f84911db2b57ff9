"""`up`, `status`, `fill` and `down` in a project folder of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from embedded import services
from embedded.running import stop_services
from pipeline.errors import ServiceError, UsageError
from pipeline.mysql import connect
from pipeline.settings import Settings, load_settings
from pipeline.source import find_source, open_client

KEY = "development/taobao_train.tar.gz"


@pytest.fixture(scope="module")
def settings(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A project of its own, set up but not started."""
    project = tmp_path_factory.mktemp("project")
    shutil.copy(root / "pipeline.yml", project)
    (project / ".embedded").mkdir()
    (project / ".embedded" / "mysql").symlink_to(root / ".embedded" / "mysql")
    own = load_settings(root=project, environ={})
    yield own
    stop_services(own.embedded_dir, print)


def run_up(settings: Settings) -> list[str]:
    lines: list[str] = []
    services.start_services(settings, lines.append)
    return lines


def test_up_starts_both_servers_and_fills_the_bucket(settings: Settings) -> None:
    lines = run_up(settings)
    assert lines[-1] == "S3: generated data (0.1 % of Ali-CCP)"
    connect(settings.mysql).close()
    archive = open_client(find_source(settings)).get_object(Bucket=settings.source.bucket, Key=KEY)["Body"]
    assert archive.read(2) == b"\x1f\x8b"
    assert (settings.embedded_dir / "services.json").stat().st_mode & 0o777 == 0o600


def test_what_reads_no_archive_starts_mysql_alone(settings: Settings) -> None:
    stop_services(settings.embedded_dir, print)
    lines: list[str] = []
    services.start_services(settings, lines.append, with_source=False)
    assert [line.split(":")[0] for line in lines] == ["MySQL"]
    assert [service.is_running for service in services.find_services(settings)] == [True, False]


def test_a_second_up_finds_everything_running(settings: Settings) -> None:
    run_up(settings)
    second = run_up(settings)
    assert len(second) == 3
    assert " running, socket " in second[0]
    assert " running, http://127.0.0.1:" in second[1]


def test_a_data_set_that_nothing_generates_is_named_and_keeps_no_other_from_being_there(settings: Settings) -> None:
    more = {**settings.data_sets, "other": replace(settings.data_sets["train"], name="other", archive="other.tar.gz")}
    lines = run_up(replace(settings, data_sets=more))

    assert "S3: s3://deepcvr-data/development/other.tar.gz is not there, nor generated" in lines
    assert lines[-1] == "S3: generated data (0.1 % of Ali-CCP)"


def test_status_tells_what_runs(settings: Settings) -> None:
    run_up(settings)
    mysql, s3 = (service.line for service in services.find_services(settings))
    assert mysql.startswith("MySQL: M")
    assert " running since " in mysql
    assert " of data" in s3


def test_fill_replaces_archives_only_when_forced(settings: Settings) -> None:
    run_up(settings)
    client = open_client(find_source(settings))
    before = client.head_object(Bucket=settings.source.bucket, Key=KEY)["ETag"]
    services.fill_bucket(settings, print, scale=0.0001, seed=1, force=False)
    assert client.head_object(Bucket=settings.source.bucket, Key=KEY)["ETag"] == before
    lines: list[str] = []
    services.fill_bucket(settings, lines.append, scale=0.0001, seed=1, force=True)
    assert client.head_object(Bucket=settings.source.bucket, Key=KEY)["ETag"] != before
    assert lines[-1] == "the embedded S3 server holds 0.01 % of Ali-CCP"


def test_down_stops_both_and_says_so_once(settings: Settings) -> None:
    run_up(settings)
    lines: list[str] = []
    stop_services(settings.embedded_dir, lines.append)
    assert [line.split(" in ")[0] for line in lines] == ["S3: stopped", "MySQL: stopped"]
    again: list[str] = []
    stop_services(settings.embedded_dir, again.append)
    assert again == []
    assert [service.line.split(",")[0] for service in services.find_services(settings)] == [
        "MySQL: not running",
        "S3: not running",
    ]
    with pytest.raises(ServiceError, match="run make up"):
        find_source(settings)


def test_a_source_of_the_users_own_is_neither_started_nor_filled(settings: Settings, root: Path) -> None:
    stop_services(settings.embedded_dir, print)
    theirs = replace(settings, source=load_settings(root=root, environ={"SOURCE": "s3"}).source)
    lines = run_up(theirs)
    assert len(lines) == 1
    assert lines[0].startswith("MySQL: ")
    with pytest.raises(UsageError, match=r"the source is not the embedded server \(SOURCE is s3\)"):
        services.fill_bucket(theirs, print, scale=0.0001, seed=1, force=True)
