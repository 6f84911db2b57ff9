"""Whether the server that services.json names is the one that listens there, and is asked whatever is set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embedded.s3_server import S3Server
from pipeline.errors import ServiceError
from pipeline.settings import Settings, load_settings
from pipeline.source import find_source, open_client

# What boto3 heeds of the environment, set to what fails or leads elsewhere.
HOSTILE = {
    "AWS_ACCESS_KEY_ID": "another",
    "AWS_SECRET_ACCESS_KEY": "another",
    "AWS_SESSION_TOKEN": "another\n",
    "AWS_PROFILE": "none-such",
    "AWS_CONFIG_FILE": "/etc/hostname",
    "AWS_SHARED_CREDENTIALS_FILE": "/etc/hostname",
    "AWS_DEFAULT_REGION": "?? x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "::",
    "AWS_CA_BUNDLE": "/none/such",
    "AWS_DATA_PATH": "/none/such",
    "AWS_MAX_ATTEMPTS": "x",
    "AWS_RETRY_MODE": "x",
    "AWS_DEFAULTS_MODE": "x",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "x",
    "AWS_S3_USE_ARN_REGION": "x",
    "AWS_STS_REGIONAL_ENDPOINTS": "x",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "x",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "x",
    "AWS_CSM_ENABLED": "true",
    "AWS_CSM_PORT": "x",
    "AWS_SDK_UA_APP_ID": "x" * 100,
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "x",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "REQUESTS_CA_BUNDLE": "/none/such",
}


def settings_of(root: Path, folder: Path, entry: dict[str, str]) -> Settings:
    settings = replace(load_settings(root=root, environ={}), root=folder)
    settings.embedded_dir.mkdir()
    (settings.embedded_dir / "services.json").write_text(json.dumps({"s3": entry}))
    return settings


def test_the_embedded_server_is_known_by_its_keys(s3: S3Server, root: Path, tmp_path: Path) -> None:
    assert find_source(settings_of(root, tmp_path, s3.services_entry)).kind == "generated"


def test_the_embedded_server_of_another_checkout_is_another_program(s3: S3Server, root: Path, tmp_path: Path) -> None:
    other = s3.services_entry | {"access_key_id": "AKANOTHER", "secret_access_key": "another"}
    with pytest.raises(ServiceError, match=r"another program has its port \(127\.0\.0\.1:\d+\): run make up"):
        find_source(settings_of(root, tmp_path, other))


def test_nothing_that_boto3_heeds_reaches_the_client_of_the_embedded_server(
    s3: S3Server, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)

    source = find_source(settings_of(root, tmp_path, s3.services_entry))
    assert source.kind == "generated"
    assert "Owner" in open_client(source).list_buckets()
