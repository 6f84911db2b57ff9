"""Which S3 store the archives come from, and a client for it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pipeline.commands import UP
from pipeline.errors import ServiceError, SettingsError
from pipeline.settings import Settings, SourceKind

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client

_SECONDS_TO_ANSWER = 10


# Given to a client that is to sign nothing: it would look for credentials again.
_NO_KEYS: dict[str, Any] = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
# What a profile may say of where its credentials come from.
_CREDENTIALS = {
    "aws_access_key_id",
    "credential_process",
    "login_session",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
}
# What the machines of AWS set for the programs on them.
_ROLES = (
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


@dataclass(frozen=True)
class Source:
    """An S3 store.

    Attributes:
        kind: of the settings.
        requester_pays: of the settings.
        client_arguments: what `boto3.client` needs beside its own chain of configuration.
    """

    kind: SourceKind
    requester_pays: bool = False
    client_arguments: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, repr=False)
class Store:
    """An S3 store and the way to it, found once: a machine that is given it looks for nothing more. It is not printed.

    Attributes:
        region: its region.
        access_key_id: None where nothing is signed.
        secret_access_key: that of the key.
        session_token: of credentials that expire.
        options: what boto3's configuration has under `s3`, the style of addresses among it.
        proxies: the proxy of each scheme.
        ca_certificates: the authorities that are believed, in PEM; None for those that botocore believes.
        requester_pays: whether the one who reads is to say that they pay for it.
        endpoint_url: None for the one that AWS has in that region.
    """

    region: str
    access_key_id: str | None
    secret_access_key: str | None
    session_token: str | None
    options: tuple[tuple[str, Any], ...]
    proxies: tuple[tuple[str, str], ...]
    ca_certificates: str | None
    requester_pays: bool
    endpoint_url: str | None = None


def source_line(settings: Settings, place: str | None = None) -> str:
    """Name the source of a run, and why it is this one.

    Args:
        settings: say where it is.
        place: what was found there, where that is more than the settings say.
    """
    what = "generated data, " if settings.source.kind == "generated" else ""
    place = place or settings.archive_uri
    return f"{settings.data_set.name}, {settings.mode}: {place} ({what}{settings.source.reason})"


def unused_credentials(settings: Settings) -> str | None:
    """Say in one line that boto3 would find credentials which nobody has asked for; None where there are none.

    A profile is only looked at, since to ask it may run a program of the user's, or ask them for a code.
    """
    import boto3
    from botocore.exceptions import BotoCoreError

    if settings.source.kind != "generated" or os.environ.get("SOURCE"):
        return None
    whose = None
    with suppress(BotoCoreError, OSError, ValueError):  # a file that cannot be read is not used either
        session = boto3.Session()._session
        provider = session.get_component("credential_provider").get_provider("iam-role")
        if _CREDENTIALS & set(session.get_scoped_config()):
            whose = f"the AWS profile {session.profile or 'default'}"
        elif any(os.environ.get(name) for name in _ROLES) or provider.load():
            whose = "this machine's role"
    return f"the credentials of {whose} are there and not used: SOURCE=s3 uses them" if whose else None


def find_source(settings: Settings) -> Source:
    """Find the store to read from.

    Raises:
        SettingsError: the source is S3, and neither credentials nor an endpoint are set.
        ServiceError: the embedded server is to be used, and is not running, or another program has its port.
    """
    require_source(settings)
    if settings.source.kind == "s3":
        return Source("s3", settings.source.requester_pays)
    arguments = _find_arguments(settings.embedded_dir / "services.json")
    source = Source("generated", client_arguments=arguments)
    _require_embedded(source)
    return source


def require_source(settings: Settings) -> None:
    """Check that the run has a source, without asking any server.

    Raises:
        SettingsError: the source is S3, and neither credentials nor an endpoint are set.
    """
    if settings.source.kind == "s3" and not _is_configured():
        raise SettingsError(
            f"{settings.archive_uri} ({settings.source.reason}) needs an S3 store: set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY (or AWS_PROFILE), and AWS_ENDPOINT_URL for a store other than AWS"
        )


def open_client(source: Source, config: Config | None = None) -> S3Client:
    """Open a client; an endpoint that is set without credentials is read anonymously.

    Args:
        source: the store.
        config: time limits and retries.
    """
    from botocore import UNSIGNED
    from botocore.config import Config

    config = config or Config()
    if source.kind == "generated":
        return open_embedded(source.client_arguments, config)
    session, keys = _session(), dict[str, Any]()
    if not _has_credentials(session):
        config, keys = config.merge(Config(signature_version=UNSIGNED)), _NO_KEYS
    client = session.client("s3", config=config, region_name=session.region_name or "us-east-1", **keys)
    return _paying(client) if source.requester_pays else client


def store_of(client: S3Client, *, requester_pays: bool) -> Store:
    """Give all that boto3's chain has found for a client, as it is now: credentials that expire are not renewed.

    Args:
        client: the client.
        requester_pays: whether the one who reads is to say that they pay for it.
    """
    from botocore.config import Config

    inner = cast(Any, client)  # nothing else knows all of it
    session, credentials = inner._endpoint.http_session, inner._request_signer._credentials
    key, secret, token, *_ = credentials.get_frozen_credentials() if credentials else (None, None, None)
    ca = Path(session._verify).read_text(encoding="ascii", errors="ignore") if session._verify is not True else None
    proxies = tuple(session._proxy_config._proxies.items())
    options = tuple((inner.meta.config.s3 or {}).items())
    store = Store(client.meta.region_name, key, secret, token, options, proxies, ca, requester_pays)
    # boto3 makes other addresses of an endpoint that it is given than of the same one that it has found.
    endpoint, usual = client.meta.endpoint_url, open_store(store, Config()).meta.endpoint_url
    return replace(store, endpoint_url=endpoint) if endpoint != usual else store


def open_store(store: Store, config: Config) -> S3Client:
    """Open a client of a store, whatever the environment and the home folder of this machine say.

    Args:
        store: the store.
        config: time limits and retries.
    """
    from botocore import UNSIGNED
    from botocore.config import Config

    keys = {
        "aws_access_key_id": store.access_key_id,
        "aws_secret_access_key": store.secret_access_key,
        "aws_session_token": store.session_token,
    }
    is_signed = store.access_key_id is not None
    arguments = {"region_name": store.region, "endpoint_url": store.endpoint_url, "verify": True}
    arguments |= keys if is_signed else _NO_KEYS
    if store.ca_certificates is not None:
        # Each connection reads them anew, from a file that ends with this process and is in no folder.
        descriptor = os.memfd_create("certificates")
        os.write(descriptor, store.ca_certificates.encode())
        arguments["verify"] = f"/proc/self/fd/{descriptor}"
    own = Config(s3=cast(Any, dict(store.options)), proxies=dict(store.proxies))
    own = own if is_signed else own.merge(Config(signature_version=UNSIGNED))
    client = _open_alone(arguments, config.merge(own))
    return _paying(client) if store.requester_pays else client


def open_embedded(arguments: Mapping[str, Any], config: Config) -> S3Client:
    """Open a client of a server of this machine's own, whatever the environment and the home folder say.

    Args:
        arguments: the endpoint, the keys and the region.
        config: time limits and retries.
    """
    from botocore.config import Config

    # A proxy is not asked for an address of this machine.
    own = Config(proxies={}, s3={"addressing_style": "path", "us_east_1_regional_endpoint": "regional"})
    return _open_alone(arguments, config.merge(own))


def _open_alone(arguments: Mapping[str, Any], config: Config) -> S3Client:
    import boto3
    from botocore.config import Config
    from botocore.session import get_session

    session = get_session()
    store = session.get_component("config_store")
    for name, (_, _, default, _) in session.session_var_map.items():
        store.set_config_variable(name, os.devnull if name in ("config_file", "credentials_file") else default)
    config = config.merge(cast(Any, Config)(ignore_configured_endpoint_urls=True))
    return boto3.Session(botocore_session=session).client("s3", config=config, **arguments)


def _paying(client: S3Client) -> S3Client:
    client.meta.events.register("provide-client-params.s3", cast(Any, _say_who_pays))
    return client


def _say_who_pays(params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
    return {**params, "RequestPayer": "requester"} if "RequestPayer" in model.input_shape.members else params


def _is_configured() -> bool:
    """Whether boto3's own chain finds credentials or an endpoint other than AWS."""
    session = _session()
    return _has_credentials(session) or _endpoint_is_configured(session)


