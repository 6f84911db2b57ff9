"""The adapter `mysql_tls`: dbt-mysql, whose profiles take `ssl_mode` and `ssl_ca` as well.

dbt-mysql 1.7 gives its driver no TLS option, and the driver by itself verifies nothing. Everything but the opening of a
connection is dbt-mysql's: its macros, and those of a project for `mysql`, serve this adapter too.
"""

from __future__ import annotations

from pathlib import Path

from dbt.adapters.base.plugin import AdapterPlugin
from dbt.adapters.mysql.impl import MySQLAdapter

from .connections import TlsConnectionManager, TlsCredentials


class TlsAdapter(MySQLAdapter):
    """dbt-mysql's adapter over verified connections."""

    ConnectionManager = TlsConnectionManager


Plugin = AdapterPlugin(
    adapter=TlsAdapter,  # type: ignore[arg-type] # as dbt-mysql's own
    credentials=TlsCredentials,
    include_path=str(Path(__file__).parent),
    dependencies=["mysql"],
)
