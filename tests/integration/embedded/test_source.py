"""Whether the server that services.json names is the one that listens there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embedded.s3_server import S3Server
from pipeline.errors import ServiceError
from pipeline.settings import Settings, load_settings
from pipeline.source import find_source


def settings_of(root: Path, folder: Path, entry: dict[str, str]) -> Settings:
    settings = replace(load_settings(root=root, environ={}), root=folder)
    settings.embedded_dir.mkdir()
    (settings.embedded_dir / "services.json").write_text(json.dumps({"s3": entry}))
    return settings


def test_the_embedded_server_is_known_by_its_keys(s3: S3Server, root: Path, tmp_path: Path) -> None:
    assert find_source(settings_of(root, tmp_path, s3.services_entry)).kind == "embedded"


def test_the_embedded_server_of_another_checkout_is_another_program(s3: S3Server, root: Path, tmp_path: Path) -> None:
    other = s3.services_entry | {"access_key_id": "AKANOTHER", "secret_access_key": "another"}
    with pytest.raises(ServiceError, match=r"another program has its port \(127\.0\.0\.1:\d+\): run make up"):
        find_source(settings_of(root, tmp_path, other))
