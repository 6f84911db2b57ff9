"""The embedded servers as they are now: found, described and stopped, whatever has become of set-up.

Standard library only: the packages may be missing, half installed, or those of a Python that is gone.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from embedded import mysql_server, s3_server
from embedded.processes import folder_size, lock
from pipeline.cli import shown
from pipeline.errors import ServiceError
from pipeline.files import private_folder
from pipeline.progress import working
from pipeline.units import duration, quantity

Report = Callable[[str], None]


@dataclass(frozen=True)
class ServiceStatus:
    """A service as it is now.

    Attributes:
        name: `MySQL` or `S3`.
        is_embedded: whether the settings call for the project's own server, or it runs all the same.
        is_running: whether the project's own server runs.
        server: its program and version, or where the settings lead instead of to it.
        address: its socket or URL, where it runs.
        started_at: when it was started, in UTC, in ISO 8601.
        data_bytes: the size of its data on the disk; None where it has none.
    """

    name: str
    is_embedded: bool
    is_running: bool
    server: str
    address: str | None = None
    pid: int | None = None
    started_at: str | None = None
    data_bytes: int | None = None

    @property
    def line(self) -> str:
        """The service for a person."""
        if not self.is_embedded:
            return f"{self.name}: not embedded, {self.server}"
        data = "no data" if self.data_bytes is None else f"{quantity(self.data_bytes, 'B')} of data"
        if self.started_at is None:
            return f"{self.name}: not running, {data}"
        when, now = datetime.fromisoformat(self.started_at), datetime.now(UTC)
        since = f"since {when.astimezone():%Y-%m-%d %H:%M:%S} ({duration((now - when).total_seconds())}"
        return f"{self.name}: {self.server} running {since}, process {self.pid}), {self.address}, {data}"


def describe_mysql(base: Path) -> ServiceStatus:
    """Find out whether the MySQL server of a folder runs, where, since when, and the size of its data."""
    size = _size(mysql_server.data_folder(base))
    server = mysql_server.find_mysql(base)
    if server is None:
        return ServiceStatus("MySQL", True, False, "MySQL", data_bytes=size)
    address, since = f"socket {shown(server.unix_socket)}", server.started_at.isoformat()
    return ServiceStatus("MySQL", True, True, server.title, address, server.pid, since, size)


def describe_s3(base: Path) -> ServiceStatus:
    """Find out the same of the S3 server."""
    size = _size(s3_server.data_folder(base))
    server = s3_server.find_s3(base)
    if server is None:
        return ServiceStatus("S3", True, False, "SeaweedFS", data_bytes=size)
    since = server.started_at.isoformat()
    return ServiceStatus("S3", True, True, "SeaweedFS", server.endpoint_url, server.pid, since, size)


def stop_services(base: Path, report: Report) -> None:
    """Stop the services that run.

    Args:
        base: the folder of the embedded services.
        report: is told each thing in one line.

    Raises:
        ServiceError: a process does not end.
    """
    if not base.exists():
        return
    with services_folder(base):
        (base / "services.json").unlink(missing_ok=True)
        for title, stop in (("S3", s3_server.stop_s3), ("MySQL", mysql_server.stop_mysql)):
            begun = time.monotonic()
            with working(f"stop {title}"):
                has_stopped = stop(base)
            if has_stopped:
                report(f"{title}: stopped in {duration(time.monotonic() - begun)}")


@contextmanager
def services_folder(base: Path) -> Iterator[Path]:
    """Hold the right to start and stop the services of a folder, which is made if it is missing."""
    with explained(base):
        private_folder(base)
        with lock(base / "services.lock", "starting or stopping the services"):
            yield base


@contextmanager
def explained(base: Path) -> Iterator[None]:
    """Turn what the file system refuses into a line for the person who asked."""
    try:
        yield
    except PermissionError as error:
        raise ServiceError(
            f"{error.filename or base} belongs to another user: run as that user, or in a copy of your own"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ServiceError(f"the disk of {base} is full: free some space and run again") from error
        raise


def _size(data: Path) -> int | None:
    return folder_size(data) if data.exists() else None
