"""`python -m benchmarks`: measure every stage of the pipeline."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("benchmarks.__main__")

import argparse
import os

from embedded.programs import Kind
from pipeline.cli import command_parser, main_of
from pipeline.errors import UsageError
from pipeline.settings import read_flag

_SERVERS: dict[str, tuple[Kind, ...]] = {"mysql": ("mysql",), "mariadb": ("mariadb",), "both": ("mysql", "mariadb")}

_DESCRIPTION = """\
Measure every stage of the pipeline on generated train data, against a bare way of doing the same, and print a table of
times, rates and ratios beside the figures that the project wants to reach.

It runs the project's own commands in a copy of the project, on MySQL servers of its own, all in
.embedded/bench/work. Your servers, databases and data are not touched, and nothing is left at the end or after Ctrl-C.

stages:
  unpack                         the archive; ratio to Python's own tarfile
  explode to a null sink         the Spark job's explode after start-up, landing nothing; ratio to the published
                                 pipeline's method (a grouped-map pandas UDF), measured on a slice of the rows
  staging load                   extract --step explode; ratio to LOAD DATA LOCAL of the same rows as prepared text
                                 by two connections into the same tables
  dbt run, dbt test              ratios to the staging load and to dbt run
  whole job after the download   unpack + staging load + dbt run + dbt test, each as a command; ratio to LOAD DATA
                                 LOCAL of prepared text by two connections into the four keyed tables
  peak memory of extract         of the command and all processes below it (PSS, sampled every second); the MySQL
                                 server is not among them
  tables on disk                 staging and built, without the server's logs
  peak of the server's disk      all of its folder, logs and temporary files too, looked at every two seconds
  make extract, nothing to do    when everything has been loaded already

Results are also written to benchmarks/results/<scale>-<server>.json. Where that folder holds a run at a tenth of the
scale, the growth of each stage is shown too.
Exit code 0 means that all was measured, whether the figures were reached or not.
"""

_EXAMPLES = """\
  python -m benchmarks                              0.1 % of train on MySQL: about two minutes
  SCALE=0.01 SERVER=both make bench                 1 % on MySQL and on MariaDB
  nice python -m benchmarks --scale 0.1             10 %: needs about 25 GB of disk
  SCALE=0.4 BASELINES=0 make bench                  40 %, the job alone, without what it is compared with
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m benchmarks", _DESCRIPTION, examples=_EXAMPLES)
    parser.add_argument("--scale", metavar="SHARE", help="share of the full size of train (default: SCALE, or 0.001)")
    parser.add_argument("--server", metavar="NAME", help="mysql, mariadb or both (default: SERVER, or mysql)")
    parser.add_argument("--baselines", metavar="FLAG", help="0: measure the job alone (default: BASELINES, or 1)")
    return parser


def _measure(options: argparse.Namespace) -> None:
    scale = _scale(options.scale or os.environ.get("SCALE") or "0.001")
    kinds = _kinds(options.server or os.environ.get("SERVER") or "mysql")
    with_baselines = read_flag("BASELINES", options.baselines or os.environ.get("BASELINES") or "1")
    from benchmarks.run import measure_all

    measure_all(scale, kinds, with_baselines=with_baselines)


def _scale(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"SCALE is {text!r}, expected a share of the full size such as 0.01") from None


def _kinds(name: str) -> tuple[Kind, ...]:
    if name not in _SERVERS:
        raise UsageError(f"SERVER is {name!r}, expected {', '.join(_SERVERS)}")
    return _SERVERS[name]


main = main_of(
    _parser,
    _measure,
    interrupted="the servers of the run are being stopped, and its folder is removed",
    grace_seconds=60,
)
