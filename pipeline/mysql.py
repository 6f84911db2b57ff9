"""Connections to the MySQL server."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
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

# Its default is a year: somebody who forgot an open transaction would make a run wait for as long without a word.
_SECONDS_TO_WAIT_FOR_TABLE = 3600
# The longest that a server takes. Managed servers may end a quiet connection after minutes, and a load takes hours.
_SECONDS_TO_BE_QUIET = 31_536_000
_SESSION = (
    f"set time_zone = '+00:00', wait_timeout = {_SECONDS_TO_BE_QUIET}, lock_wait_timeout = {_SECONDS_TO_WAIT_FOR_TABLE}"
)

_CANNOT_CONNECT = {2002, 2003, 2005}
_ACCESS_DENIED = {1045, 1698}
_TLS_FAILED = {2026}
_EMBEDDED_REFUSED = "the embedded MySQL server is not running: run make up"
_ALLOW_LOAD_DATA = "let an administrator `set global local_infile = on`, and write it into the server's configuration"
_AGAIN = "run the same command again, it continues where this one stopped"

# What to do about the errors that a person can do something about. Numbers: the MySQL Error Message Reference, and
# MariaDB's Error Codes for those of MariaDB alone.
_REMEDIES: Mapping[tuple[int, ...], str] = {
    (1044, 1142, 1143, 1227): "grant the user what docs/mysql.md lists",
    (1148, 3948, 4166): _ALLOW_LOAD_DATA,
    (1153, 2020): "the server's max_allowed_packet is too small: set it to 1M or more",
    (3, 20, 28, 1021, 1026, 1114): f"the server has no room to write: free some of its disk, then {_AGAIN}",
    (1205,): f"another client held a lock for too long (`show processlist` lists the clients): then {_AGAIN}",
    (1053, 1159, 1160, 1161, 1317, 1927, 2006, 2013, 2055, 3169, 4031): f"the connection was lost: {_AGAIN}",
    (3159, 4152): "the server takes encrypted connections only: set MYSQL_SSL_MODE to required or verify_ca",
}


def connect(
    settings: MysqlSettings,
    *,
    database: str | None = None,
    connection_class: type[MysqlConnection] = Connection,
    seconds_to_wait: int | None = None,
) -> MysqlConnection:
    """Open a connection in UTC and strict mode, on which each statement is a transaction unless one is begun.

    Args:
        settings: where the server is.
        database: the database to use; none by default.
        connection_class: a subclass that answers `LOAD DATA LOCAL`, for the loader.
        seconds_to_wait: for the server, to each statement too; 10 seconds for the connection alone by default.

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
            connect_timeout=seconds_to_wait or 10,
            read_timeout=seconds_to_wait,
            sql_mode=SQL_MODE,
            init_command=_SESSION,
            **address,
            **_tls_arguments(settings),
        )


def require_load_data(connection: MysqlConnection, settings: MysqlSettings) -> None:
    """Find out before hours of work that the server does not take the rows in the end.

    Raises:
        DatabaseError: `local_infile` is off.
    """
    with connection.cursor() as cursor:
        cursor.execute("select @@global.local_infile")
        row = cursor.fetchone()
    if not row or not row[0]:
        raise DatabaseError(f"{settings.address} has local_infile off: {_ALLOW_LOAD_DATA}")


def largest_packet(connection: MysqlConnection) -> int:
    """Give the size of the largest packet that the server takes, in bytes."""
    with connection.cursor() as cursor:
        cursor.execute("select @@session.max_allowed_packet")
        row = cursor.fetchone()
    return int(row[0]) if row else 1 << 20


@contextmanager
def explained(settings: MysqlSettings) -> Iterator[None]:
    """Turn the driver's errors into one line that names the server and what to do."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        raise DatabaseError(_explanation(error, settings)) from error
    except RuntimeError as error:
        if "LOAD_LOCAL" not in str(error):
            raise
        raise DatabaseError(
            f"{settings.address} asked for a file of this machine, and was given none: do not trust it"
        ) from error


def shortest_path(path: Path) -> Path:
    """Give the shorter of the absolute and the relative form: a socket's path must fit in about 107 bytes."""
    relative = Path(os.path.relpath(path))
    return relative if len(str(relative)) < len(str(path)) else path


def _tls_arguments(settings: MysqlSettings) -> dict[str, Any]:
    """What the driver needs for each mode. Its own default is `preferred`, and a context makes encryption required."""
    tls = settings.tls
    if settings.host is None or tls.mode == "disabled":
        return {"ssl_disabled": True}
    if tls.mode == "preferred":
        return {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.mode == "verify_identity"
    context.verify_mode = ssl.CERT_REQUIRED if tls.is_verified else ssl.CERT_NONE
    if tls.ca_certificates:
        context.load_verify_locations(cadata=tls.ca_certificates)
    return {"ssl": context}


def _explanation(error: pymysql.err.MySQLError, settings: MysqlSettings) -> str:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLError) or code in _TLS_FAILED:
        return _tls_explanation(cause, settings, text)
    if code in _CANNOT_CONNECT and settings.is_embedded:
        return _EMBEDDED_REFUSED
    if code in _CANNOT_CONNECT:
        return f"no MySQL server answers at {settings.address}: check MYSQL_HOST and MYSQL_PORT ({text})"
    if code in _ACCESS_DENIED:
        check = "MYSQL_USER and MYSQL_PASSWORD"
        if settings.tls.mode == "disabled" and settings.host is not None:
            check += ", and whether the user must connect with TLS (MYSQL_SSL_MODE is disabled)"
        return f"{settings.address} refuses user {settings.user!r}: check {check} ({text})"
    remedy = next((remedy for codes, remedy in _REMEDIES.items() if code in codes), None)
    return f"{settings.address} failed: {f'{remedy} ' if remedy else ''}({text}, error {code})"


def _tls_explanation(cause: ssl.SSLError | None, settings: MysqlSettings, text: str) -> str:
    tls = settings.tls
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"{settings.address} is not believed, {cause.verify_message}: check MYSQL_SSL_CA ({tls.ca_file})"
            f" and MYSQL_HOST; MYSQL_SSL_MODE is {tls.mode}"
        )
    return f"{settings.address} does not agree on TLS: MYSQL_SSL_MODE is {tls.mode} ({cause or text})"
