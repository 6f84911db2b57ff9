"""Ports for the servers of the tests."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

_CAPABILITIES, _TLS = 0x81BFFFFF, 0x800


def greeting(*, offers_tls: bool = True) -> bytes:
    """How a server of MySQL greets. Source: the MySQL source code documentation, Client/Server Protocol."""
    low, high = _CAPABILITIES & 0xFFFF & ~(0 if offers_tls else _TLS), _CAPABILITIES >> 16
    payload = b"\x0a8.4.0\0" + struct.pack("<I8sBHBHHB10x", 7, b"12345678", 0, low, 45, 2, high, 21)
    payload += b"123456789012\0caching_sha2_password\0"
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def port_of_a_stranger(words: bytes, *, closes: bool = False) -> Iterator[int]:
    """Listen on a port where whoever comes is told the same words, and then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    kept.append(client)
                    client.sendall(words)
                    if closes:
                        client.close()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            for client in kept:
                client.close()
