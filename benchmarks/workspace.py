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
from embedded.programs import Kind, find_mysql_program, provide_mysql_program
from embedded.s3_server import S3Server, open_client, start_s3, stop_s3
from pipeline.settings import MysqlSettings, Settings, load_settings

# What the commands of the project consist of. It is copied, so that a command finds the copy as its root.
_COPIED = (
    *("Makefile", "pyproject.toml", "requirements.txt", "pipeline.yml", "profiles.yml", "dbt_project.yml"),
    *("pipeline", "extract", "spark_jobs", "embedded", "dbt_project"),
)
_LINKED = (".venv", ".embedded/mysql", ".embedded/java")

# What the person who measures has set must not reach the commands.
_PREFIXES = ("AWS_", "MYSQL_", "DEEPCVR_", "DBT_", "MAKE", "MFLAGS")
_NAMES = ("DATASET", "MODE", "FORCE", "SCALE", "SERVER")


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
            for folder in (place.source, place.prepared):
                folder.mkdir()
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


@contextmanager
def mysql_server(place: Workspace, base: Path, kind: Kind) -> Iterator[MysqlSettings]:
    """Run a new MySQL server, set up as the embedded one is, on a socket alone; its data is removed at the end.

    Args:
        place: tells where the server's program is.
        base: the server's folder.
        kind: MySQL or MariaDB.
    """
    program = find_mysql_program(place.root / ".embedded", kind=kind)
    program = program or provide_mysql_program(place.root / ".checks", kind=kind)
    try:
        server = start_mysql(program, base)
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


def copy_project(place: Workspace, name: str, s3: S3Server | None = None) -> ProjectCopy:
    """Copy the project, without what it has made.

    Args:
        place: where to.
        name: of the copy.
        s3: the source that the copy's commands read from.
    """
    folder = private_folder(place.folder / name)
    private_folder(folder / ".embedded")
    for part in _COPIED:
        path = place.root / part
        if path.is_dir():
            shutil.copytree(path, folder / part, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy2(path, folder / part)
    for part in _LINKED:
        if (place.root / part).exists():
            (folder / part).symlink_to(place.root / part)
    return ProjectCopy(load_settings(root=folder, environ={}), _environment(s3))


def _environment(s3: S3Server | None) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES) and name not in _NAMES}
    if s3 is None:
        return clean
    entry = s3.services_entry
    return clean | {
        "AWS_ENDPOINT_URL": entry["endpoint_url"],
        "AWS_ACCESS_KEY_ID": entry["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": entry["secret_access_key"],
        "AWS_DEFAULT_REGION": entry["region"],
    }
