"""The process from which Spark forks its Python workers on this machine, with what they need already imported.

`spark_jobs.session` names it to Spark for a local master. Otherwise each worker would import the same again, and from
the zip that executors elsewhere get, from which compiled code cannot be kept.
"""

from __future__ import annotations

from pyspark.daemon import manager

from pipeline.settings import RECORD_KINDS
from spark_jobs import landing  # noqa: F401
from spark_jobs.explode import explode
from spark_jobs.sampling import passes  # noqa: F401

if __name__ == "__main__":
    for kind in RECORD_KINDS:
        explode(b"", kind)  # loads the machine code, or makes it
    manager()
