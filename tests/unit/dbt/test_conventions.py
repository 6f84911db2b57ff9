"""What dbt-bouncer and dbt-project-evaluator ask of a project; what is not followed is in docs/decisions/dbt-conventions.md."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt_bouncer.utils import get_check_registry

Node = dict[str, Any]

# What the package lets a project set: the tests that prove a key, and the prefixes of the models of a layer.
KEY_TESTS = [{"unique", "not_null"}, {"unique_combination_of_columns"}, {"contract_is_enforced"}]
PREFIXES = {"staging": ("stg_",), "core": ("fct_", "dim_"), "reporting": ("rpt_",)}

# A variable, a name in quotes or one with a dot, where a table is read.
HARD_CODED = re.compile(r"""(?<!distinct )\b(?:from|join)\s+(?:\{\{\s*var\b|[`"'\[]|[\w-]+\.)""", re.IGNORECASE)


class Project:
    """The graph of the project, where tests are nobody's children."""

    def __init__(self, manifest: Node) -> None:
        everything = [node for kind in ("nodes", "sources", "exposures") for node in manifest[kind].values()]
        self.tests = [node for node in everything if node["resource_type"] == "test"]
        self.nodes = {node["unique_id"]: node for node in everything if node not in self.tests}

    def parents(self, node: Node, kind: str = "") -> list[Node]:
        names = node.get("depends_on", {}).get("nodes", [])
        return [self.nodes[name] for name in names if name.startswith(kind)]

    def children(self, node: Node) -> list[Node]:
        models = [each for each in self.nodes.values() if each["resource_type"] == "model"]
        return [model for model in models if node["unique_id"] in model["depends_on"]["nodes"]]

    def own_tests(self, model: Node) -> list[Node]:
        return [test for test in self.tests if test.get("attached_node") == model["unique_id"]]

    def is_keyed(self, model: Node) -> bool:
        kinds: dict[str | None, set[str]] = {}
        for test in self.own_tests(model):
            kinds.setdefault(test["column_name"], set()).add(test["test_metadata"]["name"])
        return any(key <= found for found in kinds.values() for key in KEY_TESTS)

    def num_chained_views(self, model: Node) -> int:
        views = [parent for parent in self.parents(model, "model") if parent["config"]["materialized"] == "view"]
        return 1 + max(map(self.num_chained_views, views)) if views else 0

    def rejoins(self, model: Node) -> bool:
        """Whether a parent of a model that no other reads has a parent that is another of the model's."""
        single = [parent for parent in self.parents(model) if len(self.children(parent)) == 1]
        return any(each in self.parents(model) for parent in single for each in self.parents(parent))


def layer(model: Node) -> str:
    return str(model["fqn"][1])


def folder(node: Node) -> Path:
    return Path(node["original_file_path"]).parent


def name_of(node: Node) -> str:
    return ".".join(node["fqn"][-2:]) if node["resource_type"] in ("model", "source") else str(node["name"])


# By the names of the package's models, without fct_: which resources are judged, and what is a fault, by the package's limits.
RULES: dict[str, tuple[str, Callable[[Project, Node], object]]] = {
    "direct_join_to_source": ("model", lambda p, m: p.parents(m, "source") and p.parents(m, "model")),
    "duplicate_sources": (
        "source",
        lambda p, s: (
            [n["relation_name"] for n in p.nodes.values() if "relation_name" in n].count(s["relation_name"]) > 1
        ),
    ),
    "hard_coded_references": ("model test", lambda _, n: HARD_CODED.search(re.sub("--.*", "", n["raw_code"]))),
    "marts_or_intermediate_dependent_on_source": (
        "model",
        lambda p, m: layer(m) != "staging" and p.parents(m, "source"),
    ),
    "model_fanout": ("model seed source", lambda p, n: sum(not p.children(m) for m in p.children(n)) >= 3),
    "multiple_sources_joined": ("model", lambda p, m: len(p.parents(m, "source")) > 1),
    "rejoining_of_upstream_concepts": ("model", Project.rejoins),
    "root_models": ("model", lambda p, m: not p.parents(m)),
    "source_fanout": ("source", lambda p, s: len(p.children(s)) > 1),
    "staging_dependent_on_marts_or_intermediate": (
        "model",
        lambda p, m: layer(m) == "staging" and any(layer(n) != "staging" for n in p.parents(m, "model")),
    ),
    "staging_dependent_on_staging": (
        "model",
        lambda p, m: layer(m) == "staging" and any(layer(n) == "staging" for n in p.parents(m, "model")),
    ),
    "too_many_joins": ("model", lambda p, m: len(p.parents(m)) >= 7),
    "unused_sources": ("source", lambda p, s: not p.children(s)),
    "missing_primary_key_tests": ("model", lambda p, m: not p.is_keyed(m)),
    "sources_without_freshness": ("source", lambda _, s: not (s["freshness"] or {}).get("warn_after", {}).get("count")),
    "test_coverage": ("model", lambda p, m: not any(m["unique_id"] in t["depends_on"]["nodes"] for t in p.tests)),
    "undocumented_models": ("model", lambda _, m: not m["description"]),
    "undocumented_source_tables": ("source", lambda _, s: not s["description"]),
    "undocumented_sources": ("source", lambda _, s: not s["source_description"]),
    "model_directories": ("model", lambda _, m: m["name"].startswith("stg_") != ("staging" in folder(m).parts)),
    "model_naming_conventions": ("model", lambda _, m: not m["name"].startswith(PREFIXES[layer(m)])),
    "source_directories": ("source", lambda _, s: s["source_name"] not in folder(s).parts),
    "test_directories": (
        "model",
        lambda p, m: any(folder(t) != folder(m) for t in p.own_tests(m)),
    ),
    "chained_views_dependencies": ("model", lambda p, m: p.num_chained_views(m) > 5),
    "exposure_parents_materializations": (
        "exposure",
        lambda p, e: any(n["config"].get("materialized") in (None, "view") for n in p.parents(e)),
    ),
    "exposures_dependent_on_private_models": (
        "exposure",
        lambda p, e: any(n.get("access") != "public" for n in p.parents(e)),
    ),
    "public_models_without_contract": (
        "model",
        lambda _, m: m["access"] == "public" and not m["contract"]["enforced"],
    ),
    "undocumented_public_models": (
        "model",
        lambda _, m: (
            m["access"] == "public" and not all(c["description"] for c in [m, *m["columns"].values()] if m["columns"])
        ),
    ),
}


@pytest.fixture(scope="module")
def reasons(root: Path) -> dict[str, list[str]]:
    """The table of what is not followed: a rule or check, and where."""
    text = (root / "docs/decisions/dbt-conventions.md").read_text()
    rows = re.findall(r"^\| (`.+?) \| (.+?) \| .{20,} \|$", text, re.MULTILINE)
    return {rule: re.findall("`(.+?)`", where) for rules, where in rows for rule in re.findall("`(.+?)`", rules)}


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_finds_has_its_reason(manifest: Node, reasons: dict[str, list[str]], rule: str) -> None:
    project = Project(manifest)
    kinds, is_fault = RULES[rule]
    judged = [node for node in [*project.nodes.values(), *project.tests] if node["resource_type"] in kinds.split()]
    names = [name_of(node) for node in judged]
    expected = {name for glob in reasons.get(rule, []) for name in fnmatch.filter(names, glob) or [glob]}
    assert {name_of(node) for node in judged if is_fault(project, node)} == expected


def test_every_reason_is_for_a_rule(reasons: dict[str, list[str]]) -> None:
    assert {rule for rule in reasons if not rule.startswith("check_")} <= RULES.keys()


def bounce(manifest: Node, folder: Path, checks: list[Node]) -> set[str]:
    """The checks of dbt-bouncer that fail."""
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "dbt-bouncer.yml").write_text(yaml.safe_dump({"dbt_artifacts_dir": ".", "manifest_checks": checks}))
    command = [Path(sys.executable).with_name("dbt-bouncer"), "run", "--output-file", "found.json"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stdout
    found = json.loads((folder / "found.json").read_text())
    return {each["check_run_id"].split(":")[0] for each in found if each["outcome"] != "success"}


@pytest.mark.soak
def test_the_project_is_let_in_by_dbt_bouncer(manifest: Node, root: Path, tmp_path: Path) -> None:
    assert (
        bounce(manifest, tmp_path, yaml.safe_load((root / "dbt-bouncer.yml").read_text())["manifest_checks"]) == set()
    )


@pytest.mark.soak
def test_what_dbt_bouncer_is_not_asked_has_its_reason(
    manifest: Node, reasons: dict[str, list[str]], root: Path, tmp_path: Path
) -> None:
    """Its standard is each check of a manifest that needs no setting, everywhere."""
    standard = {
        name
        for name, check in get_check_registry().items()
        if ".manifest." in check.__module__ and name.startswith("check_")
        and all(key == "name" or not field.is_required() for key, field in check.model_fields.items())
    }  # fmt: skip
    asked = yaml.safe_load((root / "dbt-bouncer.yml").read_text())["manifest_checks"]
    everywhere = {check["name"] for check in asked if not check.keys() & {"include", "exclude"}}
    excused = {rule for rule in reasons if rule.startswith("check_")}
    assert standard - everywhere == excused
    settings = {"check_model_has_tests_by_type": {"min_number_of_schema_tests": 1}}
    assert bounce(manifest, tmp_path, [{"name": name, **settings.get(name, {})} for name in sorted(excused)]) == excused
