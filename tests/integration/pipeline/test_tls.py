"""TLS between the loader and the server, as MYSQL_SSL_MODE and MYSQL_SSL_CA ask for it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DatabaseError
from pipeline.mysql import connect
from pipeline.settings import TLS_MODES, MysqlSettings, TlsMode, TlsSettings, load_settings
from tests.certificates import Authority, create_authority
from tests.servers import FragileServer


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that has signed nothing of the server's."""
    return create_authority(tmp_path_factory.mktemp("stranger"), address="127.0.0.1")


@pytest.fixture
def tls_only(fragile: FragileServer) -> Iterator[FragileServer]:
    """The server, which takes encrypted connections only."""
    with fragile.variable("require_secure_transport", "on"):
        yield fragile


def cipher(mysql: MysqlSettings) -> str:
    """The cipher of a new connection; empty where it is not encrypted."""
    with closing(connect(mysql)) as connection, connection.cursor() as cursor:
        cursor.execute("show session status like 'Ssl_cipher'")
        row = cursor.fetchone()
        return str(row[1]) if row else ""


@pytest.mark.parametrize("mode", TLS_MODES)
def test_each_mode_connects_to_a_server_with_the_certificate_that_it_asks_for(
    fragile: FragileServer, authority: Authority, mode: TlsMode
) -> None:
    ca = authority.ca if mode.startswith("verify") else None
    assert bool(cipher(fragile.trusting(ca, mode))) == (mode != "disabled")


def test_a_server_that_wants_tls_gets_it_by_default_and_says_so_where_it_is_switched_off(
    tls_only: FragileServer,
) -> None:
    assert cipher(tls_only.settings)
    with pytest.raises(
        DatabaseError, match=r"encrypted connections only: set MYSQL_SSL_MODE|must connect with TLS \(MYSQL_SSL_MODE"
    ):
        connect(tls_only.trusting(None, "disabled"))


def test_a_user_that_must_come_with_tls_is_refused_without_it_and_told_why(fragile: FragileServer) -> None:
    fragile.as_root("drop user if exists sealed", "create user sealed identified by 'a b' require ssl")
    sealed = replace(fragile.settings, user="sealed", password="a b")

    assert cipher(sealed)
    with pytest.raises(DatabaseError, match=r"refuses user 'sealed': .*must connect with TLS") as caught:
        connect(replace(sealed, tls=TlsSettings("disabled")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["verify_ca", "verify_identity"])
def test_another_authority_is_not_believed(fragile: FragileServer, stranger: Authority, mode: TlsMode) -> None:
    with pytest.raises(DatabaseError, match=r"is not believed, .+: check MYSQL_SSL_CA \(.+ca\.pem\)") as caught:
        connect(fragile.trusting(stranger.ca, mode))
    assert "\n" not in str(caught.value)


def test_only_verify_identity_looks_at_the_name_in_the_certificate(
    fragile: FragileServer, authority: Authority
) -> None:
    by_name = replace(fragile.trusting(authority.ca, "verify_ca"), host="localhost")
    assert cipher(by_name)
    with pytest.raises(DatabaseError, match=r"localhost:\d+ is not believed, Hostname mismatch"):
        connect(replace(fragile.trusting(authority.ca, "verify_identity"), host="localhost"))


def test_a_server_without_tls_is_refused_where_tls_is_required(
    mariadb_by_tcp: MysqlSettings, authority: Authority
) -> None:
    assert not cipher(mariadb_by_tcp)
    for tls in (TlsSettings("required"), TlsSettings("verify_ca", authority.ca, authority.ca.read_text())):
        with pytest.raises(DatabaseError, match=f"does not agree on TLS: MYSQL_SSL_MODE is {tls.mode}"):
            connect(replace(mariadb_by_tcp, tls=tls))


def test_an_executor_verifies_without_the_file(
    fragile: FragileServer, authority: Authority, root: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "ca.pem"
    copy.write_bytes(authority.ca.read_bytes())
    environ = {
        "MYSQL_HOST": "127.0.0.1",
        "MYSQL_PORT": str(fragile.tcp.port),
        "MYSQL_USER": fragile.tcp.user,
        "MYSQL_PASSWORD": fragile.tcp.password,
        "MYSQL_SSL_CA": str(copy),
    }
    pickled = pickle.dumps(load_settings(root=root, environ=environ).mysql)
    copy.unlink()

    received = pickle.loads(pickled)

    assert received.tls.mode == "verify_ca"
    assert cipher(received)
