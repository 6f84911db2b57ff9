"""`python -m extract`: run the steps of `make extract`."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("extract.__main__")

import argparse

from pipeline.cli import RUN_ENVIRONMENT, SERVER_ENVIRONMENT, add_run_options, command_parser, main_of

_DESCRIPTION = """\
Bring one data set from its archive in S3 into the staging tables: download, unpack, explode.

pipeline.yml declares the steps, the bucket and the folders. Each step is skipped when its work is done already, and
goes on from where it was when it was stopped, so the same command may be run again at any time.
"""

_EXAMPLES = """\
  python -m extract                              the train data set in development mode
  python -m extract --dataset test               the test data set
  python -m extract --mode production            the full archives; needs credentials for the bucket
  python -m extract --force                      download, unpack and load again, whatever is there
  python -m extract --step download              one step only
  python -m extract --check                      are the settings and credentials there? exit code 0 or 2
"""

_ENVIRONMENT = f"""\
{RUN_ENVIRONMENT}{SERVER_ENVIRONMENT}\
  SPARK_MASTER                                   the Spark master; local[*] by default
"""


def _run(options: argparse.Namespace) -> None:
    # Here and not above: --help needs none of it.
    from extract import steps
    from pipeline.settings import load_settings

    settings = load_settings(mode=options.mode, data_set=options.dataset, force=True if options.force else None)
    if options.check:
        steps.check(settings, options.step)
    else:
        steps.run(settings, options.step)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "python -m extract",
        _DESCRIPTION,
        examples=_EXAMPLES,
        environment=_ENVIRONMENT,
    )
    add_run_options(parser)
    parser.add_argument("--step", metavar="NAME", help="run only this step")
    return parser


main = main_of(_parser, _run, interrupted="run the same command again, it continues where this one stopped")
