"""What is known of running processes."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Listener:
    """A socket that accepts connections: of an address and a port, or of a path."""

    address: str | None = None
    port: int | None = None
    path: str | None = None


def listeners(pid: int) -> list[Listener]:
    """All that a process listens on: TCP over IPv4 and IPv6, UDP, and Unix sockets."""
    found = []
    for each in psutil.Process(pid).net_connections("all"):
        if each.family == socket.AF_UNIX:
            # One that has been accepted has the path of the one that accepts.
            found += [Listener(path=str(each.laddr))] if each.laddr and each.type == socket.SOCK_STREAM else []
        elif each.status == psutil.CONN_LISTEN or each.type == socket.SOCK_DGRAM:
            found.append(Listener(each.laddr.ip, each.laddr.port))
    return list(dict.fromkeys(found))


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def command_lines() -> dict[int, bytes]:
    """The command line of every process of the machine, its arguments joined by zero bytes."""
    return {each.pid: os.fsencode("\0".join(each.info["cmdline"] or [])) for each in psutil.process_iter(["cmdline"])}


def command_line(pid: int) -> str:
    """The command line of a process, its arguments joined by blanks; empty if it has ended."""
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""
