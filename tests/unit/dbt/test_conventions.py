"""What dbt-project-evaluator and dbt-bouncer ask of a project; docs/decisions/dbt-conventions.md has the exceptions."""

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

Node = dict[str, Any]

# What the package lets a project set: the tests that prove a key, and the prefixes of the models of a layer.
KEY_TESTS = [{"unique", "not_null"}, {"adds_up_to"}, {"contract_is_enforced"}]
PREFIXES = {"staging": ("stg_",), "core": ("fct_", "dim_"), "marts": ("fct_", "dim_"), "reporting": ("rpt_",)}
MARTS = ("core", "marts", "reporting")

# A variable, a name in quotes or one with a dot, where a table is read.
HARD_CODED = re.compile(r"""(?<!distinct )\b(?:from|join)\s+(?:\{\{\s*var\b|[`"'\[]|[\w-]+\.)""", re.IGNORECASE)


# What makes dbt-bouncer look at some resources alone.
SCOPE = {"include", "exclude"}


class Project:
    """The graph of the project, in which tests are nobody's children."""

    def __init__(self, manifest: Node) -> None:
        self.nodes: dict[str, Node] = manifest["nodes"] | manifest["sources"] | manifest["exposures"]
        self.tests = self.of("test")

    def of(self, kinds: str) -> list[Node]:
        return [node for node in self.nodes.values() if node["resource_type"] in kinds.split()]

    def parents(self, node: Node, kind: str = "") -> list[Node]:
        names = node.get("depends_on", {}).get("nodes", [])
        return [self.nodes[name] for name in names if name.startswith(kind)]

    def children(self, node: Node) -> list[Node]:
        return [model for model in self.of("model") if node["unique_id"] in model["depends_on"]["nodes"]]

    def own_tests(self, model: Node) -> list[Node]:
        return [test for test in self.tests if test.get("attached_node") == model["unique_id"]]

    def is_keyed(self, model: Node) -> bool:
        kinds: dict[str | None, set[str]] = {}
        for test in self.own_tests(model):
            kinds.setdefault(test["column_name"], set()).add(test["test_metadata"]["name"])
        return any(key <= found for found in kinds.values() for key in KEY_TESTS)

    def num_chained_views(self, model: Node) -> int:
        views = [parent for parent in self.parents(model, "model") if kind_of(parent) == "view"]
        return 1 + max(map(self.num_chained_views, views)) if views else 0

    def rejoins(self, model: Node) -> bool:
        """Whether a parent of a model that no other reads has a parent that is another of the model's."""
        single = [parent for parent in self.parents(model) if len(self.children(parent)) == 1]
        return any(each in self.parents(model) for parent in single for each in self.parents(parent))


def layer(model: Node) -> str:
    return str(model["fqn"][1])


def folder(node: Node) -> Path:
    return Path(node["original_file_path"]).parent


def kind_of(node: Node) -> Any:
    return node["config"].get("materialized")


def is_documented(model: Node) -> bool:
    return bool(model["columns"]) and all(each["description"] for each in [model, *model["columns"].values()])


def name_of(node: Node) -> str:
    return ".".join(node["fqn"][-2:]) if node["resource_type"] in ("model", "source") else str(node["name"])


def reads(project: Project, model: Node, *layers: str) -> bool:
    return any(layer(parent) in layers for parent in project.parents(model, "model"))


