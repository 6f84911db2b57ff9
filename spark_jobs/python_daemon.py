"""The process from which Spark forks its Python workers on this machine, with what they need already imported.

`spark_jobs.context` names it to Spark for a local master. Otherwise each worker would import the same again, and from
the zip that executors elsewhere get, from which compiled code cannot be kept.

Spark's own daemon imports nothing, lest a module starts a thread that a fork would lose. Here one is left: that of
Arrow's allocator, jemalloc, which is made to be forked and starts it anew.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start more, for matrices that nobody has here


def _is_packed_twice(entry: str) -> bool:
    """Tell whether a place of modules is one of the zips that the installed package of Spark has in it."""
    path = Path(entry)
    return path.suffix == ".zip" and (path.parent.parent.parent / "__init__.py").is_file()


# Spark puts its zips before everything, and what comes from a zip is compiled anew by each process. What the package
# has beside them is the same, and compiled already: half a second of a start.
sys.path.sort(key=_is_packed_twice)

import pyspark.worker  # noqa: E402, F401
from pyspark.daemon import manager  # noqa: E402

from spark_jobs import landing  # noqa: E402, F401
from spark_jobs.explode import load_machine_code  # noqa: E402
from spark_jobs.sampling import passes  # noqa: E402, F401

if __name__ == "__main__":
    load_machine_code()
    # A worker collects garbage after each task: a tenth of a second, if all modules were looked through.
    gc.freeze()
    manager()
