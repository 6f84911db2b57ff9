"""Which S3 store the archives come from, and a client for it."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pipeline.commands import UP
from pipeline.errors import ServiceError, SettingsError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client


_SECONDS_TO_ANSWER = 10


@dataclass(frozen=True)
class Source:
    """An S3 store.

    Attributes:
        kind: `configured`: boto3 found credentials or an endpoint; `embedded`: the project's own server.
        client_arguments: what `boto3.client` needs beside its own chain of configuration.
    """

    kind: Literal["configured", "embedded"]
    client_arguments: dict[str, Any] = field(default_factory=dict, repr=False)


def is_configured() -> bool:
    """Whether boto3's own chain finds credentials or an endpoint other than AWS."""
    import boto3  # noqa: PLC0415 - slow to import, and not every command needs it

    session = boto3.Session()
    return session.get_credentials() is not None or _endpoint_is_configured(session)


def find_source(settings: Settings) -> Source:
    """Find the store to read from.

    Raises:
        SettingsError: production mode, and neither credentials nor an endpoint are set.
        ServiceError: the embedded server is to be used, and is not running, or another program has its port.
    """
    require_source(settings)
    if is_configured():
        return Source("configured")
    source = Source("embedded", _embedded_arguments(settings.embedded_dir / "services.json"))
    _require_embedded(source)
    return source


def require_source(settings: Settings) -> None:
    """Check that the run has a source, without asking any server.

    Raises:
        SettingsError: production mode, and neither credentials nor an endpoint are set.
    """
    if settings.mode == "production" and not is_configured():
        raise SettingsError(
            "production mode needs an S3 source: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE),"
            " and AWS_ENDPOINT_URL for a store other than AWS"
        )


def open_client(source: Source, config: Config | None = None) -> S3Client:
    """Open a client; an endpoint that is set without credentials is read anonymously.

    Args:
        source: the store.
        config: time limits and retries.
    """
    import boto3  # noqa: PLC0415
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    session = boto3.Session()
    arguments = {"region_name": session.region_name or "us-east-1", **source.client_arguments}
    config = config or Config()
    if source.kind == "configured" and session.get_credentials() is None:
        config = config.merge(Config(signature_version=UNSIGNED))
    return session.client("s3", config=config, **arguments)


def _require_embedded(source: Source) -> None:
    """Find out at once that another program listens where the embedded server did: boto3 would ask it for minutes."""
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    patience = Config(connect_timeout=5, read_timeout=_SECONDS_TO_ANSWER, retries={"total_max_attempts": 1})
    try:
        is_ours = "Owner" in open_client(source, patience).list_buckets()
    except ClientError as error:  # no other server knows the keys; the right one may be busy
        is_ours = error.response["Error"]["Code"] in ("InternalError", "ServiceUnavailable", "SlowDown")
    except (BotoCoreError, ResponseParserError, OSError):
        is_ours = False
    if not is_ours:
        place = urlsplit(source.client_arguments["endpoint_url"]).netloc
        raise ServiceError(f"the embedded S3 server is not running: another program has its port ({place}): run {UP}")


def _endpoint_is_configured(session: Any) -> bool:
    endpoint = session.client("s3", region_name=session.region_name or "us-east-1").meta.endpoint_url
    host = urlsplit(endpoint).hostname or ""
    return not host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _embedded_arguments(services: Path) -> dict[str, Any]:
    try:
        declared = json.loads(services.read_text(encoding="utf-8"))["s3"]
        address = urlsplit(declared["endpoint_url"])
        # The file outlives a server that was killed or a machine that was restarted.
        socket.create_connection((address.hostname, address.port), timeout=5).close()
        return {
            "endpoint_url": declared["endpoint_url"],
            "aws_access_key_id": declared["access_key_id"],
            "aws_secret_access_key": declared["secret_access_key"],
            "region_name": declared["region"],
        }
    except (OSError, KeyError, TypeError, ValueError):
        raise ServiceError(f"the embedded S3 server is not running: run {UP}") from None
