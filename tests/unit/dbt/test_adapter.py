"""dbt's adapter: what it shares with the loader, which it cannot import."""

from __future__ import annotations

import importlib

from pipeline.mysql import SESSION


def test_dbt_has_the_session_of_all_other_connections() -> None:
    connections = importlib.import_module("dbt.adapters.mysql_tls.connections")  # mypy does not see what is editable
    assert connections.SESSION == SESSION
