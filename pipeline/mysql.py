"""Connections to the MySQL server."""

from __future__ import annotations

import io
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from pipeline.commands import UP
from pipeline.errors import DatabaseError
from pipeline.settings import MysqlSettings

if TYPE_CHECKING:
    # Generic in the type stubs only.
    MysqlConnection = Connection[Cursor]
else:
    MysqlConnection = Connection

# Whatever an administrator has set for all sessions: what an ordinary user may set, and what would change a result, cut
# off what takes long or make it wait for ever, is the project's own. LOAD DATA LOCAL makes warnings of errors in every
# mode, so the loader counts rows as well; strict mode guards every other statement. Sources: the MySQL 8.4 Reference
# Manual and MariaDB's documentation, Server System Variables. dbt's adapter has the same, which a test compares.
_VARIABLES: Mapping[str, str | int] = {
    "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    "time_zone": "'+00:00'",
    "autocommit": 1,
    "completion_type": "'NO_CHAIN'",
    "foreign_key_checks": 1,
    "unique_checks": 1,
    "sql_safe_updates": 0,
    "sql_auto_is_null": 0,
    "sql_big_selects": 1,
    "sql_select_limit": 18_446_744_073_709_551_615,
    "max_sort_length": 1024,
    "group_concat_max_len": 1 << 20,
    "div_precision_increment": 4,
    "net_read_timeout": 600,
    "net_write_timeout": 600,
    # The longest that a server takes. Managed servers may end a quiet connection after minutes, and a load takes hours.
    "wait_timeout": 31_536_000,
    # Its default is a year: somebody who forgot an open transaction would make a run wait for as long without a word.
    "lock_wait_timeout": 3600,
    "innodb_lock_wait_timeout": 600,
}
# Of one of the servers. MariaDB skips MySQL's comments from 50700 to 50999.
_VARIABLES_OF_ONE = (
    " /*!50708 , max_execution_time = 0 */"
    " /*M!100600 , max_statement_time = 0, check_constraint_checks = 1, idle_transaction_timeout = 0,"
    " idle_readonly_transaction_timeout = 0, idle_write_transaction_timeout = 0 */"
    " /*M!110602 , innodb_snapshot_isolation = 0 */"
)
SESSION = (
    "set names utf8mb4 collate utf8mb4_bin",
    f"set session {', '.join(f'{name} = {value}' for name, value in _VARIABLES.items())}{_VARIABLES_OF_ONE}",
    "set session transaction isolation level repeatable read, read write",
)

_SECONDS_TO_CONNECT = 10
# A server may stop reading for a while, to write its pages; MariaDB may stop for ever when the connection is killed.
_SECONDS_TO_WRITE = 300
# A statement may take hours without a word. So long may a server be silent before it is asked for a sign of life.
_SECONDS_BETWEEN_LOOKS = 60
# Seconds of silence, seconds between questions, questions without an answer; milliseconds that what was sent may wait.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6, "TCP_USER_TIMEOUT": 300_000}

_CANNOT_CONNECT = {2002, 2003, 2005}
_ACCESS_DENIED = {1045, 1698}
_TLS_FAILED = {2026}
_CONNECTION_LOST = (1053, 1159, 1160, 1161, 1317, 1927, 2006, 2013, 2055, 3169, 4031)
_EMBEDDED_REFUSED = f"the embedded MySQL server is not running: run {UP}"
_ALLOW_LOAD_DATA = "let an administrator `set global local_infile = on`, and write it into the server's configuration"
# The load and dbt go without: docs/mysql.md.
LARGE_PACKET = "16M"
_AGAIN = "run the same command again, it continues where this one stopped"

# What to do about the errors that a person can do something about. Numbers: the MySQL Error Message Reference, and
# MariaDB's Error Codes for those of MariaDB alone.
_REMEDIES: Mapping[tuple[int, ...], str] = {
    (1044, 1142, 1143, 1227): "grant the user what docs/mysql.md lists",
    (1148, 3948, 4166): _ALLOW_LOAD_DATA,
    (1047,): "a proxy on the way does not know the command: connect to the server itself, or let the proxy pass it",
    (1153, 2020): f"the server's max_allowed_packet is too small: set it to {LARGE_PACKET} or more",
    (3, 20, 28, 1021, 1026, 1114): f"the server has no room to write: free some of its disk, then {_AGAIN}",
    (1205,): f"another client held a lock for too long (`show processlist` lists the clients): then {_AGAIN}",
    _CONNECTION_LOST: f"the connection was lost: {_AGAIN}",
    (1209, 1290, 1792, 1836): (
        "the server takes no changes (read_only, super_read_only, or a replica): name the primary in MYSQL_HOST, then"
        f" {_AGAIN}"
    ),
    (1040, 1203, 1226): f"the server has no connection left: end some, or let it have more, then {_AGAIN}",
    (3159, 4152): "the server takes encrypted connections only: set MYSQL_SSL_MODE to required or verify_ca",
}


