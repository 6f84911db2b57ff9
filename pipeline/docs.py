"""`python -m pipeline.docs`: serve dbt's documentation on this machine until Ctrl-C.

`dbt docs serve` does it too, and ends in a traceback where the port is taken, or has just been. Standard library only.
"""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("pipeline.docs")

import errno
import os
import socketserver
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from pipeline.cli import command_parser, run_command, say
from pipeline.commands import DOCS
from pipeline.errors import ServiceError, SettingsError

_TARGET = Path(__file__).resolve().parents[1] / "target"
_PORT = 8080

_EXAMPLES = """\
  dbt docs generate && python -m pipeline.docs   (make docs)
  make docs PORT=8081
"""
_ENVIRONMENT = f"  PORT                                           where to listen on 127.0.0.1, {_PORT} by default\n"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True  # by the next one, at once
    daemon_threads = True


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Leave the terminal to the one line that says where to look."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    parser = command_parser(
        "python -m pipeline.docs",
        "Serve dbt's documentation, as dbt docs generate has left it in target, until Ctrl-C.",
        examples=_EXAMPLES,
        environment=_ENVIRONMENT,
    )
    parser.add_argument("--check", action="store_true", help="check that the port is free, and serve nothing")
    options = parser.parse_args(arguments)
    return run_command(
        lambda: _serve(only_check=options.check),
        verbose=options.verbose,
        interrupted="the documentation is served no longer; it stays in target",
    )


def _serve(*, only_check: bool) -> None:
    port = _port(os.environ.get("PORT") or str(_PORT))
    if not only_check and not (_TARGET / "index.html").is_file():
        raise ServiceError(f"there is no documentation in {_TARGET}: run {DOCS}")
    with _listen(port) as server:
        if not only_check:
            say(f"documentation: http://localhost:{port} until Ctrl-C")
            server.serve_forever()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
        raise SettingsError(f"PORT is {text!r}, expected a number from 1 to 65535")
    return int(text)


def _listen(port: int) -> _Server:
    try:
        return _Server(("127.0.0.1", port), partial(_Quiet, directory=str(_TARGET)))
    except OSError as error:
        reason = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
        raise ServiceError(
            f"cannot listen on port {port} of 127.0.0.1, {reason}: name another, such as PORT={_free_port(port)}"
        ) from error


def _free_port(after: int) -> int:
    for port in range(max(after, _PORT) + 1, 1 << 16):
        with suppress(OSError), _Server(("127.0.0.1", port), _Quiet):
            return port
    return _PORT
