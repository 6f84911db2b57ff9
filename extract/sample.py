"""`python -m extract.sample`: draw a development sample of a data set."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("extract.sample")

import argparse
import os

from pipeline.cli import add_run_options, command_parser, main_of

_DESCRIPTION = """\
Draw a sample of a data set that stands for the whole of it: its archive is downloaded and unpacked, Spark counts and
draws, and the sample is written as an archive of the same form, with a manifest and a report, to
data/<mode>/sample/<dataset>. The same source, parameters and seed give the same bytes.

Every common feature group that a drawn sample refers to is there, and no other, so that the pipeline and its tests run
on the sample as on the whole. No database is needed.

margin of error: half the width of the interval of a rate
  --margin 5%                  5 % of the click-through rate itself (relative)
  --margin 0.002               0.2 percentage points (absolute)
  --margin ctr:5%,cvr:20%      of several rates: the sample is as large as the most demanding needs
                               ctr    clicks among impressions
                               cvr    conversions among clicks
                               ctcvr  clicked and converted among impressions

strata: what the sample holds in proportion
  --strata labels              the four pairs of click and conversion label
  --strata labels,scene        these, each divided by the scene (field 301)
  --strata scene, none         the scene alone; or no strata: a simple random sample
  --minimum 30                 at least 30 of each stratum, or all of it; its weight in the manifest sets that right
  --allocation neyman          more of the strata whose lists differ more in length; weights in the manifest
  --clusters 1                 whole common feature groups instead, without strata; the report has the design effect
"""

_EXAMPLES = """\
  python -m extract.sample                                    5 % of the click-through rate at 95 % confidence
  python -m extract.sample --margin 2% --confidence 99% --seed 7
  python -m extract.sample --mode production --upload         from the full archive into development/ of the bucket
  make sample DATASET=test MARGIN=10% UPLOAD=1                the same by make; names of options in capital letters
"""

_ENVIRONMENT = """\
  DATASET, MODE or DEEPCVR_MODE, MARGIN, CONFIDENCE, SEED, STRATA, ALLOCATION, MINIMUM, CLUSTERS=1, UPLOAD=1
  FORCE=1                      draw again, and replace whatever archive is in development/
  AWS_*, SPARK_MASTER          as for python -m extract
  what neither says            is under sample in pipeline.yml
"""


def _run(options: argparse.Namespace) -> None:
    # Here and not above: --help needs none of it.
    from extract import sample_steps
    from pipeline.settings import SAMPLE_PARAMETERS, load_settings, read_flag

    settings = load_settings(mode=options.mode, data_set=options.dataset, force=True if options.force else None)
    given = {name: getattr(options, name) or os.environ.get(name.upper()) for name in SAMPLE_PARAMETERS}
    parameters = {name: given[name] or settings.sample[name] for name in SAMPLE_PARAMETERS}
    upload = options.upload or read_flag("UPLOAD", os.environ.get("UPLOAD"))
    draw = sample_steps.check(settings, parameters)
    if not options.check:
        sample_steps.run(settings, draw, upload=upload)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "python -m extract.sample",
        _DESCRIPTION,
        examples=_EXAMPLES,
        environment=_ENVIRONMENT,
    )
    add_run_options(parser)
    parser.add_argument("--margin", help="the margin of error of each rate, see above")
    parser.add_argument("--confidence", metavar="SHARE", help="of the intervals, such as 95%% or 0.95")
    parser.add_argument("--seed", metavar="N", help="a whole number; another seed gives another sample")
    parser.add_argument("--strata", metavar="NAMES", help="labels, scene, labels,scene or none")
    parser.add_argument("--allocation", metavar="NAME", help="proportional or neyman")
    parser.add_argument("--minimum", metavar="N", help="the least of each stratum")
    parser.add_argument("--clusters", metavar="1", help="1 draws whole common feature groups")
    parser.add_argument(
        "--upload", action="store_true", help="put the sample into the development prefix of the bucket"
    )
    return parser


main = main_of(
    _parser,
    _run,
    interrupted="run the same command again: the download continues, and the drawing begins again",
)
