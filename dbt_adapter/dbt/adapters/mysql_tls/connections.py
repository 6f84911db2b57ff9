"""Connections of dbt that are encrypted, and verified, as the profile says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mysql.connector
from dbt.adapters.mysql.connections import MySQLConnectionManager, MySQLCredentials
from dbt.contracts.connection import Connection, ConnectionState
from dbt.exceptions import DbtRuntimeError, FailedToConnectError

MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")


@dataclass(init=False)
class TlsCredentials(MySQLCredentials):
    """What a profile of `type: mysql_tls` holds beside what one of `type: mysql` does.

    Attributes:
        ssl_mode: a mode of MySQL's own clients (the MySQL manual, `--ssl-mode`); empty means verify_ca where a CA is
            given, and preferred where none is, as it does to them.
        ssl_ca: the file with the certificates of the authorities, in PEM.
    """

    ssl_mode: str = ""
    ssl_ca: str = ""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)  # type: ignore[no-untyped-call]
        self.ssl_mode = (self.ssl_mode or ("verify_ca" if self.ssl_ca else "preferred")).lower()
        if self.ssl_mode not in MODES:
            raise DbtRuntimeError(f"ssl_mode is {self.ssl_mode}, expected {', '.join(MODES[:-1])} or {MODES[-1]}")
        if self._is_verified != bool(self.ssl_ca):
            problem = "verifies nothing: leave out ssl_ca" if self.ssl_ca else "needs ssl_ca, the file of the CA"
            raise DbtRuntimeError(f"ssl_mode {self.ssl_mode} {problem}")
        if self.ssl_ca and not Path(self.ssl_ca).is_file():
            raise DbtRuntimeError(f"ssl_ca: there is no file {self.ssl_ca}")

    @property
    def type(self) -> str:
        """The adapter's name in profiles."""
        return "mysql_tls"

    @property
    def driver_arguments(self) -> dict[str, Any]:
        """What mysql-connector calls the mode. For `required` it has no name: see `open`."""
        if self.ssl_mode == "disabled":
            return {"ssl_disabled": True}
        if not self._is_verified:
            return {}
        return {
            "ssl_ca": self.ssl_ca,
            "ssl_verify_cert": True,
            "ssl_verify_identity": self.ssl_mode == "verify_identity",
        }

    @property
    def _is_verified(self) -> bool:
        return self.ssl_mode.startswith("verify_")

    def _connection_keys(self) -> tuple[str, ...]:
        return (*super()._connection_keys(), "ssl_mode", "ssl_ca")  # type: ignore[no-untyped-call]


class TlsConnectionManager(MySQLConnectionManager):
    """Opens connections with TLS as the credentials say; the rest is dbt-mysql's."""

    TYPE = "mysql_tls"

    @classmethod
    def open(cls, connection: Connection) -> Connection:
        """Open a connection, as dbt-mysql does but for TLS.

        Raises:
            FailedToConnectError: the server cannot be reached, refuses, or is not believed.
        """
        if connection.state == ConnectionState.OPEN:
            return connection
        credentials = cls.get_credentials(connection.credentials)  # type: ignore[no-untyped-call]
        optional = {name: getattr(credentials, name) for name in ("port", "charset", "collation")}
        try:
            connection.handle = mysql.connector.connect(
                host=credentials.server,
                user=credentials.username,
                passwd=credentials.password,
                buffered=True,
                **{name: value for name, value in optional.items() if value},
                **credentials.driver_arguments,
            )
            if credentials.ssl_mode == "required":
                _require_cipher(connection.handle)
        except mysql.connector.Error as error:
            connection.handle, connection.state = None, ConnectionState.FAIL
            raise FailedToConnectError(_explanation(error, credentials)) from error
        connection.state = ConnectionState.OPEN
        return connection


def _require_cipher(handle: Any) -> None:
    with handle.cursor() as cursor:
        cursor.execute("show session status like 'Ssl_cipher'")
        row = cursor.fetchone()
    if not row or not row[1]:
        handle.close()
        raise mysql.connector.InterfaceError("the server does not offer TLS", errno=2026)


def _explanation(error: mysql.connector.Error, credentials: TlsCredentials) -> str:
    server, text = f"{credentials.server}:{credentials.port}", " ".join(str(error).split())
    if "certificate verify failed" in text.lower():
        return (
            f"{server} is not believed: check MYSQL_SSL_CA ({credentials.ssl_ca}) and MYSQL_HOST;"
            f" MYSQL_SSL_MODE is {credentials.ssl_mode} ({text})"
        )
    return f"{server}: {text} (MYSQL_SSL_MODE is {credentials.ssl_mode})"
