"""Connections to the MySQL server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from pipeline.errors import DatabaseError
from pipeline.settings import MysqlSettings

if TYPE_CHECKING:
    # Generic in the type stubs only.
    MysqlConnection = Connection[Cursor]
else:
    MysqlConnection = Connection

# LOAD DATA LOCAL turns errors into warnings whatever the mode is, so the loader counts rows as well;
# strict mode guards every other statement, on servers that run without it.
SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"

_ACCESS_DENIED = {1044, 1045, 1142, 1698}
_CANNOT_CONNECT = {2002, 2003, 2005}


def connect(
    settings: MysqlSettings,
    *,
    database: str | None = None,
    connection_class: type[MysqlConnection] = Connection,
) -> MysqlConnection:
    """Open a connection in UTC and strict mode, on which each statement is a transaction unless one is begun.

    Args:
        settings: where the server is.
        database: the database to use; none by default.
        connection_class: a subclass that answers `LOAD DATA LOCAL`, for the loader.

    Raises:
        DatabaseError: the server cannot be reached, or refuses.
    """
    address: dict[str, Any] = (
        {"unix_socket": str(shortest_path(settings.unix_socket))}
        if settings.host is None
        else {"host": settings.host, "port": settings.port}
    )
    with explained(settings):
        return connection_class(
            user=settings.user,
            password=settings.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            local_infile=True,
            connect_timeout=10,
            sql_mode=SQL_MODE,
            init_command="set time_zone = '+00:00'",
            **address,
        )


@contextmanager
def explained(settings: MysqlSettings) -> Iterator[None]:
    """Turn the driver's errors into one line that names the server and what to do."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        raise DatabaseError(_explanation(error, settings)) from error


def shortest_path(path: Path) -> Path:
    """Give the shorter of the absolute and the relative form: a socket's path must fit in about 107 bytes."""
    relative = Path(os.path.relpath(path))
    return relative if len(str(relative)) < len(str(path)) else path


def _explanation(error: pymysql.err.MySQLError, settings: MysqlSettings) -> str:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
    if code in _CANNOT_CONNECT and settings.is_embedded:
        return "the embedded MySQL server is not running: run make up"
    if code in _CANNOT_CONNECT:
        return f"no MySQL server answers at {settings.address}: check MYSQL_HOST and MYSQL_PORT ({text})"
    if code in _ACCESS_DENIED:
        return f"{settings.address} refuses user {settings.user!r}: check MYSQL_USER and MYSQL_PASSWORD ({text})"
    return f"{settings.address} failed: {text} (error {code})"
