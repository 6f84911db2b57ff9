"""`python -m export`: write the built tables as Parquet."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("export.__main__")

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
from pipeline.errors import UsageError

_DESCRIPTION = """\
Write the four tables of one data set as Parquet, in the form that models are trained on: one row per sample with its
labels, the index of its common feature group, and two lists for each field, ids and values. The common feature groups
are written once each, by their index. Nothing is dropped, and values are the text that the tables hold.

The tables must have been built (make run, or make extract and dbt run). They are read as of one moment: while the
export runs, dbt waits to replace them. Memory does not grow with the data.

what is written, to data/<mode>/export/<dataset>:
  sample/part-*.parquet                  sample_id, click_label, conversion_label, common_feature_index, and for
                                         field 210, say, ids_210 and values_210; an empty list where a sample has none
  common_feature_group/part-*.parquet    common_feature_index, and the lists of the fields of the common groups
  manifest.json                          the fields, the counts, and what was exported when

The folder is whole or not there: files are written beside it, and it gets its name at the end, in place of an older
export. The same command after a kill begins again. docs/export.md shows how pandas, polars, PyTorch and Spark read it.
"""

_EXAMPLES = """\
  python -m export                                 the train data set in development mode
  python -m export --dataset test
  python -m export --mode production --output /mnt/big/train
  make export DATASET=test OUTPUT=/mnt/big/test    the same by make; names of options in capital letters
"""

_ENVIRONMENT = "  OUTPUT                                         as the option\n"


def _run(options: argparse.Namespace) -> None:
    # Here and not above: --help needs none of it.
    from export.job import export
    from pipeline.settings import load_settings

    settings = load_settings(mode=options.mode, data_set=options.dataset)
    output = options.output or os.environ.get("OUTPUT")
    folder = Path(output).absolute() if output else settings.export_folder
    if not folder.name:
        raise UsageError(f"OUTPUT is {output!r}: name a folder that is not there")
    export(settings, folder, options.connections)


def _parser() -> argparse.ArgumentParser:
    environment = DATA_SET_ENVIRONMENT + _ENVIRONMENT + SERVER_ENVIRONMENT
    parser = command_parser("python -m export", _DESCRIPTION, examples=_EXAMPLES, environment=environment)
    add_data_set_options(parser)
    parser.add_argument("--output", metavar="FOLDER", help="where to write it; an older export there is replaced")
    parser.add_argument(
        "--connections",
        metavar="N",
        type=int,
        choices=range(1, 17),
        default=min(4, os.cpu_count() or 1),
        help="how many connections read at the same time (default: one per core, at most 4)",
    )
    return parser


main = main_of(_parser, _run, interrupted="nothing was replaced; the same command begins again")
