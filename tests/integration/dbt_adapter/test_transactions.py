"""What is deleted is there again where the insert that belongs to it fails."""

from __future__ import annotations

from typing import Any

import pytest
from dbt.tests.util import run_dbt

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:Class-scoped fixture")]

_MODEL = """
{{ config(materialized='incremental', unique_key='id') }}
select 1 as id, '{{ var("value") }}' as value
{% if is_incremental() %}union all select 2, 'refused'{% endif %}
"""
_SNAPSHOT = """
{% snapshot history %}
{{ config(unique_key='id', strategy='check', check_cols='all', target_schema=target.schema) }}
select 1 as id, '{{ var("value") }}' as value
{% if var("value") != 'old' %}union all select 2, 'refused'{% endif %}
{% endsnapshot %}
"""


class TestTransactions:
    @pytest.fixture(scope="class")
    def models(self) -> dict[str, str]:
        return {"incremental.sql": _MODEL}

    @pytest.fixture(scope="class")
    def snapshots(self) -> dict[str, str]:
        return {"history.sql": _SNAPSHOT}

    @pytest.mark.parametrize(
        ("command", "table", "columns"),
        [("run", "incremental", "id, value"), ("snapshot", "history", "id, value, dbt_valid_to")],
    )
    def test_a_row_that_cannot_be_replaced_stays(self, project: Any, command: str, table: str, columns: str) -> None:
        run_dbt([command, "--vars", "value: old"])
        select = f"select {columns} from {project.test_schema}.{table}"
        before = project.run_sql(select, fetch="all")
        project.run_sql(f"alter table {project.test_schema}.{table} add check (id < 2)")

        run_dbt([command, "--vars", "value: longer than the old one"], expect_pass=False)

        assert project.run_sql(select, fetch="all") == before
