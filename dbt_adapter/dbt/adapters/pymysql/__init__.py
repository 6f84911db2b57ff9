"""The adapter `pymysql`: MySQL and MariaDB for a dbt that dbt-mysql's own Python does not know.

The SQL is dbt-mysql's: its macros, and those of a project for `mysql`, serve this adapter too. What they lack is in
`macros/`. docs/decisions/dbt-version.md says what deviates and why.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from dbt.adapters.base import AdapterPlugin
from dbt.include import mysql

from .connections import PymysqlCredentials
from .impl import MysqlMacros, PymysqlAdapter

Plugin = AdapterPlugin(
    adapter=PymysqlAdapter,  # type: ignore[arg-type] # as in every adapter
    credentials=PymysqlCredentials,
    include_path=str(Path(__file__).parent),
    dependencies=[MysqlMacros.type()],
)

# dbt finds `mysql__…` along the adapters that ours depends on, and imports those by their names. dbt-mysql's own module
# is for dbt 1.7 and another driver.
_macros = ModuleType("dbt.adapters.mysql")
_macros.Plugin = AdapterPlugin(  # type: ignore[attr-defined]
    adapter=MysqlMacros,  # type: ignore[arg-type]
    credentials=PymysqlCredentials,
    include_path=mysql.PACKAGE_PATH,
)
sys.modules[_macros.__name__] = _macros
