"""The fields of the features as dbt's seed describes them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

_SEED = Path("dbt_project/seeds/feature_field.csv")


def known_fields(root: Path) -> Mapping[str, Mapping[str, str]]:
    """Give what is known of each field: meaning, side, multi_valued and value_kind, by the field's name.

    Args:
        root: the project's.
    """
    with (root / _SEED).open(newline="", encoding="utf-8") as file:
        return {row["feature_name"]: row for row in csv.DictReader(file)}
