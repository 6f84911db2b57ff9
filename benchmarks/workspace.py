"""The throw-away place of a run: a copy of the project, source data, and servers, none of them the user's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded.mysql_server import start_mysql, stop_mysql
from embedded.processes import lock
from embedded.programs import Kind
from pipeline.files import private_folder
from pipeline.settings import MysqlSettings, Settings, load_settings
from tests.surroundings import CHECKOUT, copy_project, mysql_program, replace_surroundings


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
def workspace() -> Iterator[Path]:
    """Make the folder of a run, with `source`, `prepared` and `home`; remove it with all its servers at the end.

    From here on this process, and with it what it starts, has an environment of somebody who has set nothing.

    Only one run at a time has it: two would measure each other. What a killed run left is removed first.

    Raises:
        ServiceError: another run goes on.
    """
    base = private_folder(CHECKOUT / ".embedded" / "bench")
    with lock(base / "lock", "measuring", wait_seconds=0):
        place = base / "work"
        _remove(place)
        private_folder(place)
        try:
            for name in ("source", "prepared", "home"):
                (place / name).mkdir()
            replace_surroundings(place / "home")
            yield place
        finally:
            _remove(place)


def _remove(folder: Path) -> None:
    """Stop the servers of each folder below, and remove all of it."""
    bases = folder.glob("*") if folder.is_dir() else ()
    for base in [each for path in bases for each in (path, path / ".embedded") if (each / "data").is_dir()]:
        stop_mysql(base)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mysql_server(base: Path, kind: Kind) -> Iterator[MysqlSettings]:
    """Run a new MySQL server, set up as the embedded one is, on a socket alone; its data is removed at the end.

    Args:
        base: the server's folder.
        kind: MySQL or MariaDB.
    """
    try:
        server = start_mysql(mysql_program(kind), base)
        yield MysqlSettings(host=None, port=0, user="root", password="", unix_socket=server.unix_socket)
    finally:
        stop_mysql(base)
        shutil.rmtree(base / "data", ignore_errors=True)


def make_copy(folder: Path, archive: Path) -> ProjectCopy:
    """Copy the project, without what it has made.

    Args:
        folder: where to.
        archive: the source of the copy's commands, which is read where it is.
    """
    environment = {**os.environ, "SOURCE": str(archive)}
    return ProjectCopy(load_settings(root=copy_project(folder), environ={}), environment)
