"""The baseline of the explode: the method of the published pipeline for this data, written anew.

Records are grouped by a partition number, and each group goes to a grouped-map pandas UDF, which walks its records by
`iterrows`, makes a data frame of each feature list, and appends that to the group's result by `concat`. Only the number
of features is checked. `concat` copies what there is so far, so that larger groups make it slower; the groups here are
no larger than those of the published run on a 0.1 % sample.

Source: the pipeline's public repository, john-james-ai/DeepCVR, deepcvr/data/transform.py.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.settings import RecordKind
from spark_jobs.grammar import COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_KEYS: dict[RecordKind, str] = {"sample": "sample_id bigint", "common_feature": "common_feature_index string"}
_RECORDS_IN_GROUP: dict[RecordKind, int] = {"sample": 1000, "common_feature": 40}
_FEATURES = "feature_name string, feature_id bigint, feature_value double"


@dataclass(frozen=True)
class Slice:
    """The first records of a file, and how many structures they hold."""

    records: pd.DataFrame
    num_structures: int


def read_slice(path: Path, kind: RecordKind, num_records: int) -> Slice:
    """Read the first records of a CSV file, all of which must be good."""
    with path.open(encoding="ascii") as file:
        lines = [line.rstrip("\n").split(",") for line in itertools.islice(file, num_records)]
    records = pd.DataFrame(lines, columns=list(COLUMNS[kind])).astype({"num_features": int})
    if kind == "sample":
        records = records.astype({"sample_id": int})
    records["partition"] = [number // _RECORDS_IN_GROUP[kind] for number in range(len(records))]
    return Slice(records, sum(line[-1].count("\x02") for line in lines))


def seconds_to_explode(spark: SparkSession, records: pd.DataFrame, kind: RecordKind) -> float:
    """Explode records by the published method, to a null sink, and give the seconds that it took."""
    frame = spark.createDataFrame(records).cache()
    frame.count()
    begun = time.monotonic()
    exploded = frame.groupby("partition").applyInPandas(_explode_group, schema=f"{_KEYS[kind]}, {_FEATURES}")
    exploded.write.format("noop").mode("overwrite").save()
    return time.monotonic() - begun


def _explode_group(group: pd.DataFrame) -> pd.DataFrame:
    key = str(group.columns[0])
    exploded = pd.DataFrame()
    for _, record in group.iterrows():
        features = _feature_frame(record["features_list"])
        assert len(features) == record["num_features"]  # noqa: S101 - the method's only check
        features.insert(0, key, record[key])
        exploded = pd.concat([exploded, features], axis=0)
    return exploded


def _feature_frame(features_list: str) -> pd.DataFrame:
    parts = [structure.replace("\x03", "\x02").split("\x02") for structure in features_list.split("\x01")]
    return pd.DataFrame(
        {
            "feature_name": [name for name, _, _ in parts],
            "feature_id": [int(feature_id) for _, feature_id, _ in parts],
            "feature_value": [float(value) for _, _, value in parts],
        }
    )
