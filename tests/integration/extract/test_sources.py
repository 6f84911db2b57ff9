"""The files that people have: archives and CSV files of this machine, made by the tar program."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from extract import bucket as bucket_module
from extract import local, steps
from pipeline import csv_files, s3
from pipeline.errors import ArchiveError, MissingObjectError, PipelineError, SettingsError, SourceError
from pipeline.landed import file_of, read_manifest
from pipeline.lines import Lines
from pipeline.mysql import connect
from pipeline.s3 import RemoteObject
from pipeline.settings import RECORD_KINDS, MysqlSettings, Settings, load_settings
from tests.integration.extract.conftest import Stored
from tests.integration.extract.test_steps import assets, environ_of
from tests.manifests import asset_of
from tests.ports import free_port
from tests.unit.extract.archives import COMMON, SKELETON, Entry, archive_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SAMPLES = b"1,0,0,bacff91692951881,1,301\x029351665\x031.0\n" * 5_000
GROUPS = b"bacff91692951881,0,"

Configure = Callable[..., Settings]


@pytest.fixture
def configure(tmp_path: Path, root: Path, mysql_by_socket: MysqlSettings) -> Iterator[Configure]:
    """Settings of a run that downloads and unpacks what SOURCE names."""
    project = tmp_path / "project"
    project.mkdir()
    declared = yaml.safe_load((root / "pipeline.yml").read_text())
    declared["databases"]["development"] = f"sources_{uuid.uuid4().hex[:12]}_{{data_set}}"
    declared["extract"] = [step for step in declared["extract"] if step["name"] in ("download", "unpack")]
    (project / "pipeline.yml").write_text(yaml.safe_dump(declared, sort_keys=False))
    made: list[Settings] = []

    def load(source: Path | str, *, force: bool = False, data_set: str = "train", **environ: str) -> Settings:
        environ = {"SOURCE": str(source), **environ}
        settings = load_settings(root=project, environ=environ, force=force, data_set=data_set)
        made.append(replace(settings, mysql=mysql_by_socket))
        return made[-1]

    yield load
    with closing(connect(mysql_by_socket)) as connection, connection.cursor() as cursor:
        for database in {name for each in made for name in (each.database, each.staging_database)}:
            cursor.execute(f"drop database if exists `{database}`")


def write_files(folder: Path, data_set: str = "train", samples: bytes = SAMPLES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SKELETON.replace("train", data_set)).write_bytes(samples)
    (folder / COMMON.replace("train", data_set)).write_bytes(GROUPS)
    return folder


def write_archive(path: Path, *options: str, data_set: str = "train", samples: bytes = SAMPLES) -> Path:
    """Pack the two files as the publisher has, in a folder, by the tar program."""
    content = write_files(path.parent / f".{path.name}", data_set, samples)
    names = sorted(each.name for each in content.iterdir())
    subprocess.run(["tar", "--create", *options, "--file", path, *names], cwd=content, check=True)
    for each in content.iterdir():
        each.unlink()
    content.rmdir()
    return path


def landed(settings: Settings) -> list[bytes]:
    """The CSV files that the explode would read."""
    found = []
    for kind in RECORD_KINDS:
        asset = read_manifest(settings.member_path(kind))
        assert asset is not None
        found.append(file_of(settings.member_path(kind), asset).read_bytes())
    return found


def content_of(folder: Path) -> dict[str, tuple[int, int]]:
    """What is in a folder, with the times at which it was changed."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("data_set", ["train", "test"])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("sample_{}.tar.gz", "--gzip"),
        ("sample_{}.tgz", "--gzip"),
        ("sample_{}.tar", "--format=gnu"),
        ("taobao_{}.tar.gz", "--format=pax"),  # a browser has inflated it
    ],
)
def test_an_archive_in_a_folder_nobody_may_write_is_read_where_it_is(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, option: str, data_set: str
) -> None:
    folder = tmp_path / "Meine Dateien, größere"
    folder.mkdir()
    archive = write_archive(folder / name.format(data_set), option, data_set=data_set)
    folder.chmod(0o500)
    before = content_of(folder)

    settings = configure(folder, data_set=data_set)
    steps.run(settings)
    first = capsys.readouterr().out
    recorded = assets(settings)
    steps.run(settings)
    second = capsys.readouterr().out

    assert landed(settings) == [SAMPLES, GROUPS]
    assert content_of(folder) == before
    assert not settings.archive_path.exists()
    assert f"extract {data_set}, development: {archive} (SOURCE names it)" in first
    assert second.count("skipped") == 2
    assert assets(settings) == recorded
    assert len(recorded) == 3
    assert all(uri.startswith("file:///") and uri.isascii() for uri in recorded)


