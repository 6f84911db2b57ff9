"""TLS between dbt and the server, as MYSQL_SSL_MODE and MYSQL_SSL_CA ask for it: plain dbt, no wrapper."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from dbt.exceptions import DbtRuntimeError

from pipeline.settings import MysqlSettings
from tests.certificates import Authority, create_authority
from tests.integration.dbt.project import DATABASE, DbtProject, create_project, expected_contents
from tests.integration.dbt.staged_data import generate_load, stage
from tests.servers import FragileServer


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that has signed nothing of the server's."""
    return create_authority(tmp_path_factory.mktemp("stranger"), address="127.0.0.1")


@pytest.fixture
def project(fragile: FragileServer, root: Path, tmp_path: Path) -> DbtProject:
    """The dbt project, over a server with a certificate."""
    return create_project(tmp_path / "root", root, fragile.settings)


def not_believed(authority: Authority, mode: str) -> str:
    return f"check MYSQL_SSL_CA ({authority.ca}) and MYSQL_HOST; MYSQL_SSL_MODE is {mode}"


def test_dbt_debug_believes_the_right_authority_alone(
    project: DbtProject, authority: Authority, stranger: Authority
) -> None:
    succeeded, output = project.run("debug", MYSQL_SSL_CA=str(authority.ca))
    assert succeeded, output
    assert f"ssl_ca: {authority.ca}" in output

    succeeded, output = project.run("debug", MYSQL_SSL_CA=str(stranger.ca), MYSQL_SSL_MODE="VERIFY_IDENTITY")
    assert not succeeded
    assert not_believed(stranger, "verify_identity") in output


@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_dbt_run_builds_over_a_verified_connection_and_over_no_other(
    project: DbtProject, root: Path, authority: Authority, stranger: Authority
) -> None:
    load = generate_load(num_samples=100, num_groups=10)
    stage(project.mysql, DATABASE, load, root)

    succeeded, output = project.run("run", MYSQL_SSL_CA=str(stranger.ca))
    assert not succeeded
    assert not_believed(stranger, "verify_ca") in output
    assert not project.schema()

    succeeded, output = project.run("run", MYSQL_SSL_CA=str(authority.ca), MYSQL_SSL_MODE="verify_identity")
    assert succeeded, output
    assert project.contents() == expected_contents(load)
    assert set(project.schema()) == {*expected_contents(load), "feature_field"}


@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_a_server_that_wants_tls_gets_it_from_dbt_by_default(fragile: FragileServer, project: DbtProject) -> None:
    with fragile.variable("require_secure_transport", "on"):
        succeeded, output = project.run("debug")
        assert succeeded, output
        succeeded, output = project.run("debug", MYSQL_SSL_MODE="disabled")
    assert not succeeded
    assert "must connect with TLS (MYSQL_SSL_MODE is disabled)" in output or "encrypted connections only" in output


def test_dbt_refuses_a_server_without_tls_where_it_is_required(
    mariadb_by_tcp: MysqlSettings, root: Path, tmp_path: Path
) -> None:
    succeeded, output = create_project(tmp_path / "root", root, mariadb_by_tcp).run("debug", MYSQL_SSL_MODE="required")
    assert not succeeded
    assert "does not agree on TLS: MYSQL_SSL_MODE is required" in output


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"ssl_mode": "on"}, "MYSQL_SSL_MODE is 'on', expected disabled, preferred, required, verify_ca or"),
        ({"ssl_mode": "VERIFY_CA"}, "MYSQL_SSL_MODE is verify_ca but MYSQL_SSL_CA is not set"),
        ({"ssl_mode": "required", "ssl_ca": "ca.pem"}, "MYSQL_SSL_MODE required verifies nothing"),
        ({"ssl_ca": "no.pem"}, "MYSQL_SSL_CA: .*no.pem cannot be read"),
    ],
)
def test_a_mistake_in_the_profile_is_named(profile: dict[str, str], message: str) -> None:
    connections = importlib.import_module("dbt.adapters.pymysql.connections")  # mypy does not see what is editable
    with pytest.raises(DbtRuntimeError, match=message):
        connections.PymysqlCredentials.from_dict({"schema": "deepcvr", "host": "db", "user": "me", **profile})
