"""What a landed file's manifest says is believed while the file is the one that landed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline import landed as landed_module
from pipeline.landed import manifest_path, read_manifest, write_manifest
from tests.manifests import asset_of

CONTENT = b"what was unpacked\n" * 10
# Longer than a tick of the clock that files get their times from.
SECONDS_APART = 0.05


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that has landed a while ago."""
    path = tmp_path / "some.csv"
    path.write_bytes(CONTENT)
    time.sleep(SECONDS_APART)
    write_manifest(path, asset_of(path))
    time.sleep(SECONDS_APART)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read for their checksum."""
    found: list[Path] = []
    verify = landed_module._verify

    def watched(path: Path, sha256: str) -> bool:
        found.append(path)
        return verify(path, sha256)

    monkeypatch.setattr(landed_module, "_verify", watched)
    return found


def test_an_untouched_file_is_believed_unread(path: Path, reads: list[Path]) -> None:
    assert read_manifest(path) is not None
    assert reads == []


def test_other_content_of_the_same_size_has_not_landed_whatever_its_times_say(path: Path) -> None:
    times = path.stat()
    path.write_bytes(CONTENT.replace(b"was", b"now"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert read_manifest(path) is None
    assert read_manifest(path) is None


def test_a_file_put_in_place_of_the_landed_one_has_not_landed(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(CONTENT.replace(b"was", b"now"))
    other.replace(path)

    assert read_manifest(path) is None


def test_a_touched_file_of_the_right_content_is_read_once(path: Path, reads: list[Path]) -> None:
    path.chmod(0o640)
    time.sleep(SECONDS_APART)

    assert read_manifest(path) is not None
    assert reads == [path]
    assert read_manifest(path) is not None
    assert reads == [path]


def test_a_quick_look_reads_nothing(path: Path, reads: list[Path]) -> None:
    path.write_bytes(CONTENT.replace(b"was", b"now"))

    assert read_manifest(path, verify=False) is not None
    assert reads == []


def test_a_manifest_that_cannot_be_touched_stops_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    path.chmod(0o640)
    monkeypatch.setattr(os, "utime", refuse)
    assert read_manifest(path) is not None
    assert manifest_path(path).exists()
