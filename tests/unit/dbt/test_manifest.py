"""Conventions of the dbt project, held over the manifest that `dbt parse` writes without a database."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

Node = dict[str, Any]


def of_type(manifest: Node, *types: str) -> list[Node]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] in types]


def kind_of(test: Node) -> str:
    return str(test.get("test_metadata", {"name": "singular"})["name"])


def test_every_model_and_source_states_its_grain(manifest: Node) -> None:
    for node in [*of_type(manifest, "model", "seed"), *manifest["sources"].values()]:
        assert node["description"].startswith("One row per "), node["unique_id"]


def test_every_column_is_described_and_its_description_is_written_once(manifest: Node) -> None:
    blocks = {doc["block_contents"] for doc in manifest["docs"].values()}
    for node in [*of_type(manifest, "model", "seed"), *manifest["sources"].values()]:
        assert node["columns"], node["unique_id"]
        for column in node["columns"].values():
            assert column["description"] in blocks, f"{node['unique_id']}.{column['name']}"


def test_every_docs_block_is_used(manifest: Node) -> None:
    used = {
        column["description"]
        for node in [*of_type(manifest, "model", "seed"), *manifest["sources"].values()]
        for column in node["columns"].values()
    }
    ours = [doc for doc in manifest["docs"].values() if doc["package_name"] == "deepcvr"]
    assert [doc["name"] for doc in ours if doc["block_contents"] not in used] == ["__overview__"]


def test_every_macro_and_each_of_its_arguments_is_described(manifest: Node) -> None:
    for macro in manifest["macros"].values():
        if macro["package_name"] == "deepcvr":
            assert macro["description"], macro["name"]
            assert all(argument["description"] and argument["type"] for argument in macro["arguments"]) or (
                macro["name"].startswith(("test_", "materialization_"))  # dbt compares these with another definition
            ), macro["name"]


def test_every_core_table_has_a_contract_with_keys_and_a_test_of_it(manifest: Node) -> None:
    core = [model for model in of_type(manifest, "model") if model["fqn"][1] == "core"]
    assert {model["name"] for model in core} == {"sample", "feature", "sample_feature", "common_feature_group"}
    tested = {test["attached_node"] for test in of_type(manifest, "test") if kind_of(test) == "contract_is_enforced"}
    for model in core:
        constraints = model["constraints"] + [c for column in model["columns"].values() for c in column["constraints"]]
        assert model["contract"]["enforced"]
        assert sum(constraint["type"] == "primary_key" for constraint in constraints) == 1
        assert all(
            {"type": "not_null"}.items() <= column["constraints"][0].items() for column in model["columns"].values()
        )
        assert model["unique_id"] in tested


def test_a_key_of_several_columns_is_named_by_the_description(manifest: Node) -> None:
    # dbt's documentation shows the constraints of columns alone.
    for model in of_type(manifest, "model"):
        for constraint in model["constraints"]:
            assert "Its key is " + ", ".join(f"`{column}`" for column in constraint["columns"]) in model["description"]


@pytest.mark.parametrize(
    ("exposure", "code"),
    [("data_report", "report/[!s]*.py"), ("load_report", "report/summary.py"), ("parquet_export", "export/*.py")],
)
def test_an_exposure_names_the_views_that_its_command_reads(
    manifest: Node, root: Path, exposure: str, code: str
) -> None:
    views = {model["name"] for model in of_type(manifest, "model") if model["fqn"][1] == "reporting"}
    parents = manifest["exposures"][f"exposure.deepcvr.{exposure}"]["depends_on"]["nodes"]
    text = "".join(path.read_text() for path in root.glob(code))
    assert views & {parent.split(".")[-1] for parent in parents} == {view for view in views if f'"{view}"' in text}


def test_tests_are_read_and_of_the_expected_kinds(manifest: Node) -> None:
    kinds: dict[str, int] = {}
    for test in of_type(manifest, "test"):
        kinds[kind_of(test)] = kinds.get(kind_of(test), 0) + 1
    assert kinds == {
        "accepted_values": 5,
        "adds_up_to": 7,
        "contract_is_enforced": 7,
        "not_null": 1,
        "num_features_match": 2,
        "relationship_to_many": 2,
        "relationships": 1,
        "singular": 16,
        "structures_reach": 2,
        "unique": 1,
    }


def test_singular_tests_are_named_after_the_fact_they_assert(manifest: Node) -> None:
    for test in of_type(manifest, "test"):
        if kind_of(test) == "singular":
            assert test["name"].startswith("assert_")
            assert "validation_errors as (" in test["raw_code"]


def test_every_source_is_judged_for_freshness_without_reading_long_tables(manifest: Node) -> None:
    for source in manifest["sources"].values():
        assert source["freshness"]["warn_after"]["count"]
        has_time = source["name"] in ("asset", "load_partition", "feature_load")
        assert (source["loaded_at_field"] in ("landed_at", "loaded_at")) == has_time, source["name"]
        assert has_time or source["loaded_at_query"].endswith(".load_partition"), source["name"]


def test_sources_are_read_by_their_staging_model_alone(manifest: Node) -> None:
    for node in of_type(manifest, "model", "test"):
        sources = [name for name in node["depends_on"]["nodes"] if name.startswith("source.")]
        own = f"source.deepcvr.staging.{node['name'].removeprefix('stg_')}"
        assert sources == ([own] if node["name"].startswith("stg_") else []), node["unique_id"]


def test_the_seed_describes_the_fields_of_both_sides(root: Path) -> None:
    with (root / "dbt_project/seeds/feature_field.csv").open() as file:
        fields = list(csv.DictReader(file))
    assert sum(field["side"] == "common" for field in fields) == 13
    assert sum(field["side"] == "sample" for field in fields) == 10
