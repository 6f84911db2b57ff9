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
from pipeline.source import Source, find_source, open_client, require_source, source_line, unused_credentials
from tests.ports import free_port


@pytest.fixture
def settings(root: Path, tmp_path: Path) -> Settings:
    return replace(load_settings(root=root, environ={}), root=tmp_path)


@pytest.fixture
def in_s3(root: Path, tmp_path: Path) -> Settings:
    return replace(load_settings(root=root, environ={"SOURCE": "s3"}), root=tmp_path)


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
def test_s3_without_credentials_is_a_mistake_in_the_settings(
    in_s3: Settings, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    # Where there is a proxy, the role of this machine is asked for by it.
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with pytest.raises(
        SettingsError, match=r"\(SOURCE is s3\) needs an S3 store: set AWS_ACCESS_KEY_ID and AWS_SECRET"
    ):
        require_source(in_s3)


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


def leave_profile(home: Path, monkeypatch: pytest.MonkeyPatch, **profile: str) -> None:
    monkeypatch.setenv("HOME", str(home))
    (home / ".aws").mkdir()
    lines = [f"{name} = {value}" for name, value in profile.items()]
    (home / ".aws" / "config").write_text("\n".join(["[default]", *lines, ""]))


@pytest.mark.parametrize(
    "profile",
    [
        {"aws_access_key_id": "key", "aws_secret_access_key": "hidden"},
        {"credential_process": "touch asked"},
        {"sso_session": "ours", "sso_account_id": "1", "sso_role_name": "reader"},
        {"role_arn": "arn:aws:iam::1:role/reader", "source_profile": "other", "mfa_serial": "phone"},
    ],
)
def test_credentials_in_the_home_folder_are_told_and_not_used(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: dict[str, str]
) -> None:
    leave_profile(tmp_path, monkeypatch, **profile)
    monkeypatch.chdir(tmp_path)

    assert unused_credentials(settings) == (
        "the credentials of the AWS profile default are there and not used: SOURCE=s3 uses them"
    )
    assert not (tmp_path / "asked").exists()
    monkeypatch.setenv("SOURCE", "generated")
    assert unused_credentials(settings) is None


@pytest.mark.parametrize("content", [b"[default", b"\xff", b"[default]\nregion = x\n"])
def test_a_home_folder_without_credentials_is_not_spoken_of(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    leave_profile(tmp_path, monkeypatch)
    (tmp_path / ".aws" / "config").write_bytes(content)

    assert unused_credentials(settings) is None


def test_a_role_of_the_machine_is_told_and_not_used(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")

    assert str(unused_credentials(settings)).startswith("the credentials of this machine's role are there and not used")


def test_s3_is_read_with_the_credentials_that_boto3_finds(
    in_s3: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_profile(tmp_path, monkeypatch, aws_access_key_id="key", aws_secret_access_key="hidden")
    source = find_source(in_s3)

    assert source.kind == "s3"
    assert "hidden" not in repr(source)
    assert "=key&" in open_client(source).generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"})


def test_the_source_is_named_with_the_reason(root: Path) -> None:
    assert source_line(load_settings(root=root, environ={})) == (
        "train, development: s3://deepcvr-data/development/taobao_train.tar.gz"
        " (generated data, the default in development mode)"
    )
    assert source_line(load_settings(root=root, environ={"SOURCE": "s3://theirs/a b", "DATASET": "test"})) == (
        "test, development: s3://theirs/a b/taobao_test.tar.gz (SOURCE is s3://theirs/a b)"
    )


@pytest.mark.parametrize("method", ["get_object", "head_object"])
def test_who_asks_says_that_they_pay_where_that_is_declared(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    for pays in (True, False):
        client = open_client(Source("s3", requester_pays=pays))
        address = client.generate_presigned_url(method, {"Bucket": "b", "Key": "k"})
        assert ("x-amz-request-payer=requester" in address) is pays


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_without_credentials_is_read_anonymously(
    in_s3: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9000")
    client = open_client(find_source(in_s3))

    assert client.meta.endpoint_url == "http://127.0.0.1:9000"
    assert "Signature" not in client.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"})
