"""A way to a server that does something to what passes, as proxies and middleboxes do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def way_to(port: int, carry: Callable[[socket.socket, socket.socket, bool], None]) -> Iterator[int]:
    """Listen on a port whose connections lead to another one, both of 127.0.0.1.

    Args:
        port: of the server.
        carry: carries what comes from one socket to another, in a thread, until one of them is closed, or raises
            OSError; is told whether it comes from the client.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def run(source: socket.socket, sink: socket.socket, *, is_client: bool) -> None:
        with suppress(OSError):
            carry(source, sink, is_client)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for pair, is_client in (((client, server), True), ((server, client), False)):
                    threading.Thread(target=run, args=pair, kwargs={"is_client": is_client}, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
