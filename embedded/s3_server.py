"""An S3 server of one's own (SeaweedFS), in any folder, on loopback, with random keys, run as the current user.

In its folder, `data/s3` holds the objects, `s3.json` the keys and ports (mode 0600) and `log/s3.log` the log.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.certificates import AUTHORITY, CERTIFICATE, KEY, write_certificates
from embedded.processes import (
    find_process,
    lock,
    open_log,
    require_free_space,
    start_detached,
    started_at,
    stop_process,
)
from pipeline.commands import SETUP
from pipeline.errors import ServiceError
from pipeline.files import private_folder, read_json, write_json
from pipeline.source import embedded_arguments, open_embedded

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PROGRAM = "weed"
REGION = "us-east-1"

_START_SECONDS = 60
_START_TRIES = 3
_ROOM_TO_RUN = 1_000_000_000  # beside the 0.5 GB at which the server stops taking data
# The volume server closes its files within a second of SIGTERM; what keeps the process after that is idle waiting.
_STOP_SECONDS = 2
_PARTS = ("master", "volume", "filer", "s3")
_CERTIFICATES = "s3_certificates"


@dataclass(frozen=True)
class Access:
    """What a client needs, and the ports that the server's parts use among themselves.

    Attributes:
        access_key_id: the key's public part.
        secret_access_key: the key's secret part.
        ports: the HTTP and the gRPC port of each part, in the order of the parts.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    ports: tuple[int, ...]

    @property
    def endpoint_url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.ports[_PARTS.index('s3') * 2]}"


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        access: the keys and ports.
        base: its folder.
        pid: its process.
        was_running: whether it was found running rather than started.
    """

    access: Access
    base: Path
    pid: int
    was_running: bool

    @property
    def endpoint_url(self) -> str:
        """The server's address."""
        return self.access.endpoint_url

    @property
    def started_at(self) -> datetime:
        """When it was started, in UTC."""
        return started_at(self.pid)

    @property
    def services_entry(self) -> dict[str, str]:
        """What `services.json` says of it."""
        return {
            "endpoint_url": self.endpoint_url,
            "access_key_id": self.access.access_key_id,
            "secret_access_key": self.access.secret_access_key,
            "region": REGION,
        }


def data_folder(base: Path) -> Path:
    """Give the folder of a server's objects."""
    return base / "data" / "s3"


def find_s3(base: Path) -> S3Server | None:
    """Find the server of a folder if it is running, ready or not."""
    process = find_process(data_folder(base), PROGRAM)
    access = read_access(base / "s3.json")
    return S3Server(access, base, process.pid, was_running=True) if process and access else None


def start_s3(base: Path) -> S3Server:
    """Start the server of a folder and wait until it stores and answers.

    Args:
        base: the server's folder.

    Returns:
        the server; one that runs already is returned as it is.

    Raises:
        ServiceError: it does not start.
    """
    base = private_folder(base).resolve()
    with lock(base / "s3.lock", "starting or stopping the S3 server"):
        running = find_s3(base)
        if running:
            _wait_until_ready(running)
            return running
        stop_s3(base)  # one whose keys are lost serves nobody
        stop_process(data_folder(base), PROGRAM, patience_seconds=0, is_removed=True)
        private_folder(data_folder(base))
        require_free_space(base, _ROOM_TO_RUN, "the S3 server")
        return _start(base)


def stop_s3(base: Path) -> bool:
    """Stop the server of a folder, by SIGKILL where it does not end by itself in time.

    Returns:
        whether one ran.
    """
    was_running = stop_process(data_folder(base), PROGRAM, patience_seconds=_STOP_SECONDS)
    access = read_access(base / "s3.json")
    if access and was_running:
        _remove_grpc_sockets(access)
    return was_running


def open_client(server: S3Server) -> S3Client:
    """Open a boto3 client for the server, whatever the environment says."""
    from botocore.config import Config

    patience = Config(connect_timeout=2, read_timeout=60, retries={"max_attempts": 3})
    return open_embedded(embedded_arguments(server.services_entry), patience)


def server_command(program: Path, ports: Sequence[int]) -> list[str]:
    """Build the server's command line: S3 and the parts that it needs, on loopback. It holds no secret."""
    options = [
        "-dir=.",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        "-filer.disableHttp",
        "-filer.localSocket=filer.sock",
        "-s3.localSocket=s3.sock",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
        "-master.telemetry=false",
        # The ports may be others than last time; what the master knows it learns from the volumes.
        "-master.resumeState=false",
        "-master.electionTimeout=1s",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=100",
        "-volume.minFreeSpace=500MiB",
        "-volume.preStopSeconds=0",
    ]
    for part, http, grpc in zip(_PARTS, ports[::2], ports[1::2], strict=True):
        options += [f"-{part}.port={http}", f"-{part}.port.grpc={grpc}"]
    return [str(program), "-logtostderr", "server", *options]


def read_access(path: Path) -> Access | None:
    """Read the keys and ports of a server; None where there are none, or half of them."""
    try:
        declared = read_json(path) or {}
        return Access(declared["access_key_id"], declared["secret_access_key"], tuple(declared["ports"]))
    except (KeyError, TypeError):
        return None


