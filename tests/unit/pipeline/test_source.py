from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.errors import ServiceError, SettingsError
from pipeline.settings import Settings, load_settings
from pipeline.source import find_source, is_configured, open_client, require_source
from tests.ports import free_port


@pytest.fixture
def settings(root: Path, tmp_path: Path) -> Settings:
    return replace(load_settings(root=root, environ={}), root=tmp_path)


def test_production_without_credentials_is_a_mistake_in_the_settings(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        require_source(replace(settings, mode="production"))


def test_development_without_credentials_needs_the_embedded_server(settings: Settings) -> None:
    require_source(settings)
    with pytest.raises(ServiceError, match="the embedded S3 server is not running: run make up"):
        find_source(settings)


def test_a_file_left_by_a_server_that_is_gone_is_not_believed(settings: Settings) -> None:
    leave_entry(settings, free_port())

    with pytest.raises(ServiceError, match="the embedded S3 server is not running: run make up"):
        find_source(settings)


class _Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome<br></html>")

    def log_message(self, *_: object) -> None:
        pass


def leave_entry(settings: Settings, port: int, **keys: str) -> None:
    entry = {"endpoint_url": f"http://127.0.0.1:{port}", "access_key_id": "a", "secret_access_key": "b"} | keys
    settings.embedded_dir.mkdir()
    (settings.embedded_dir / "services.json").write_text(json.dumps({"s3": entry | {"region": "us-east-1"}}))


def test_a_port_that_a_web_server_has_taken_is_told_at_once(settings: Settings) -> None:
    with HTTPServer(("127.0.0.1", 0), _Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        leave_entry(settings, server.server_port)
        with pytest.raises(
            ServiceError, match=rf"another program has its port \(\S+:{server.server_port}\): run make up"
        ):
            find_source(settings)
        server.shutdown()


def test_a_port_that_a_silent_program_has_taken_is_told_within_seconds(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.source._SECONDS_TO_ANSWER", 1)
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        leave_entry(settings, server.getsockname()[1])
        with pytest.raises(ServiceError, match=r"another program has its port .*: run make up"):
            find_source(settings)
    assert time.monotonic() - begun < 30


def test_credentials_that_boto3_finds_are_used(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")

    source = find_source(replace(settings, mode="production"))

    assert source.kind == "configured"
    assert "hidden" not in repr(source)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_without_credentials_is_read_anonymously(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert not is_configured()
    monkeypatch.setenv(name, "http://127.0.0.1:9000")
    client = open_client(find_source(settings))

    assert client.meta.endpoint_url == "http://127.0.0.1:9000"
    assert "Signature" not in client.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"})
