from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from embedded.status import DataSetStatus, as_json, lines_of, next_command, read_status
from pipeline.landed import Asset, manifest_path, part_path, write_manifest
from pipeline.settings import RECORD_KINDS, Settings, load_settings

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def settings(root: Path, tmp_path: Path) -> Settings:
    (tmp_path / "pipeline.yml").write_text((root / "pipeline.yml").read_text())
    return load_settings(root=tmp_path, environ={})


def status_of(settings: Settings) -> DataSetStatus:
    return read_status(settings, has_server=False).data_sets[0]


def land_archive(settings: Settings) -> None:
    path = settings.archive_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"archive")
    write_manifest(path, Asset(settings.archive_uri, "etag", 7, WHEN, "a" * 64))


def test_where_nothing_was_done_everything_is_to_be_done_and_one_command_does_it(settings: Settings) -> None:
    status = read_status(settings, has_server=False)

    assert status.problem is None
    assert len(status.data_sets) == 4
    assert {stage.state for one in status.data_sets for stage in one.stages} == {"no"}
    assert list(lines_of(status, settings))[-1] == "next for train, development: make run"
    assert next_command(status.data_sets[3]) == "make run DATASET=test MODE=production"
    assert [one["next"] for one in as_json(status)["data_sets"]] == list(map(next_command, status.data_sets))
    assert not list(settings.root.rglob("data"))


def test_a_download_that_was_cut_tells_its_share(settings: Settings) -> None:
    part = part_path(settings.archive_path)
    part.parent.mkdir(parents=True)
    part.touch()
    journal = {"etag": "e", "size_bytes": 4_000_000, "part_bytes": 1_000_000, "done": [0, 2]}
    manifest_path(part).write_text(json.dumps(journal))

    assert status_of(settings).downloaded.state == "partly"
    assert status_of(settings).downloaded.text == "50% of 4.0 MB"
    assert next_command(status_of(settings)) == "make extract"
    for broken in ({**journal, "done": 7}, {**journal, "size_bytes": "many"}, {}):
        manifest_path(part).write_text(json.dumps(broken))
        assert status_of(settings).downloaded.state == "no"


def test_what_was_unpacked_is_compared_with_the_archive(settings: Settings) -> None:
    land_archive(settings)
    assert status_of(settings).downloaded.text == "7 B"
    assert status_of(settings).unpacked.state == "no"

    settings.unpacked_folder.mkdir(parents=True)
    for kind, state, etag in ((RECORD_KINDS[0], "partly", "etag"), (RECORD_KINDS[1], "outdated", "other")):
        path = settings.member_path(kind)
        path.write_bytes(b"1,2\n")
        write_manifest(path, Asset(settings.member_uri(kind), etag, 4, WHEN, "c" * 64, 1))
        assert status_of(settings).unpacked.state == state
    write_manifest(path, Asset(settings.member_uri(kind), "etag", 4, WHEN, "c" * 64, 1))
    assert status_of(settings).unpacked.state == "done"
    assert status_of(settings).unpacked.facts["lines"] == 2


def test_a_server_that_is_gone_leaves_what_is_known_of_the_files(settings: Settings) -> None:
    land_archive(settings)
    status = read_status(settings)

    assert status.data_sets[0].downloaded.state == "done"
    assert status.data_sets[0].built.state == "unknown"
    assert next_command(status.data_sets[0]) is None
    last = list(lines_of(status, settings))[-1]
    assert last == "what is staged and built is not known: the embedded MySQL server is not running: run make up"
    told = json.loads(json.dumps(as_json(status)))["data_sets"]
    assert told[0]["built"]["state"] == "unknown"
    assert {one["next"] for one in told} == {None}
