"""dbt's adapter: what a profile says is what all other commands are told by the environment."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt.exceptions import DbtRuntimeError
from jinja2 import Environment

connections = importlib.import_module("dbt.adapters.pymysql.connections")  # mypy does not see what is editable


def rendered(root: Path, name: str, environment: dict[str, str]) -> str:
    """What profiles.yml makes of an environment."""
    template = yaml.safe_load((root / "profiles.yml").read_text())["deepcvr"]["outputs"]["train"][name]
    jinja = Environment(autoescape=False)
    return jinja.from_string(template).render(env_var=environment.get)


def credentials(profile: dict[str, str]) -> Any:
    return connections.PymysqlCredentials.from_dict({"schema": "deepcvr", "ssl_mode": "", "password": "", **profile})


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "MYSQL_HOST is set but MYSQL_USER is not: set MYSQL_USER and MYSQL_PASSWORD"),
        ({"MYSQL_USER": "me", "MYSQL_PORT": "0"}, "MYSQL_PORT is '0', expected a number from 1 to 65535"),
        ({"MYSQL_USER": "me", "MYSQL_PORT": "70000"}, "MYSQL_PORT is '70000', expected a number from 1 to 65535"),
    ],
)
def test_dbt_refuses_what_the_loader_refuses(root: Path, environment: dict[str, str], message: str) -> None:
    values = {each: rendered(root, each, {"MYSQL_HOST": "db", **environment}) for each in ("host", "user", "port")}

    with pytest.raises(DbtRuntimeError, match=message):
        credentials(values)


def test_a_server_without_a_host_is_the_embedded_one_whatever_else_is_set(root: Path) -> None:
    environment = {"MYSQL_PORT": "x", "MYSQL_USER": "me", "MYSQL_PASSWORD": "p", "MYSQL_SSL_MODE": "verify_ca"}
    names = ("host", "port", "user", "password", "ssl_mode", "ssl_ca")

    found = credentials({name: rendered(root, name, environment) for name in names}).settings()

    assert (found.host, found.user, found.password) == (None, "root", "")
