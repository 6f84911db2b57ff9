"""`python -m embedded`: the embedded services and their generated data."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("embedded.__main__")

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli import (
    DATA_SET_ENVIRONMENT,
    SERVER_ENVIRONMENT,
    add_verbose,
    command_parser,
    run_command,
    say,
)

if TYPE_CHECKING:
    from pipeline.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line; the process's own by default.

    Returns:
        the exit code.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    named = next((word for word in given if word in _INTERRUPTED), "status")
    return run_command(lambda: _run(given), verbose="--verbose" in given, interrupted=_INTERRUPTED[named])


_DESCRIPTION = """\
The embedded services: a real MySQL server and a real S3 server with generated data, for a machine that has neither.

They run as you, in .embedded, until `down`. MySQL listens on a socket there, S3 on 127.0.0.1. Where the environment
names a server or a store of yours, that is used and none is started in its place.
"""

_EXAMPLES = """\
  python -m embedded up                          start what the settings call for (make up)
  python -m embedded status                      what runs, what is staged, built and tested, what is next (make status)
  python -m embedded status --json | jq          the same for programs
  python -m embedded sql                         mycli on the database (make sql)
  MODE=production DATASET=test python -m embedded sql <query.sql
  python -m embedded fill --scale 0.01 --force   ten times as much generated data
  python -m embedded generate --dataset train --output train.tar.gz --seed 7
  python -m embedded COMMAND --help              the options of a command
"""

_ENVIRONMENT = f"""\
{DATA_SET_ENVIRONMENT}{SERVER_ENVIRONMENT}\
  AWS_*                                          an S3 store of yours, as boto3 finds it
"""

# What Ctrl-C leaves, by command.
_INTERRUPTED = {
    "up": "what was started runs on, make down stops it; the same command does the rest",
    "down": "the same command stops what still runs",
    "sql": "no statement was run; the same command opens the client",
    "status": "nothing was changed",
    "generate": "an archive that was there stays; the same command begins again",
    "fill": "each archive in the bucket is whole, a new one or the one that was there; the same command begins again",
}


def _parser(default_scale: float, default_seed: int) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    add_verbose(common)
    parser = command_parser("python -m embedded", _DESCRIPTION, examples=_EXAMPLES, environment=_ENVIRONMENT)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in (
        ("up", "start what the settings call for: MySQL, and S3 filled with generated data"),
        ("down", "stop what runs; its data stays"),
        ("sql", "open mycli on the database of DATASET and MODE; statements may come through a pipe"),
        ("status", "say what runs, and what is downloaded, unpacked, staged, built and tested"),
    ):
        command = commands.add_parser(name, help=text, description=text, parents=[common])
        if name == "status":
            command.add_argument("--json", action="store_true", help="for programs")
    generate = commands.add_parser("generate", help="write an archive of generated source data", parents=[common])
    generate.add_argument("--dataset", required=True, help="train or test")
    generate.add_argument("--output", required=True, type=Path, help="the archive to write, such as train.tar.gz")
    fill = commands.add_parser("fill", help="put generated archives into the embedded bucket", parents=[common])
    fill.add_argument("--force", action="store_true", help="replace the archives that are there")
    for command in (generate, fill):
        command.add_argument("--scale", type=float, default=default_scale, help="share of the full size (%(default)s)")
        command.add_argument("--seed", type=int, default=default_seed, help="names the random numbers (%(default)s)")
    return parser


def _run(arguments: list[str]) -> None:
    # Not above: they take half a second, in which Ctrl-C would be answered by a traceback.
    from embedded import services, sql_client  # noqa: PLC0415
    from embedded.source_data.files import DEFAULT_SCALE, DEFAULT_SEED  # noqa: PLC0415
    from pipeline.settings import load_settings  # noqa: PLC0415

    parsed = _parser(DEFAULT_SCALE, DEFAULT_SEED).parse_args(arguments)
    settings = load_settings()
    if parsed.command == "up":
        services.start_services(settings, say)
    elif parsed.command == "down":
        services.stop_services(settings, say)
    elif parsed.command == "status":
        _tell_status(settings, as_json=parsed.json)
    elif parsed.command == "sql":
        sql_client.open_client(settings)
    elif parsed.command == "generate":
        services.generate_archive(parsed.output, parsed.dataset, scale=parsed.scale, seed=parsed.seed)
        say(f"{parsed.output} written")
    else:
        services.fill_bucket(settings, say, scale=parsed.scale, seed=parsed.seed, force=parsed.force)


def _tell_status(settings: Settings, *, as_json: bool) -> None:
    from embedded import mysql_server, services  # noqa: PLC0415
    from pipeline import status  # noqa: PLC0415

    found = services.find_services(settings)
    # Where the embedded server has never been started, no database can be missed.
    has_server = not settings.mysql.is_embedded or mysql_server.data_folder(settings.embedded_dir).exists()
    data = status.read_status(settings, has_server=has_server)
    if as_json:
        told = {"services": [asdict(service) for service in found], **status.as_json(data)}
        for line in json.dumps(told, indent=1).split("\n"):
            say(line)
        return
    for service in found:
        say(service.line)
    say("")
    for line in status.lines_of(data, settings):
        say(line)