def connect(
    settings: MysqlSettings,
    *,
    database: str | None = None,
    connection_class: type[MysqlConnection] = Connection,
    seconds_to_wait: int | None = None,
) -> MysqlConnection:
    """Open a connection on which each statement is a transaction unless one is begun, in the project's own session.

    Args:
        settings: where the server is.
        database: the database to use; none by default.
        connection_class: a subclass that answers `LOAD DATA LOCAL`, for the loader.
        seconds_to_wait: for the server, to each statement too; by default 10 seconds for the connection, and for a
            statement as long as the server shows that it is there.

    Raises:
        DatabaseError: the server cannot be reached, or refuses.
    """
    address: dict[str, Any] = (
        {"unix_socket": str(shortest_path(settings.unix_socket))}
        if settings.host is None
        else {"host": settings.host, "port": settings.port}
    )
    arguments: dict[str, Any] = {
        "user": settings.user,
        "password": settings.password.encode(errors="surrogateescape"),  # the driver would make Latin-1 of it
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": seconds_to_wait or _SECONDS_TO_CONNECT,
        "read_timeout": seconds_to_wait or _SECONDS_TO_CONNECT,
        "write_timeout": seconds_to_wait or _SECONDS_TO_CONNECT,  # of the handshake of TLS too
        **address,
        **_tls_arguments(settings),
    }
    with explained(settings, logs_in=True):
        connection = connection_class(database=database, **arguments)
    with explained(settings):
        try:
            _keep_alive(connection)
            if seconds_to_wait is None:
                _wait_patiently(connection, arguments)
            with connection.cursor() as cursor:
                for statement in SESSION:
                    cursor.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection


class _PatientStream(io.RawIOBase):
    """What a server sends, waited for as long as the server shows that it is there."""

    def __init__(self, source: socket.socket, is_there: Callable[[], bool]) -> None:
        self._source, self._is_there = source, is_there

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        begun = time.monotonic()
        while True:
            try:
                return self._source.recv_into(buffer)
            except TimeoutError:
                if not self._is_there():
                    silent = f"silent for {time.monotonic() - begun:.0f} s, and no answer to a new connection"
                    raise TimeoutError(silent) from None


def _wait_patiently(connection: Any, arguments: Mapping[str, Any]) -> None:
    """Let a statement take any time, but for a server that has stopped to answer.

    Behind a proxy nobody knows the number of a connection, so that the server is asked for a new one.
    """

    def answers() -> bool:
        try:
            Connection(**arguments).close()
        except pymysql.err.MySQLError as error:
            # Too many connections, say, is an answer too.
            return error.args[0] not in (*_CANNOT_CONNECT, *_CONNECTION_LOST)
        return True

    connection._read_timeout = _SECONDS_BETWEEN_LOOKS
    connection._rfile = io.BufferedReader(_PatientStream(connection._sock, answers))


def _keep_alive(connection: Any) -> None:
    """Let the system notice within minutes that a peer is gone, and middleboxes that the connection is in use."""
    connection._write_timeout = _SECONDS_TO_WRITE
    if connection._sock.family == socket.AF_UNIX:
        return
    connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def largest_packet(connection: MysqlConnection) -> int:
    """Give the size of the largest packet that the server takes, in bytes."""
    with connection.cursor() as cursor:
        cursor.execute("select @@session.max_allowed_packet")
        row = cursor.fetchone()
    return int(row[0]) if row else 1 << 20


@contextmanager
def explained(settings: MysqlSettings, *, logs_in: bool = False) -> Iterator[None]:
    """Turn the driver's errors into one line that names the server and what to do.

    Args:
        settings: where the server is.
        logs_in: whether all that is done is to log in: what is raised then is the driver's, of what may be no server.

    Raises:
        DatabaseError: the server cannot be reached, refuses or fails.
    """
    try:
        yield
    except pymysql.err.MySQLError as error:
        raise DatabaseError(_explanation(error, settings, logs_in=logs_in)) from error
    except RuntimeError as error:
        if "LOAD_LOCAL" not in str(error):
            raise
        raise DatabaseError(
            f"{settings.address} asked for a file of this machine, and was given none: do not trust it"
        ) from error
    except Exception as error:
        if not logs_in:
            raise
        # Of words that make no sense: those of who answers, and those of the settings.
        cause = (
            "MYSQL_USER and MYSQL_PASSWORD" if isinstance(error, UnicodeEncodeError) else "MYSQL_HOST and MYSQL_PORT"
        )
        raise DatabaseError(
            f"no MySQL server answers at {settings.address}: check {cause} ({type(error).__name__})"
        ) from error


def remedy_for(code: int) -> str | None:
    """Give what a person can do about an error of the server, by its number, if anything is known."""
    return next((remedy for codes, remedy in _REMEDIES.items() if code in codes), None)


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


def _explanation(error: pymysql.err.MySQLError, settings: MysqlSettings, *, logs_in: bool) -> str:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLError) or code in _TLS_FAILED:
        return _tls_explanation(cause, settings, text)
    # In the place of a server there may be anything: what is silent, or closes, or speaks of other things.
    is_none = code in _CANNOT_CONNECT or (logs_in and (code in (2006, 2013, 2055) or "Packet sequence" in text))
    if code in _CANNOT_CONNECT and settings.is_embedded:
        return _EMBEDDED_REFUSED
    if is_none and not settings.is_embedded:
        return f"no MySQL server answers at {settings.address}: check MYSQL_HOST and MYSQL_PORT ({text})"
    if code in _ACCESS_DENIED:
        check = "MYSQL_USER and MYSQL_PASSWORD"
        if settings.tls.mode == "disabled" and settings.host is not None:
            check += ", and whether the user must connect with TLS (MYSQL_SSL_MODE is disabled)"
        return f"{settings.address} refuses user {settings.user!r}: check {check} ({text})"
    remedy = remedy_for(code)
    return f"{settings.address} failed: {f'{remedy} ' if remedy else ''}({text}, error {code})"


def _tls_explanation(cause: ssl.SSLError | None, settings: MysqlSettings, text: str) -> str:
    tls = settings.tls
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"{settings.address} is not believed, {cause.verify_message}: check MYSQL_SSL_CA ({tls.ca_file})"
            f" and MYSQL_HOST; MYSQL_SSL_MODE is {tls.mode}"
        )
    return f"{settings.address} does not agree on TLS: MYSQL_SSL_MODE is {tls.mode} ({cause or text})"
