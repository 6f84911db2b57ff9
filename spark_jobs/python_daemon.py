"""The process from which Spark forks its Python workers on this machine, with what they need already imported.

`spark_jobs.session` names it to Spark for a local master. Otherwise each worker would import the same again, and from
the zip that executors elsewhere get, from which compiled code cannot be kept.

Spark's own daemon imports nothing, lest a module starts a thread that a fork would lose. Here one is left: that of
Arrow's allocator, jemalloc, which is made to be forked and starts it anew.
"""

from __future__ import annotations

import gc
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start more, for matrices that nobody has here

import pyspark.worker  # noqa: F401
from pyspark.daemon import manager

from spark_jobs import landing  # noqa: F401
from spark_jobs.explode import load_machine_code
from spark_jobs.sampling import passes  # noqa: F401

if __name__ == "__main__":
    load_machine_code()
    # A worker collects garbage after each task: a tenth of a second, if all modules were looked through.
    gc.freeze()
    manager()
