"""`python -m extract`: run the steps of `make extract`."""

from __future__ import annotations

import argparse
import sys
from typing import Never

from pipeline.cli import run_command

_DESCRIPTION = """\
Bring one data set from its archive in S3 into the staging tables: download, unpack, explode.

pipeline.yml declares the steps, the bucket and the folders. Each step is skipped when its work is done already, and
goes on from where it was when it was stopped, so the same command may be run again at any time.
"""

_EPILOG = """\
examples:
  python -m extract                              the train data set in development mode
  python -m extract --dataset test               the test data set
  python -m extract --mode production            the full archives; needs credentials for the bucket
  python -m extract --force                      download, unpack and load again, whatever is there
  python -m extract --step download              one step only
  python -m extract --check                      are the settings and credentials there? exit code 0 or 2

environment (an option goes before it):
  DATASET, MODE or DEEPCVR_MODE, FORCE=1         as the options
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_ENDPOINT_URL
                                                 the S3 store, as boto3 finds it; with none of them, development
                                                 mode reads generated data from the embedded one (make up)
  MYSQL_HOST, MYSQL_PORT, MYSQL_USER, MYSQL_PASSWORD
                                                 the MySQL server; the embedded one by default
  MYSQL_SSL_MODE, MYSQL_SSL_CA                   TLS to it, as to MySQL's own clients; preferred by default
  SPARK_MASTER                                   the Spark master; local[*] by default

exit codes: 0 done; 1 a step failed; 2 a mistake in the call or the settings; 130 or 143 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program; the process's own by default.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    return run_command(lambda: _run(options), verbose=options.verbose)


def _run(options: argparse.Namespace) -> None:
    # Here and not above: --help needs none of it.
    from extract import steps  # noqa: PLC0415
    from extract.interrupt import answered_interrupts  # noqa: PLC0415
    from pipeline.settings import load_settings  # noqa: PLC0415

    with answered_interrupts("run the same command again, it continues where this one stopped"):
        settings = load_settings(mode=options.mode, data_set=options.dataset, force=True if options.force else None)
        if options.check:
            steps.check(settings, options.step)
        else:
            steps.run(settings, options.step)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m extract",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", metavar="NAME", help="train (default) or test, or another that pipeline.yml has")
    parser.add_argument("--mode", metavar="MODE", help="development (default) or production")
    parser.add_argument("--force", action="store_true", help="do every step again, whatever is there")
    parser.add_argument("--step", metavar="NAME", help="run only this step")
    parser.add_argument("--check", action="store_true", help="check the settings and the source, and do nothing")
    parser.add_argument("--verbose", action="store_true", help="show the traceback of an error")
    return parser


def run_and_leave(arguments: list[str] | None = None) -> Never:
    """Run the command and end the process; after a failure without waiting for what still runs in it.

    Args:
        arguments: as for `main`.
    """
    if (code := main(arguments)) == 0:
        sys.exit()
    from extract.interrupt import leave  # noqa: PLC0415 - --help needs none of it

    leave(code)


if __name__ == "__main__":
    run_and_leave()
