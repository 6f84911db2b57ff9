"""A TCP proxy that spoils what a server answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


class CutError(Exception):
    """Raised by a `spoil` function to break the connection."""


# Is given the number of the connection (from 0), how many bytes it has answered before, and the next ones; returns
# what to pass on.
Spoil = Callable[[int, int, bytes], bytes]


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        endpoint_url: its address.
        spoil: what it does to the answers.
        answered: how many bytes of answers it has passed on.
        connections: how many connections it has taken.
    """

    endpoint_url: str
    spoil: Spoil
    answered: int = 0
    connections: int = 0
    sockets: list[socket.socket] = field(default_factory=list)


def honest(_connection: int, _before: int, data: bytes) -> bytes:
    return data


def refusal(status: str, code: str, message: str = "no") -> bytes:
    """An answer as S3 gives it when it does not do what was asked."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def refusing(answer: bytes, when: Callable[[int], bool]) -> Spoil:
    """Give an answer of one's own in place of the server's, where `when` says so of the connection."""
    refused: set[int] = set()

    def spoil(connection: int, _before: int, data: bytes) -> bytes:
        if connection in refused:
            return b""
        if is_head(data) and when(connection):
            refused.add(connection)
            return answer
        return data

    return spoil


def is_head(data: bytes) -> bool:
    """Whether these are the first bytes of an answer; the tests' servers send its headers in one piece."""
    return data.startswith(b"HTTP/1.")


@contextmanager
def proxy_to(endpoint_url: str, spoil: Spoil = honest) -> Iterator[Proxy]:
    """Run a proxy before a server."""
    target = urlsplit(endpoint_url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}", spoil)
        address = (str(target.hostname), int(target.port or 80))
        threading.Thread(target=_accept, args=(listener, address, proxy), daemon=True).start()
        try:
            yield proxy
        finally:
            for connection in proxy.sockets:
                _close(connection)


def _accept(listener: socket.socket, address: tuple[str, int], proxy: Proxy) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(address)
            proxy.sockets += [client, server]
            threading.Thread(target=_ask, args=(client, server), daemon=True).start()
            threading.Thread(target=_answer, args=(client, server, proxy, proxy.connections), daemon=True).start()
            proxy.connections += 1


def _ask(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while data := client.recv(65536):
            server.sendall(data)
    _close(server)


def _answer(client: socket.socket, server: socket.socket, proxy: Proxy, connection: int) -> None:
    before = 0
    with suppress(OSError, CutError):
        while data := server.recv(16384):
            client.sendall(proxy.spoil(connection, before, data))
            before += len(data)
            proxy.answered += len(data)
    _close(client)
    _close(server)


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
