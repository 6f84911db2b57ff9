"""The throw-away place of a run: a copy of the project, source data, and servers, none of them the user's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded.mysql_server import start_mysql, stop_mysql
from embedded.processes import lock, private_folder
from embedded.programs import Kind, MysqlProgram, find_mysql_program, provide_mysql_program
from embedded.s3_server import S3Server, open_client, start_s3, stop_s3
from pipeline.settings import MysqlSettings, Settings, load_settings
from tests.surroundings import copy_project, replace_surroundings


@dataclass(frozen=True)
class Workspace:
    """The folder of a run.

    Attributes:
        root: the project that is measured.
        folder: everything that the run makes is below it, and goes with it.
    """

    root: Path
    folder: Path

    @property
    def source(self) -> Path:
        """Folder of the generated archive."""
        return self.folder / "source"

    @property
    def prepared(self) -> Path:
        """Folder of the rows as text, for the bare loads."""
        return self.folder / "prepared"


@dataclass(frozen=True)
class ProjectCopy:
    """A copy of the project, in which commands run as in a user's.

    Attributes:
        settings: those of the copy, for code that is called without a command.
        environment: what the commands are run with.
    """

    settings: Settings
    environment: dict[str, str]

    @property
    def folder(self) -> Path:
        """The root of the copy."""
        return self.settings.root


@contextmanager
def workspace(root: Path) -> Iterator[Workspace]:
    """Make the folder of a run, and remove it with all its servers at the end.

    From here on this process, and with it what it starts, has an environment of somebody who has set nothing.

    Only one run at a time has it: two would measure each other. What a killed run left is removed first.

    Raises:
        ServiceError: another run goes on.
    """
    base = private_folder(root / ".embedded" / "bench")
    with lock(base / "lock", "measuring", wait_seconds=0):
        place = Workspace(root, base / "work")
        _remove(place.folder)
        private_folder(place.folder)
        try:
            for folder in (place.source, place.prepared, place.folder / "home"):
                folder.mkdir()
            replace_surroundings(place.folder / "home")
            yield place
        finally:
            _remove(place.folder)


def _remove(folder: Path) -> None:
    """Stop the servers of each folder below, and remove all of it."""
    bases = folder.glob("*") if folder.is_dir() else ()
    for base in [each for path in bases for each in (path, path / ".embedded") if (each / "data").is_dir()]:
        stop_mysql(base)
        stop_s3(base)
    shutil.rmtree(folder, ignore_errors=True)


def mysql_program(root: Path, kind: Kind) -> MysqlProgram:
    """Give a server's program, that of a run or that of the checks."""
    found = find_mysql_program(root / ".embedded", kind=kind)
    return found or provide_mysql_program(root / ".checks", kind=kind)


@contextmanager
def mysql_server(place: Workspace, base: Path, kind: Kind) -> Iterator[MysqlSettings]:
    """Run a new MySQL server, set up as the embedded one is, on a socket alone; its data is removed at the end.

    Args:
        place: tells where the server's program is.
        base: the server's folder.
        kind: MySQL or MariaDB.
    """
    try:
        server = start_mysql(mysql_program(place.root, kind), base)
        yield MysqlSettings(host=None, port=0, user="root", password="", unix_socket=server.unix_socket)
    finally:
        stop_mysql(base)
        shutil.rmtree(base / "data", ignore_errors=True)


@contextmanager
def s3_server(place: Workspace, archive: Path) -> Iterator[S3Server]:
    """Run an S3 server that holds the archive where a run in development mode looks for it."""
    settings = load_settings(root=place.root, environ={})
    base = place.folder / "s3"
    try:
        server = start_s3(base)
        client = open_client(server)
        client.create_bucket(Bucket=settings.source.bucket)
        client.upload_file(str(archive), settings.source.bucket, settings.archive_key)
        yield server
    finally:
        stop_s3(base)


def make_copy(place: Workspace, name: str, s3: S3Server | None = None) -> ProjectCopy:
    """Copy the project, without what it has made.

    Args:
        place: where to.
        name: of the copy.
        s3: the source that the copy's commands read from.
    """
    environment = dict(os.environ)
    if s3 is not None:
        entry = s3.services_entry
        environment |= {
            "AWS_ENDPOINT_URL": entry["endpoint_url"],
            "AWS_ACCESS_KEY_ID": entry["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": entry["secret_access_key"],
            "AWS_DEFAULT_REGION": entry["region"],
        }
    return ProjectCopy(load_settings(root=copy_project(place.folder / name), environ={}), environment)
