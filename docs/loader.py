"""Batches of an export that was made with VOCABULARY, as embedding bags take them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def fields_of(folder, side):
    """The fields of a side, `sample` or `common_feature_group`: for each the names of its two columns."""
    manifest = json.loads(Path(folder, "manifest.json").read_text())
    return {field["name"]: (field["indexes"], field["values"]) for field in manifest[side]["fields"]}


def num_indexes(folder):
    """How many indexes each field has, 0 among them, which stands for the ids that are not in the vocabulary."""
    vocabulary = json.loads(Path(folder, "manifest.json").read_text())["vocabulary"]["fields"]
    return {name: field["size"] + 1 for name, field in vocabulary.items()}


def bags(table, fields):
    """For each field the indexes of all rows in one array, their weights, and where each row begins."""
    found = {}
    for name, columns in fields.items():
        indexes, weights = (table[column].combine_chunks() for column in columns)
        found[name] = indexes.flatten().to_numpy(), weights.flatten().to_numpy(), indexes.offsets.to_numpy()
    return found


def cut(bag, rows):
    """The bag of some rows that stand together."""
    indexes, weights, starts = bag
    first, end = starts[rows.start], starts[rows.stop]
    return indexes[first:end], weights[first:end], starts[rows] - first


def batches(folder, batch_size=8192, keep=lambda table: None, parts=None):
    """Give batches: labels, the bags of the samples' own fields, those of their groups, and which each sample has.

    A group is once in a batch. `keep` gives a mask of the rows that are wanted; `parts` are the files to read.
    """
    own, common = fields_of(folder, "sample"), fields_of(folder, "common_feature_group")
    columns = [column for pair in common.values() for column in pair]
    groups = pq.read_table(Path(folder, "common_feature_group"), columns=columns)
    nothing = pa.table({name: [[]] for name in columns}, schema=groups.schema)  # of samples whose group is not there
    groups = pa.concat_tables([groups, nothing]).combine_chunks()
    for part in sorted(Path(folder, "sample").iterdir()) if parts is None else parts:
        table = pq.read_table(part)
        if (wanted := keep(table)) is not None:
            table = table.filter(wanted)
        labels = {name: table[f"{name}_label"].to_numpy() for name in ("click", "conversion")}
        group_rows = table["common_feature_row"].fill_null(len(groups) - 1).to_numpy()
        own_bags = bags(table, own)
        for first in range(0, len(table), batch_size):
            rows = slice(first, min(first + batch_size, len(table)))
            distinct, group_of = np.unique(group_rows[rows], return_inverse=True)
            yield (
                {name: label[rows] for name, label in labels.items()},
                {name: cut(bag, rows) for name, bag in own_bags.items()},
                {name: cut(bag, slice(0, len(distinct))) for name, bag in bags(groups.take(distinct), common).items()},
                group_of,
            )
