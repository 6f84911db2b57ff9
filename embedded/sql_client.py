"""`make sql`: an interactive client (mycli) on the server and database of the run.

It has a virtual environment of its own, made on first use: requirements-sql.txt says why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Never

from embedded.installation import install_client
from embedded.processes import lock
from pipeline.commands import make_command
from pipeline.errors import DatabaseError
from pipeline.files import private_folder
from pipeline.mysql import connect, explained, shortest_path
from pipeline.settings import MysqlSettings, Settings, TlsMode

# What mycli calls the modes of MySQL's own clients. Without a CA, `on` encrypts and verifies nothing.
_SSL_MODES: Mapping[TlsMode, str] = {
    "disabled": "off",
    "preferred": "auto",
    "required": "on",
    "verify_ca": "on",
    "verify_identity": "on",
}


def open_client(settings: Settings) -> Never:
    """Become the client: this process is replaced by it.

    Raises:
        DatabaseError: the server does not answer, or has no such database.
        ServiceError: the client cannot be installed.
    """
    _require_database(settings)
    program = provide_client(settings)
    arguments = [str(program), *client_arguments(settings.mysql, settings.database)]
    os.execve(program, arguments, client_environment(settings))  # noqa: S606 - no shell is what is wanted


def provide_client(settings: Settings) -> Path:
    """Install the client if it is not there, and give its program.

    Raises:
        ServiceError: it cannot be had.
    """
    folder = private_folder(settings.embedded_dir)
    with lock(folder / "setup.lock", "setting up") as descriptor:
        return install_client(folder, settings.root, lock_descriptor=descriptor)


def client_arguments(mysql: MysqlSettings, database: str) -> list[str]:
    """Give the client's command line, which every user of the machine can read: it has no password."""
    # The password comes by the environment; without the option a keyring would be asked for it, and given it.
    arguments = ["--user", mysql.user, "--database", database, "--use-keyring", "false"]
    if mysql.host is None:
        return [*arguments, "--socket", str(shortest_path(mysql.unix_socket)), "--ssl-mode", "off"]
    arguments += ["--host", mysql.host, "--port", str(mysql.port), "--ssl-mode", _SSL_MODES[mysql.tls.mode]]
    if mysql.tls.ca_file:
        arguments += ["--ssl-ca", str(mysql.tls.ca_file)]
    return [*arguments, "--ssl-verify-server-cert"] if mysql.tls.mode == "verify_identity" else arguments


def client_environment(settings: Settings) -> dict[str, str]:
    """Give the client's environment, which its owner alone can read: the caller's, and the password."""
    environment = {**os.environ, "MYSQL_PWD": settings.mysql.password}
    if not os.access(os.path.expanduser("~"), os.W_OK):  # noqa: PTH111 - Path.home() fails for who has none
        # It keeps its configuration and history in a home, which a user of a container may not have.
        environment["HOME"] = str(settings.embedded_dir)
    return environment


def _require_database(settings: Settings) -> None:
    with explained(settings.mysql), closing(connect(settings.mysql)) as connection, connection.cursor() as cursor:
        cursor.execute("select 1 from information_schema.schemata where schema_name = %s", (settings.database,))
        if not cursor.fetchone():
            command = make_command("run", settings)
            raise DatabaseError(f"{settings.mysql.address} has no database {settings.database} yet: run {command}")
