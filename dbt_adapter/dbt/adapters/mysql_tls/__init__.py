"""The adapter `mysql_tls`: dbt-mysql with TLS, with a session of the project's own, and with locks for a whole run.

dbt-mysql 1.7 gives its driver no TLS option, and the driver by itself verifies nothing. Everything else is dbt-mysql's:
its macros, and those of a project for `mysql`, serve this adapter too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dbt.adapters.base.meta import available
from dbt.adapters.base.plugin import AdapterPlugin
from dbt.adapters.mysql.impl import MySQLAdapter

from .connections import TlsConnectionManager, TlsCredentials


class TlsAdapter(MySQLAdapter):
    """dbt-mysql's adapter over the project's own connections."""

    ConnectionManager = TlsConnectionManager

    @available.parse(lambda *_: (True, None))
    def hold_lock(self, name: str, seconds: int) -> tuple[bool, int | None]:
        """Hold a lock of the server until this command of dbt has ended.

        Args:
            name: the lock's, of at most 64 characters.
            seconds: to wait for it.

        Returns:
            Whether it is held; and which connection holds it else, where that is known.
        """
        connections: Any = self.connections
        held, holder = connections.hold_lock(name, seconds)
        return held, holder


Plugin = AdapterPlugin(
    adapter=TlsAdapter,  # type: ignore[arg-type] # as dbt-mysql's own
    credentials=TlsCredentials,
    include_path=str(Path(__file__).parent),
    dependencies=["mysql"],
)