def choose_ports(count: int) -> tuple[int, ...]:
    """Choose TCP ports that nothing on loopback uses."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(each.getsockname()[1] for each in sockets)


def ports_are_free(ports: Sequence[int]) -> bool:
    """Whether nothing on loopback listens on any of these ports."""
    for port in ports:
        with socket.socket() as each:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def find_program() -> Path:
    """Find SeaweedFS's program: beside the running Python, where pip puts it, or on the PATH.

    Raises:
        ServiceError: it is not installed.
    """
    beside = Path(sys.executable).parent / PROGRAM
    found = str(beside) if beside.exists() else shutil.which(PROGRAM)
    if not found:
        raise ServiceError(f"the S3 server's program (weed) is not installed: run {SETUP}")
    return Path(found)


def _start(base: Path) -> S3Server:
    for attempt in range(1, _START_TRIES + 1):
        access = _choose_access(read_access(base / "s3.json"))
        try:
            return _start_with(base, access)
        except ServiceError:
            stop_s3(base)
            # Another program may have taken a port between our choice and the server's use of it.
            if attempt == _START_TRIES or ports_are_free(access.ports):
                raise
    raise AssertionError  # the loop returns or raises


def _start_with(base: Path, access: Access) -> S3Server:
    write_json(base / "s3.json", asdict(access))
    write_certificates(base / _CERTIFICATES)
    _remove_grpc_sockets(access)
    log = open_log(base / "log" / "s3.log")
    process = start_detached(
        server_command(find_program(), access.ports),
        folder=data_folder(base),
        log=log,
        environment=_environment(base, access),
    )
    server = S3Server(access, base, process.pid, was_running=False)
    _wait_until_ready(server, process)
    return server


def _choose_access(remembered: Access | None) -> Access:
    if remembered is None:
        return Access(f"AK{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30), choose_ports(2 * len(_PARTS)))
    if len(remembered.ports) == 2 * len(_PARTS) and ports_are_free(remembered.ports):
        return remembered
    return Access(remembered.access_key_id, remembered.secret_access_key, choose_ports(2 * len(_PARTS)))


def _environment(base: Path, access: Access) -> dict[str, str]:
    """Build the server's whole environment: nothing of the caller's AWS settings may reach it."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(data_folder(base)),  # where it looks for settings of its own
        "TMPDIR": str(data_folder(base)),
        "GOMEMLIMIT": "256MiB",
        "AWS_ACCESS_KEY_ID": access.access_key_id,
        "AWS_SECRET_ACCESS_KEY": access.secret_access_key,
        # The parts behind S3 take no HTTP request that is not signed by one of them.
        "WEED_JWT_SIGNING_KEY": secrets.token_urlsafe(32),
        "WEED_JWT_SIGNING_READ_KEY": secrets.token_urlsafe(32),
        "WEED_JWT_FILER_SIGNING_KEY": secrets.token_urlsafe(32),
        "WEED_JWT_FILER_SIGNING_READ_KEY": secrets.token_urlsafe(32),
        **_certificate_environment(),
    }


def _certificate_environment() -> dict[str, str]:
    """Have every port but that of S3 talk TLS, and only to who has the certificate: the parts themselves.

    Without it the master's page and the gRPC ports obey whoever reaches them, to the deletion of a bucket. The server
    goes without TLS and says so only in its log where it cannot read a file, so a test tries each port.
    """
    # Relative to the data folder, where the server works, so that it finds them in a folder that has moved.
    folder = Path("..", "..", _CERTIFICATES)
    authority, pair = str(folder / AUTHORITY), {"CERT": str(folder / CERTIFICATE), "KEY": str(folder / KEY)}
    environment = {"WEED_GRPC_CA": authority, "WEED_HTTPS_CLIENT_ENABLED": "true"}
    for part in ("MASTER", "VOLUME", "FILER", "S3", "CLIENT"):
        environment |= {f"WEED_GRPC_{part}_{name}": value for name, value in pair.items()}
    for part in ("MASTER", "VOLUME", "FILER", "CLIENT"):
        environment |= {f"WEED_HTTPS_{part}_{name}": value for name, value in {**pair, "CA": authority}.items()}
    return environment


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until the server stores and answers; `process` is it, where this process has started it."""
    from botocore.exceptions import BotoCoreError, ClientError

    log = server.base / "log" / "s3.log"
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(server):
        # Not asked of /proc: a program that is only just being started has no arguments there yet.
        if process is not None and process.poll() is not None:
            raise ServiceError(f"the S3 server did not start: {_last_line(log)} (see {log})")
        if time.monotonic() > deadline:
            raise ServiceError(f"the S3 server does not answer after {_START_SECONDS} s (see {log})")
        time.sleep(0.05)
    if server.was_running:
        return
    client = open_client(server)
    while True:
        try:
            _read_an_object(client)
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                raise ServiceError(f"the S3 server does not serve: {error} (see {log})") from None
            time.sleep(0.1)
        else:
            return


def _read_an_object(client: S3Client) -> None:
    """Read a byte of what is stored: the parts that answer are there some seconds before the part that stores."""
    for bucket in client.list_buckets()["Buckets"]:
        for found in client.list_objects_v2(Bucket=bucket["Name"], MaxKeys=1).get("Contents", []):
            client.get_object(Bucket=bucket["Name"], Key=found["Key"])["Body"].read(1)
            return


def _answers(server: S3Server) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", server.access.ports[_PARTS.index("s3") * 2]), timeout=2):
            return True
    except OSError:
        return False


def _remove_grpc_sockets(access: Access) -> None:
    """Remove the sockets that the server's parts put in /tmp; it has no option for their place."""
    for part, port in zip(_PARTS, access.ports[1::2], strict=True):
        with contextlib.suppress(OSError):
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink()  # noqa: S108 - the server chose it


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return lines[-1].strip() if lines else "no reason given"