def _session() -> Session:
    return _session_in(frozenset(os.environ.items()))


@lru_cache(maxsize=1)
def _session_in(_: frozenset[tuple[str, str]]) -> Session:
    """Read boto3's configuration once for a whole run: whoever types a code for credentials types it once."""
    import boto3

    return boto3.Session()


def _has_credentials(session: Session) -> bool:
    from botocore.exceptions import ProxyConnectionError

    try:
        return session.get_credentials() is not None
    except ProxyConnectionError:  # asked for the role of this machine, of which a proxy knows nothing
        return False


def _require_embedded(source: Source) -> None:
    """Find out at once that another program listens where the embedded server did: boto3 would ask it for minutes."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    patience = Config(connect_timeout=5, read_timeout=_SECONDS_TO_ANSWER, retries={"total_max_attempts": 1})
    try:
        is_ours = "Owner" in open_client(source, patience).list_buckets()
    except ClientError as error:  # no other server knows the keys; the right one may be busy
        is_ours = error.response["Error"]["Code"] in ("InternalError", "ServiceUnavailable", "SlowDown")
    except (BotoCoreError, ResponseParserError, OSError, RecursionError):  # the last where it redirects
        is_ours = False
    if not is_ours:
        place = urlsplit(source.client_arguments["endpoint_url"]).netloc
        raise ServiceError(f"the embedded S3 server is not running: another program has its port ({place}): run {UP}")


def _endpoint_is_configured(session: Session) -> bool:
    client = session.client("s3", region_name=session.region_name or "us-east-1", **_NO_KEYS)
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return not host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def embedded_arguments(entry: Mapping[str, str]) -> dict[str, str]:
    """Give what `services.json` says of the embedded server as arguments of a client."""
    return {
        "endpoint_url": entry["endpoint_url"],
        "aws_access_key_id": entry["access_key_id"],
        "aws_secret_access_key": entry["secret_access_key"],
        "region_name": entry["region"],
    }


def _find_arguments(services: Path) -> dict[str, Any]:
    try:
        declared = json.loads(services.read_text(encoding="utf-8"))["s3"]
        address = urlsplit(declared["endpoint_url"])
        # The file outlives a server that was killed or a machine that was restarted.
        socket.create_connection((address.hostname, address.port), timeout=5).close()
        return embedded_arguments(declared)
    except (OSError, KeyError, TypeError, ValueError):
        raise ServiceError(f"the embedded S3 server is not running: run {UP}") from None
