"""dbt's adapter: what it shares with the loader, which it cannot import."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml
from dbt.exceptions import DbtRuntimeError
from jinja2 import Environment

from pipeline.mysql import SESSION

connections = importlib.import_module("dbt.adapters.mysql_tls.connections")  # mypy does not see what is editable


def test_dbt_has_the_session_of_all_other_connections() -> None:
    assert connections.SESSION == SESSION


def rendered(root: Path, name: str, environment: dict[str, str]) -> str:
    """What profiles.yml makes of an environment."""
    template = yaml.safe_load((root / "profiles.yml").read_text())["deepcvr"]["outputs"]["train"][name]
    jinja = Environment(autoescape=False)
    jinja.filters["as_number"] = int
    return jinja.from_string(template).render(env_var=environment.get)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "MYSQL_HOST is set but MYSQL_USER is not: set MYSQL_USER and MYSQL_PASSWORD"),
        ({"MYSQL_USER": "me", "MYSQL_PORT": "0"}, "MYSQL_PORT is 0, expected a number from 1 to 65535"),
        ({"MYSQL_USER": "me", "MYSQL_PORT": "70000"}, "MYSQL_PORT is 70000, expected a number from 1 to 65535"),
    ],
)
def test_dbt_refuses_what_the_loader_refuses(root: Path, environment: dict[str, str], message: str) -> None:
    values = {
        each: rendered(root, each, {"MYSQL_HOST": "db", **environment}) for each in ("server", "username", "port")
    }

    with pytest.raises(DbtRuntimeError, match=message):
        connections.TlsCredentials(**values, password="", schema="deepcvr", database=None)


def test_a_server_without_a_host_is_the_embedded_one_whatever_else_is_set(root: Path) -> None:
    environment = {"MYSQL_PORT": "x", "MYSQL_USER": "me", "MYSQL_PASSWORD": "p", "MYSQL_SSL_MODE": "verify_ca"}

    assert rendered(root, "port", environment) == "3306"
    assert rendered(root, "username", environment) == "root"
    assert rendered(root, "password", environment) == ""
    assert rendered(root, "ssl_mode", environment) == "disabled"
