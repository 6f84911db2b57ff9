"""What Linux's /proc tells of running processes, so that no tool is needed to look at them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LISTENS_TCP = "0A"
_LISTENS_UNIX = "00010000"  # the flag of a socket that accepts connections


@dataclass(frozen=True)
class Listener:
    """A socket that accepts connections: of an address and a port, or of a path."""

    address: str | None = None
    port: int | None = None
    path: str | None = None


def listeners(pid: int) -> list[Listener]:
    """All that a process listens on: TCP over IPv4 and IPv6, UDP, and Unix sockets."""
    inodes = _socket_inodes(pid)
    network = Path(f"/proc/{pid}/net")
    found = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for fields in _rows(network / name):
            if fields[9] in inodes and (name.startswith("udp") or fields[3] == _LISTENS_TCP):
                address, _, port = fields[1].partition(":")
                found.append(Listener(address=_address(address), port=int(port, 16)))
    sockets = [fields for fields in _rows(network / "unix") if fields[6] in inodes and fields[3] == _LISTENS_UNIX]
    return [*found, *(Listener(path=fields[7] if len(fields) > 7 else "") for fields in sockets)]


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for child, parent in _parents():
        parents.setdefault(parent, []).append(child)
    found: list[int] = []
    to_visit = [pid]
    while to_visit:
        children = parents.get(to_visit.pop(), [])
        found += children
        to_visit += children
    return found


def command_lines() -> dict[int, bytes]:
    """The command line of every process of the machine, its arguments joined by zero bytes."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(entry.name)] = (entry / "cmdline").read_bytes()
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The name, in brackets, may hold anything.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            yield int(entry.name), int(fields[1])


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
    return inodes


def _rows(table: Path) -> list[list[str]]:
    return [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []


def _address(digits: str) -> str:
    """Read an address as the kernel prints it: words of four bytes, each in the machine's own order."""
    packed = b"".join(struct.pack("=I", int(digits[begin : begin + 8], 16)) for begin in range(0, len(digits), 8))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
