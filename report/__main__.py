"""`python -m report`: write the report of a data set."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("report.__main__")

import argparse
import os
from pathlib import Path

from pipeline.cli import (
    DATA_SET_ENVIRONMENT,
    SERVER_ENVIRONMENT,
    add_data_set_options,
    command_parser,
    main_of,
)

IMPRESSIONS, GROUPS = 10_000, 500

_DESCRIPTION = """\
Write one HTML page about a data set whose tables are built: labels, what became of each line of the source, coverage
and cardinality of each field, click and conversion rates, lengths of feature lists, sizes of groups, distributions of
values, rank and frequency, vocabularies, test beside train, rejected records and the history of loads. The page stands
alone: it needs no network and no server.

It reads dbt's reporting views and, of the structures, a bounded part: some impressions and groups, drawn by a checksum
of their keys, the same ones each time. The page says which figure is from what. Nothing is written to the database.
"""

_EXAMPLES = """\
  python -m report                               the train data set in development mode
  python -m report --dataset test                the test data set
  python -m report --output ~/ali-ccp.html       somewhere else than target/report/<database>.html
  python -m report --impressions 100000          finer coverage and values, for more time
  make report DATASET=test OUTPUT=pages          the same by make, as pages/<database>.html
"""

_ENVIRONMENT = "  OUTPUT                                         as the option\n"


def _run(options: argparse.Namespace) -> None:
    # Here and not above: --help needs none of it.
    from pipeline.settings import load_settings
    from report.report import write_report

    settings = load_settings(mode=options.mode, data_set=options.dataset)
    output = Path(options.output or os.environ.get("OUTPUT") or settings.root / "target" / "report")
    path = output if output.suffix in (".html", ".htm") else output / f"{settings.database}.html"
    others = [name for name in settings.data_sets if name != settings.data_set.name]
    other = load_settings(mode=options.mode, data_set=others[0]) if len(others) == 1 else None
    write_report(settings, path, {"sample": options.impressions, "common": options.groups}, other)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 10000000")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    environment = DATA_SET_ENVIRONMENT + _ENVIRONMENT + SERVER_ENVIRONMENT
    parser = command_parser("python -m report", _DESCRIPTION, examples=_EXAMPLES, environment=environment)
    add_data_set_options(parser)
    parser.add_argument(
        "--output", metavar="PATH", help="where to write the page: a file that ends in .html, or else a folder"
    )
    parser.add_argument(
        "--impressions",
        metavar="N",
        type=_positive,
        default=IMPRESSIONS,
        help="look at the structures of about so many impressions (default: %(default)s)",
    )
    parser.add_argument(
        "--groups",
        metavar="N",
        type=_positive,
        default=GROUPS,
        help="and of so many common feature groups (default: %(default)s)",
    )
    return parser


main = main_of(_parser, _run, interrupted="the page that was there stays; the same command begins again")