# For kinds of resources: what is a fault of one, by the package's limits, under the names of its models without fct_.
RULES: dict[str, dict[str, Callable[[Project, Node], object]]] = {
    "model": {
        "direct_join_to_source": lambda p, m: p.parents(m, "source") and p.parents(m, "model"),
        "marts_or_intermediate_dependent_on_source": lambda p, m: layer(m) != "staging" and p.parents(m, "source"),
        "multiple_sources_joined": lambda p, m: len(p.parents(m, "source")) > 1,
        "rejoining_of_upstream_concepts": Project.rejoins,
        "root_models": lambda p, m: not p.parents(m),
        "staging_dependent_on_marts_or_intermediate": lambda p, m: layer(m) == "staging" and reads(p, m, *MARTS),
        "staging_dependent_on_staging": lambda p, m: layer(m) == "staging" and reads(p, m, "staging"),
        "too_many_joins": lambda p, m: len(p.parents(m)) >= 7,
        "missing_primary_key_tests": lambda p, m: not p.is_keyed(m),
        "test_coverage": lambda p, m: not any(m["unique_id"] in test["depends_on"]["nodes"] for test in p.tests),
        "undocumented_models": lambda _, m: not m["description"],
        "model_directories": lambda _, m: m["name"].startswith("stg_") != ("staging" in folder(m).parts),
        "model_naming_conventions": lambda _, m: not m["name"].startswith(PREFIXES[layer(m)]),
        "test_directories": lambda p, m: any(folder(test) != folder(m) for test in p.own_tests(m)),
        "chained_views_dependencies": lambda p, m: p.num_chained_views(m) > 5,
        "public_models_without_contract": lambda _, m: m["access"] == "public" and not m["contract"]["enforced"],
        "undocumented_public_models": lambda _, m: m["access"] == "public" and not is_documented(m),
    },
    "model seed source": {"model_fanout": lambda p, n: sum(not p.children(m) for m in p.children(n)) >= 3},
    "model test": {"hard_coded_references": lambda _, n: HARD_CODED.search(re.sub("--.*", "", n["raw_code"]))},
    "source": {
        "duplicate_sources": lambda p, s: [n["relation_name"] for n in p.of("source")].count(s["relation_name"]) > 1,
        "source_fanout": lambda p, s: len(p.children(s)) > 1,
        "unused_sources": lambda p, s: not p.children(s),
        "sources_without_freshness": lambda _, s: not (s["freshness"] or {}).get("warn_after", {}).get("count"),
        "undocumented_source_tables": lambda _, s: not s["description"],
        "undocumented_sources": lambda _, s: not s["source_description"],
        "source_directories": lambda _, s: s["source_name"] not in folder(s).parts,
    },
    "exposure": {
        "exposure_parents_materializations": lambda p, e: {None, "view"} & {kind_of(n) for n in p.parents(e)},
        "exposures_dependent_on_private_models": lambda p, e: (
            {n.get("access") for n in p.parents(e, "model")} - {"public"}
        ),
    },
}


@pytest.fixture(scope="module")
def reasons(root: Path) -> dict[str, list[str]]:
    """The table of what is not followed: a rule or check, and where."""
    text = (root / "docs/decisions/dbt-conventions.md").read_text()
    rows = re.findall(r"^\| (`.+?) \| (.+?) \| .{20,} \|$", text, re.MULTILINE)
    return {rule: re.findall("`(.+?)`", where) for rules, where in rows for rule in re.findall("`(.+?)`", rules)}


@pytest.mark.parametrize(("kinds", "rule"), [(kinds, rule) for kinds in RULES for rule in RULES[kinds]])
def test_what_a_rule_finds_has_its_reason(manifest: Node, reasons: dict[str, list[str]], kinds: str, rule: str) -> None:
    project = Project(manifest)
    judged = project.of(kinds)
    names = [name_of(node) for node in judged]
    excused = {name for glob in reasons.get(rule, []) for name in fnmatch.filter(names, glob) or [glob]}
    assert {name_of(node) for node in judged if RULES[kinds][rule](project, node)} == excused


def test_every_reason_is_for_a_rule(reasons: dict[str, list[str]]) -> None:
    rules = {rule for kinds in RULES.values() for rule in kinds}
    assert {rule for rule in reasons if not rule.startswith("check_")} <= rules


def checks_of(root: Path) -> list[Node]:
    checks: list[Node] = yaml.safe_load((root / "dbt-bouncer.yml").read_text())["manifest_checks"]
    return checks


def bounce(manifest: Node, folder: Path, checks: list[Node]) -> set[str]:
    """The checks of dbt-bouncer that fail."""
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "dbt-bouncer.yml").write_text(yaml.safe_dump({"dbt_artifacts_dir": ".", "manifest_checks": checks}))
    command = [str(Path(sys.executable).with_name("dbt-bouncer")), "run", "--output-file", "found.json"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stdout
    found = json.loads((folder / "found.json").read_text())
    return {each["check_run_id"].split(":")[0] for each in found if each["outcome"] != "success"}


@pytest.mark.soak
def test_the_project_is_let_in_by_dbt_bouncer(manifest: Node, root: Path, tmp_path: Path) -> None:
    assert bounce(manifest, tmp_path, checks_of(root)) == set()


@pytest.mark.soak
def test_what_dbt_bouncer_is_not_asked_has_its_reason(
    manifest: Node, reasons: dict[str, list[str]], root: Path, tmp_path: Path
) -> None:
    """Its standard is each check of a manifest that needs no setting, everywhere."""
    from dbt_bouncer.utils import get_check_registry

    standard = {
        name
        for name, check in get_check_registry().items()
        if name.startswith("check_")
        and ".manifest." in check.__module__
        and all(key == "name" or not field.is_required() for key, field in check.model_fields.items())
    }
    asked = checks_of(root)
    everywhere = {check["name"] for check in asked if not check.keys() & SCOPE}
    excused = {rule for rule in reasons if rule.startswith("check_")}
    assert standard - everywhere == excused
    unscoped = {check["name"]: {key: check[key] for key in check.keys() - SCOPE} for check in asked}
    assert bounce(manifest, tmp_path, [unscoped.get(name, {"name": name}) for name in sorted(excused)]) == excused
