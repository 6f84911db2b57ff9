"""`python -m embedded`: the embedded services and their generated data."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("embedded.__main__")

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from embedded.setup import OLDEST, version_advice
from pipeline.cli import (
    DATA_SET_ENVIRONMENT,
    SERVER_ENVIRONMENT,
    add_verbose,
    command_parser,
    run_command,
    say,
)
from pipeline.progress import print_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line; the process's own by default.

    Returns:
        the exit code.
    """
    if sys.version_info[:2] < OLDEST:  # where .venv is gone, make asks the machine's own Python
        print_line(f"error: {version_advice(sys.version_info[:2])}", sys.stderr)
        return 2
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
  python -m embedded up --mysql                  MySQL alone, for what reads no archive
  python -m embedded status                      what runs, what is staged, built and tested, what is next (make status)
  python -m embedded status --json | jq          the same for programs
  python3 -m embedded down                       stop what runs (make down); like clean and status, before set-up too
  python3 -m embedded clean --all                remove what was made, databases of production too (make clean ALL=1)
  python -m embedded sql                         mycli on the database (make sql)
  MODE=production DATASET=test python -m embedded sql <query.sql
  python -m embedded fill --scale 0.01 --force   ten times as much generated data
  python -m embedded generate --dataset train --output train.tar.gz --seed 7
  python -m embedded COMMAND --help              the options of a command
"""

_ENVIRONMENT = f"""\
{DATA_SET_ENVIRONMENT}{SERVER_ENVIRONMENT}\
  JSON=1, ALL=1                                  as the options of status and clean
  SOURCE, AWS_*                                  as for python -m extract
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


def _parser() -> argparse.ArgumentParser:
    from pipeline.settings import GENERATED_SCALE as SCALE
    from pipeline.settings import GENERATED_SEED as SEED

    common = argparse.ArgumentParser(add_help=False)
    add_verbose(common)
    parser = command_parser("python -m embedded", _DESCRIPTION, examples=_EXAMPLES, environment=_ENVIRONMENT)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in (
        ("up", "start what the settings call for: MySQL, and S3 filled with generated data"),
        ("down", "stop what runs; its data stays"),
        ("clean", "stop what runs, and remove all that the project has made: databases, downloads, .venv"),
        ("sql", "open mycli on the database of DATASET and MODE; statements may come through a pipe"),
        ("status", "say what runs, and what is downloaded, unpacked, staged, built and tested"),
    ):
        command = commands.add_parser(name, help=text, description=text, parents=[common])
        for option, of, help_ in (
            ("--mysql", "up", "start no S3 server: what runs then reads no archive"),
            ("--json", "status", "for programs"),
            ("--all", "clean", "also what was made in production mode, and what takes hours to make again"),
        ):
            if name == of:
                command.add_argument(option, action="store_true", help=help_)
    generate = commands.add_parser("generate", help="write an archive of generated source data", parents=[common])
    generate.add_argument("--dataset", required=True, help="train or test")
    generate.add_argument("--output", required=True, type=Path, help="the archive to write, such as train.tar.gz")
    generate.add_argument(
        "--signal", action="store_true", help="let frequent labels depend on features, for a model to find"
    )
    fill = commands.add_parser("fill", help="put generated archives into the embedded bucket", parents=[common])
    fill.add_argument("--force", action="store_true", help="replace the archives that are there")
    for command in (generate, fill):
        command.add_argument("--scale", type=float, default=SCALE, help="share of the full size (%(default)s)")
        command.add_argument("--seed", type=int, default=SEED, help="names the random numbers (%(default)s)")
    return parser


def _run(arguments: list[str]) -> None:
    parsed, root = _parser().parse_args(arguments), Path(__file__).resolve().parents[1]
    # Not above: they take half a second, in which Ctrl-C would be answered by a traceback. The first need no packages.
    from pipeline.settings import load_settings, read_flag

    if parsed.command == "down":
        from embedded.running import stop_services

        return stop_services(root / ".embedded", say)
    if parsed.command == "clean":
        from embedded.cleaning import clean

        return clean(root, say, everything=parsed.all or read_flag("ALL", os.environ.get("ALL")))
    if parsed.command == "status":
        from embedded.state import status_lines

        for line in status_lines(root, as_json=parsed.json or read_flag("JSON", os.environ.get("JSON"))):
            say(line)
        return None
    from embedded import services, sql_client

    settings = load_settings()
    if parsed.command == "up":
        services.start_services(settings, say, with_source=not parsed.mysql)
    elif parsed.command == "sql":
        sql_client.open_client(settings)
    elif parsed.command == "generate":
        services.source_data().generate_archive(
            parsed.output, parsed.dataset, scale=parsed.scale, seed=parsed.seed, signal=parsed.signal
        )
        say(f"{parsed.output} written")
    else:
        services.fill_bucket(settings, say, scale=parsed.scale, seed=parsed.seed, force=parsed.force)
    return None
