"""How every command of the project is called, reports and ends. Standard library only: set-up is one of them."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.interrupt import ANSWER, answer_with
from pipeline.progress import print_line

# What the environment says to every command that works on a data set; `--help` shows it.
RUN_ENVIRONMENT = """\
  DATASET, MODE or DEEPCVR_MODE, FORCE=1         as the options
  SOURCE                                         a folder or an archive on this machine, s3 or s3://bucket/prefix
                                                 (production mode: s3), or generated, data that the embedded server
                                                 holds (development mode)
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_ENDPOINT_URL
                                                 the S3 store, as boto3 finds it; the first, or either of the last two,
                                                 stands for SOURCE=s3 in development mode too
"""
SERVER_ENVIRONMENT = """\
  MYSQL_HOST, MYSQL_PORT, MYSQL_USER, MYSQL_PASSWORD
                                                 the MySQL server; the embedded one by default
  MYSQL_SSL_MODE, MYSQL_SSL_CA                   TLS to it, as to MySQL's own clients; preferred by default
"""
EXIT_CODES = "0 done; 1 failed; 2 a mistake in the call or the settings; 130 ended by Ctrl-C (SIGINT), 143 by SIGTERM"
VERBOSE = "show where an error was raised"
DATA_SET_ENVIRONMENT = """\
  DATASET                                        train (default) or test, or another that pipeline.yml has
  MODE or DEEPCVR_MODE                           development (default) or production
"""


def say(line: str) -> None:
    """Print one line of the report on standard output, at once even into a pipe."""
    print_line(line, sys.stdout)


def shown(path: Path) -> str:
    """Give a path as a person sees it from where they are."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def command_parser(
    program: str, description: str, *, examples: str, environment: str = "", verbose: str = VERBOSE
) -> argparse.ArgumentParser:
    """Make the parser of a command, whose `--help` teaches it, with the option `--verbose`.

    Args:
        program: how the command is called, such as `python -m extract`.
        description: what it does, in whole lines.
        examples: lines of calls, each with what it does.
        environment: lines of variables, each with what it says; none where the command heeds none.
        verbose: what that option shows.
    """
    settings = f"\nenvironment (an option goes before it):\n{environment}" if environment else ""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"examples:\n{examples}{settings}\nexit codes: {EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_verbose(parser, verbose)
    return parser


def add_verbose(parser: argparse.ArgumentParser, shows: str = VERBOSE) -> None:
    """Give a command the option `--verbose`."""
    parser.add_argument("--verbose", action="store_true", help=shows)


def add_data_set_options(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that name what it works on: the data set and the mode."""
    parser.add_argument("--dataset", metavar="NAME", help="train (default) or test, or another that pipeline.yml has")
    parser.add_argument("--mode", metavar="MODE", help="development (default) or production")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Give a command the options of a run: the data set, the mode, whether to begin anew, and whether only to check."""
    add_data_set_options(parser)
    parser.add_argument("--force", action="store_true", help="do everything again, whatever is there")
    parser.add_argument("--check", action="store_true", help="check the call and the settings, and do nothing")


def main_of(
    parser: Callable[[], argparse.ArgumentParser],
    command: Callable[[argparse.Namespace], None],
    interrupted: str,
    grace_seconds: float | None = None,
    *,
    is_private: bool = True,
) -> Callable[[Sequence[str] | None], int]:
    """Make the main function of a command, which takes its command line and gives its exit code.

    Args:
        parser: makes the command's parser.
        command: takes the options, and does the work as `run_command` has it.
        interrupted: as of `run_command`.
        grace_seconds: as of `run_command`.
        is_private: as of `run_command`.
    """

    def main(arguments: Sequence[str] | None = None) -> int:
        options = parser().parse_args(arguments)
        return run_command(
            lambda: command(options),
            verbose=options.verbose,
            interrupted=interrupted,
            grace_seconds=grace_seconds,
            is_private=is_private,
        )

    return main


def run_command(
    command: Callable[[], None],
    *,
    verbose: bool,
    interrupted: str = ANSWER,
    grace_seconds: float | None = None,
    is_private: bool = True,
) -> int:
    """Run a command and turn what it raises into one line and an exit code.

    What it writes, and what the programs that it starts write, is for its owner alone, whatever the umask says.

    Args:
        command: does the work; it reports through `say`.
        verbose: let the traceback through, after which the line still follows.
        interrupted: the answer to Ctrl-C and SIGTERM: what is true then of the work, and how to continue.
        grace_seconds: how long the work may take to put itself away after that; a few seconds by default.
        is_private: False for a command that makes what others may use too, such as a virtual environment.

    Returns:
        0; 2 for a mistake in the call or the settings; 1 for a failed run.

    Raises:
        KeyboardInterrupt: as the command does after a signal. `run_main` ends the process.
    """
    answer_with(interrupted, grace_seconds=grace_seconds)
    umask = os.umask(0o077)
    if not is_private:
        os.umask(umask)
    try:
        command()
    except PipelineError as error:
        _tell(f"error: {error}", with_traceback=verbose)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, a person gets one line
        _tell(f"error: {_one_line(error)} (unexpected; --verbose shows where)", with_traceback=verbose)
        return 1
    finally:
        os.umask(umask)
    return 0


def _tell(line: str, *, with_traceback: bool = False) -> None:
    for each in (*(traceback.format_exc().rstrip().split("\n") if with_traceback else ()), line):
        print_line(each, sys.stderr)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
