"""Every port of the S3 server: found by asking the kernel, tried without a key, with a wrong one and with its own."""

from __future__ import annotations

import http.client
import socket
import ssl
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from embedded.certificates import AUTHORITY, CERTIFICATE, KEY, write_certificates
from embedded.s3_server import S3Server, open_client
from tests.processes import Listener, descendants, listeners

# Pages of SeaweedFS's parts that tell, change or delete something.
PAGES = [
    "/",
    "/buckets/",
    "/cluster/status",
    "/col/delete?collection=no-such-bucket",
    "/debug/pprof/",
    "/dir/assign",
    "/dir/lookup?volumeId=1",
    "/dir/status",
    "/metrics",
    "/seaweedfsstatic/",
    "/stats/memory",
    "/status",
    "/submit",
    "/ui/index.html",
    "/vol/status",
    "/1,01",
]
# The beginning of HTTP/2, which gRPC speaks, with an empty frame of settings.
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS = 4


@pytest.fixture(scope="module")
def opened(s3: S3Server) -> list[Listener]:
    """All that the server's processes listen on."""
    return [listener for pid in [s3.pid, *descendants(s3.pid)] for listener in listeners(pid)]


@pytest.fixture(scope="module")
def inner_ports(s3: S3Server, opened: list[Listener]) -> list[int]:
    """The TCP ports that are not S3's."""
    return [each.port for each in opened if each.port is not None and each.port != s3_port(s3)]


def s3_port(s3: S3Server) -> int:
    return int(s3.endpoint_url.rpartition(":")[2])


def test_the_kernel_knows_of_no_port_but_those_that_were_chosen(s3: S3Server, opened: list[Listener]) -> None:
    by_network = [each for each in opened if each.port is not None]

    assert {each.port for each in by_network} == set(s3.access.ports)
    assert {each.address for each in by_network} == {"127.0.0.1"}


def test_only_the_owner_may_use_the_sockets(s3: S3Server, opened: list[Listener]) -> None:
    sockets = {s3.base / "data" / "s3" / each.path for each in opened if each.path is not None}

    assert len(sockets) >= 4
    assert {path for path in sockets if stat.S_IMODE(path.stat().st_mode) & 0o077} == set()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_no_inner_port_answers_a_request_without_tls(inner_ports: list[int], method: str) -> None:
    answers = {(port, page): ask(port, method, page) for port in inner_ports for page in PAGES}

    assert {status for status, _ in answers.values()} <= {None, 400}
    assert {body for _, body in answers.values()} <= {b"", b"Client sent an HTTP request to an HTTPS server.\n"}


def test_no_inner_port_answers_grpc_without_tls(inner_ports: list[int]) -> None:
    for port in inner_ports:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            assert not is_http2(talk(connection, HTTP2))


def test_the_inner_ports_answer_only_to_the_servers_own_certificate(
    s3: S3Server, inner_ports: list[int], tmp_path: Path
) -> None:
    write_certificates(tmp_path)
    own = s3.base / "s3_certificates"
    web, rpc = 0, 0
    for port in inner_ports:
        for certificates in (None, tmp_path):
            assert talk_tls(port, certificates, HTTP2, "h2") == b""
            assert talk_tls(port, certificates, b"GET /dir/status HTTP/1.0\r\n\r\n", "http/1.1") == b""
        # The same questions with the server's own certificate are answered: the ports are shut, not deaf.
        rpc += is_http2(talk_tls(port, own, HTTP2, "h2"))
        web += talk_tls(port, own, b"GET /dir/status HTTP/1.0\r\n\r\n", "http/1.1").startswith(b"HTTP/1.")
    assert (web, rpc) == (3, 7)  # three of them serve pages, in both versions of HTTP


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD"])
def test_the_port_of_s3_tells_nothing_without_a_key(s3: S3Server, method: str) -> None:
    for page in [*PAGES, "/bucket-of-no-one/key", "/?Action=ListUsers", "/?Action=GetCallerIdentity"]:
        status, body = ask(s3_port(s3), method, page)
        # That it runs, it tells everybody.
        assert status in (403, 405) or (page == "/status" and (status, body) == (200, b"")), (method, page, status)


def test_what_is_stored_is_not_there_for_who_has_no_key(s3: S3Server) -> None:
    client = open_client(s3)
    client.create_bucket(Bucket="behind-the-doors")
    client.put_object(Bucket="behind-the-doors", Key="a/b", Body=b"content")

    for page in ("/behind-the-doors", "/behind-the-doors/a/b", "/behind-the-doors/?list-type=2"):
        for method in ("GET", "HEAD", "DELETE", "PUT"):
            status, body = ask(s3_port(s3), method, page)
            assert status == 403
            assert b"content" not in body
    assert client.get_object(Bucket="behind-the-doors", Key="a/b")["Body"].read() == b"content"


def ask(port: int, method: str, page: str) -> tuple[int | None, bytes]:
    """The answer to an HTTP request, or None where the connection is closed without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, page)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (ConnectionError, http.client.BadStatusLine):
        return None, b""
    finally:
        connection.close()


def talk_tls(port: int, certificates: Path | None, question: bytes, protocol: str) -> bytes:
    """What comes back over TLS; nothing where the server breaks off."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    if certificates is not None:
        context.load_cert_chain(certificates / CERTIFICATE, certificates / KEY)
        context.load_verify_locations(certificates / AUTHORITY)
    with (
        suppress(ssl.SSLError, ConnectionError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain) as connection,
    ):
        return talk(connection, question)
    return b""


def talk(connection: socket.socket, question: bytes) -> bytes:
    """The first bytes that come back, or none."""
    with suppress(ConnectionError):
        connection.sendall(question)
        return connection.recv(1000)
    return b""


def is_http2(answer: bytes) -> bool:
    """Whether the answer begins with a frame of settings, as that of every HTTP/2 server does."""
    return len(answer) >= 9 and answer[3] == SETTINGS