@pytest.mark.parametrize("below", ["", "sample_train", "unpacked/sample_train"])
def test_files_that_are_unpacked_already_are_read_where_they_are(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str
) -> None:
    folder = write_files(tmp_path / "data" / below)
    write_files(tmp_path / "data" / "sample_test", "test", b"")
    before = content_of(tmp_path / "data")

    settings = configure(tmp_path / "data")
    steps.run(settings)
    steps.run(settings)
    printed = capsys.readouterr().out

    assert landed(settings) == [SAMPLES, GROUPS]
    assert content_of(tmp_path / "data") == before
    assert not list(settings.unpacked_folder.glob("*.csv"))
    assert "kB in 2 files, 5,001 lines, where they are, " in printed
    assert "kB in 2 files, 5,001 lines, read before" in printed
    recorded = {uri: row[2:4] for uri, row in assets(settings).items()}
    sha256 = hashlib.sha256(SAMPLES).hexdigest()
    assert recorded[f"file://{folder / SKELETON}"] == (sha256, 5_000)
    assert len(recorded) == 2


def test_a_file_that_was_put_in_the_place_of_another_is_read_and_force_reads_all(
    configure: Configure, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "data")
    settings = configure(folder)
    steps.run(settings)
    (folder / SKELETON).unlink()
    other = SAMPLES.replace(b"1.0", b"2.0")
    write_files(folder, samples=other)
    steps.run(settings)
    assert landed(settings) == [other, GROUPS]

    stat = (folder / SKELETON).stat()
    with (folder / SKELETON).open("r+b") as file:  # the same inode, size and time
        file.write(SAMPLES)
    os.utime(folder / SKELETON, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    steps.run(configure(folder, force=True))
    recorded = {uri: row[2] for uri, row in assets(settings).items()}
    assert recorded[f"file://{folder / SKELETON}"] == hashlib.sha256(SAMPLES).hexdigest()


def test_the_md5_beside_an_archive_is_held_against_it(configure: Configure, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "sample_train.tar.gz", "--gzip")
    sums = tmp_path / "sample_train.tar.gz.md5"
    sums.write_text(f"{hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()} *sample_train.tar.gz\n")
    settings = configure(archive)
    steps.run(settings)
    assert landed(settings) == [SAMPLES, GROUPS]

    sums.write_text("0" * 32)
    with pytest.raises(ArchiveError, match=r"sample_train\.tar\.gz is not what sample_train\.tar\.gz\.md5 says: put"):
        steps.run(settings)
    assert archive.exists()
    assert read_manifest(settings.member_path("sample")) is None
    sums.write_text("no sum at all")
    with pytest.raises(ArchiveError, match=r"sample_train\.tar\.gz\.md5 has no MD5 sum"):
        steps.run(settings)


def test_a_damaged_archive_is_told_and_stays_where_it_is(configure: Configure, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "sample_train.tar.gz", "--gzip", samples=os.urandom(1 << 16).hex().encode())
    archive.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(ArchiveError, match=r"is truncated.*: put a good one there, or name another by SOURCE"):
        steps.run(configure(archive))
    assert archive.exists()


def test_of_several_the_one_that_the_rule_names_is_taken_and_the_others_are_told(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "data" / "csv", samples=b"")
    write_archive(tmp_path / "data" / "sample_train.tgz", "--gzip", samples=b"")
    write_archive(tmp_path / "data" / "sample_train.tar.gz", "--gzip")
    settings = configure(tmp_path / "data")
    steps.run(settings)
    assert landed(settings) == [SAMPLES, GROUPS]
    others = f"{tmp_path / 'data' / 'sample_train.tgz'}, {tmp_path / 'data' / 'csv'}"
    assert f"  also there, and not taken: {others} (docs/sources.md" in capsys.readouterr().out


def test_a_source_that_has_nothing_of_the_data_set_is_a_mistake_in_the_settings(
    configure: Configure, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"holds no archive of train \(taobao_train\.tar\.gz, sample_train\.tar"):
        steps.check(configure(tmp_path), None)
    archive = write_archive(tmp_path / "sample_test.tar.gz", "--gzip", data_set="test")
    with pytest.raises(SettingsError, match=r"sample_test\.tar\.gz is the archive of test: set DATASET=test"):
        steps.check(configure(archive), None)
    with pytest.raises(SettingsError, match=r"expected generated, s3, s3://bucket/prefix, or a folder or an archive"):
        configure(tmp_path / "nowhere")


def test_other_files_are_no_files_of_the_source(configure: Configure, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "sample_train.tar.gz", "--gzip")
    folder = write_files(tmp_path / "csv", samples=SAMPLES * 2)
    steps.run(configure(archive))
    steps.run(configure(folder))
    assert landed(configure(folder)) == [SAMPLES * 2, GROUPS]
    steps.run(configure(archive))
    assert landed(configure(archive)) == [SAMPLES, GROUPS]
    assert sorted(path.name for path in folder.iterdir()) == sorted([SKELETON, COMMON])


def test_a_file_that_changes_while_it_is_read_is_not_believed(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_files(tmp_path / "csv")

    class Changing(Lines):
        def update(self, data: bytes) -> None:
            super().update(data)
            (folder / SKELETON).write_bytes(SAMPLES + SAMPLES)

    monkeypatch.setattr(local, "Lines", Changing)
    with pytest.raises(PipelineError, match="has changed while it was read: run the same command again"):
        steps.run(configure(folder))
    assert read_manifest(configure(folder).member_path("sample")) is None


def test_a_large_file_is_skipped_without_being_read(configure: Configure, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "csv", samples=b"1," + b"x" * (200 << 20) + b"\n")
    steps.run(configure(folder))
    begun = time.process_time()
    steps.run(configure(folder))
    assert time.process_time() - begun < 1


def test_a_bucket_may_have_the_archive_by_any_of_its_names(
    configure: Configure, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.key = "some/where/sample_train.tar.gz"
    stored.put(gzip.compress(write_archive(tmp_path / "plain.tar").read_bytes()))
    for name, value in environ_of(stored).items():
        monkeypatch.setenv(name, value)
    settings = configure(f"s3://{stored.bucket}/some/where", **environ_of(stored))
    steps.run(settings)
    assert landed(settings) == [SAMPLES, GROUPS]
    assert f"s3://{stored.bucket}/some/where/sample_train.tar.gz" in assets(settings)


@pytest.fixture
def in_bucket(configure: Configure, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Puts objects below a prefix of the test's own, and gives the settings of a run that reads there."""
    environ, prefix = environ_of(stored), uuid.uuid4().hex
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def put(force: bool = False, **contents: bytes) -> Settings:
        for name, content in contents.items():
            stored.key = f"{prefix}/{name}"
            stored.put(content)
        return configure(f"s3://{stored.bucket}/{prefix}", force=force, **environ)

    return put


@pytest.mark.parametrize(
    ("below", "may_list"), [("", True), ("", False), ("sample_train/", True), ("csv/train/", True)]
)
def test_files_that_are_unpacked_in_a_bucket_are_read_where_they_are(
    in_bucket: Callable[..., Settings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    below: str,
    may_list: bool,
) -> None:
    settings = in_bucket(**{f"{below}{SKELETON}": SAMPLES, f"{below}{COMMON}": GROUPS, f"a/b/c/{SKELETON}": b""})
    if below:
        in_bucket(**{f"z/{below}{SKELETON}": b"", f"z/{below}{COMMON}": b"", f"{below[:-1]}-2/{SKELETON}": b""})
    if not may_list:
        monkeypatch.setattr(bucket_module, "_search", refuse)
    steps.run(settings)
    first = capsys.readouterr().out
    steps.run(settings)
    second = capsys.readouterr().out

    where = f"s3://{settings.source.bucket}/{settings.source.prefix}/{below}".removesuffix("/")
    assert first.startswith(f"extract train, development: {where} (SOURCE is ")
    assert f"[1/2] download: nothing to download: the CSV files in {where} are read where they are" in first
    assert "kB in 2 files, 5,001 lines, where they are, " in first
    assert "kB in 2 files, 5,001 lines, read before" in second
    assert [path.name for path in settings.root.rglob("*.csv")] == []
    recorded = {uri: row[2:4] for uri, row in assets(settings).items()}
    assert recorded == {
        f"{where}/{SKELETON}": (hashlib.sha256(SAMPLES).hexdigest(), 5_000),
        f"{where}/{COMMON}": (hashlib.sha256(GROUPS).hexdigest(), 1),
    }
    write_files(tmp_path / "here")
    for kind, name in settings.data_set.members.items():
        asset = read_manifest(settings.member_path(kind))
        assert asset is not None
        assert asset.marks == asset_of(tmp_path / "here" / name, grain=4 << 10).marks


def refuse(_client: object, settings: Settings) -> None:
    raise MissingObjectError(f"{settings.archive_uri}: the store does not let you list it")


def test_an_object_that_is_replaced_is_read_anew_and_force_reads_all(
    in_bucket: Callable[..., Settings], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"one/{SKELETON}": SAMPLES, f"one/{COMMON}": GROUPS, f"two/{SKELETON}": b"", f"two/{COMMON}": b""}
    settings = in_bucket(**files)
    steps.run(settings)
    assert f"  also there, and not taken: s3://{settings.source.bucket}/{settings.source.prefix}/two (docs" in (
        capsys.readouterr().out
    )
    other = SAMPLES.replace(b"1.0", b"2.0")
    steps.run(in_bucket(**{f"one/{SKELETON}": other}))
    assert hashlib.sha256(other).hexdigest() in {row[2] for row in assets(settings).values()}

    class Replacing(Lines):
        def update(self, data: bytes) -> None:
            super().update(data)
            in_bucket(**{f"one/{SKELETON}": SAMPLES})

    with monkeypatch.context() as patch:
        patch.setattr(local, "Lines", Replacing)
        patch.setattr(local, "_READ", 4096)
        patch.setattr(csv_files, "_READ_AHEAD", 4096)
        with pytest.raises(SourceError, match=r"^unpack: s3://\S+ was replaced meanwhile: run the same"):
            steps.run(in_bucket(force=True))
    steps.run(in_bucket(force=True))
    assert hashlib.sha256(SAMPLES).hexdigest() in {row[2] for row in assets(settings).values()}
    # An archive goes before them.
    steps.run(in_bucket(**{"sample_train.tar": archive_of(Entry(SKELETON, other), Entry(COMMON, GROUPS))}))
    assert landed(settings) == [other, GROUPS]


def test_a_folder_of_a_bucket_that_has_nothing_is_told_in_one_line(in_bucket: Callable[..., Settings]) -> None:
    message = (
        r"^download: s3://\S+/taobao_train\.tar\.gz: http\S+ has no such object \(\w+\): [^\n]*; nor is another archive"
        r" of train there \(sample_train\.tar\.gz, .*\), or, there or in a folder below, sample_skeleton_train\.csv and"
    )
    with pytest.raises(SourceError, match=message):
        steps.run(in_bucket(**{f"one/{SKELETON}": SAMPLES, f"two/{COMMON}": GROUPS}))


def test_a_store_that_does_not_answer_is_not_asked_for_every_name(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def look_at(client: S3Client, bucket: str, key: str) -> RemoteObject:
        asked.append(key)
        return s3.look_at(client, bucket, key)

    monkeypatch.setattr(bucket_module, "look_at", look_at)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "some")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SourceError, match="does not answer"):
        steps.run(configure("s3://bucket/prefix"))
    assert set(asked) == {"prefix/taobao_train.tar.gz"}
