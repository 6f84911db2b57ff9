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
labels, the row of its common feature group, folds to split by, and two lists for each field, ids and values. The common
feature groups are written once each, by their index. Nothing is dropped, and values are the text that the tables hold.

  --vocabulary 10              indexes and float32 in place of ids and text: of each field, the ids that at least 10
                               impressions have get 1 to n, the most frequent first, all others 0
  --vocabulary FOLDER          the indexes of another export: those of train, to export test
  --shuffle 1                  the samples in a random order, which the seed fixes

The tables must have been built (make run, or make extract and dbt run). They are read as of one moment: while the
export reads, dbt waits to replace them. Memory grows with the distinct features and groups, by some bytes each.

what is written, to data/<mode>/export/<dataset>:
  sample/part-*.parquet                  sample_id, click_label, conversion_label, common_feature_index and _row,
                                         sample_fold, group_fold, and for field 210, say, ids_210 (or indexes_210) and
                                         values_210; an empty list where a sample has none
  common_feature_group/part-*.parquet    common_feature_index, and the lists of the fields of the common groups
  vocabulary/<field>.parquet             id, index and count of impressions, where there are indexes
  manifest.json                          the fields, the counts, and what was exported when

The folder is whole or not there: files are written beside it, and it gets its name at the end, in place of an older
export. The same command after a kill begins again. docs/export.md shows how pandas, polars, PyTorch and Spark read it.
"""

_EXAMPLES = """\
  python -m export                                 the train data set in development mode
  python -m export --dataset test
  python -m export --mode production --output /mnt/big/train
  python -m export --vocabulary 10 --shuffle 1     for a model
  make export VOCABULARY=10 SHUFFLE=1              the same by make; names of options in capital letters
  make export DATASET=test VOCABULARY=data/development/export/train
"""

_ENVIRONMENT = "  OUTPUT, VOCABULARY, SHUFFLE                    as the options\n"


def _run(options: argparse.Namespace) -> None:
    # Here and not above: --help needs none of it.
    from pipeline.settings import load_settings

    settings = load_settings(mode=options.mode, data_set=options.dataset)
    output = options.output or os.environ.get("OUTPUT")
    folder = Path(output).absolute() if output else settings.export_folder
    if not folder.name:
        raise UsageError(f"OUTPUT is {output!r}: name a folder that is not there")
    vocabulary = _vocabulary(options.vocabulary or os.environ.get("VOCABULARY") or "")
    shuffle = _seed(options.shuffle or os.environ.get("SHUFFLE") or "")
    if options.check:
        return
    from export.job import Choices, export

    export(settings, folder, options.connections, Choices(vocabulary, shuffle))


def _vocabulary(text: str) -> int | Path | None:
    """Read how many impressions an id must be in, or the folder of an export."""
    if text.isascii() and text.isdigit():
        if not 0 < int(text) < 1 << 32:
            raise UsageError(
                f"VOCABULARY is {text}: how many impressions an id must be in is 1 or more, and below 2^32"
            )
        return int(text)
    if text and not Path(text, "manifest.json").is_file():
        raise UsageError(f"VOCABULARY is {text!r}, expected a number of impressions, or the folder of an export")
    return Path(text).absolute() if text else None


def _seed(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and int(text) < 1 << 64):
        raise UsageError(f"SHUFFLE is {text!r}, expected the seed of a random order, a whole number below 2^64")
    return int(text) if text else None


def _parser() -> argparse.ArgumentParser:
    environment = DATA_SET_ENVIRONMENT + _ENVIRONMENT + SERVER_ENVIRONMENT
    parser = command_parser("python -m export", _DESCRIPTION, examples=_EXAMPLES, environment=environment)
    add_data_set_options(parser)
    parser.add_argument("--check", action="store_true", help="check the call and the settings, and do nothing")
    parser.add_argument("--vocabulary", metavar="N|FOLDER", help="write indexes for ids, see above")
    parser.add_argument("--shuffle", metavar="SEED", help="write the samples in a random order")
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


main = main_of(_parser, _run, interrupted="nothing was replaced; the same command begins again", is_private=False)
