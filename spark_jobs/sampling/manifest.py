"""The manifest of a sample: what was asked for, from what, and what came of it, for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.samples import SampleSource
from pipeline.settings import RECORD_KINDS, RecordKind, Settings
from pipeline.tar_gz import compressor
from spark_jobs.sampling.archive import Member, checksum
from spark_jobs.sampling.findings import Findings, StratumRow, fits, rate_rows, strata_rows, weighting_effect
from spark_jobs.sampling.passes import FileTally

# Raised when the same source and parameters would give another sample, or another account of it.
FORMAT = 2


def describe(
    settings: Settings,
    source: SampleSource,
    findings: Findings,
    *,
    archive: Path,
    members: Sequence[Member],
    checksums: Mapping[RecordKind, str],
) -> dict[str, Any]:
    """Give the manifest.

    Args:
        settings: name the data set.
        source: what was drawn from.
        findings: what was counted.
        archive: what was written.
        members: of the archive.
        checksums: of the members.
    """
    rows, num_strata = list(map(_row, strata_rows(findings))), len(findings.plan.strata)
    counted: dict[RecordKind, FileTally] = {"sample": findings.source.file, "common_feature": findings.source_groups}
    drawn: dict[RecordKind, FileTally] = {"sample": findings.sample.file, "common_feature": findings.sample_groups}
    return {
        "format": FORMAT,
        "archive": {
            "name": settings.data_set.archive,
            "size_bytes": archive.stat().st_size,
            "sha256": checksum(archive),
            "compressor": compressor(),
            "members": {
                member.name: {
                    "size_bytes": member.num_bytes,
                    "sha256": checksums[member.kind],
                    "num_lines": drawn[member.kind].num_lines,
                }
                for member in members
            },
        },
        "parameters": asdict(findings.design),
        "source": {
            "uri": source.uri,
            "etag": source.etag,
            "sha256": source.sha256,
            "members": {
                settings.data_set.members[kind]: {
                    "size_bytes": source.files[kind].size_bytes,
                    "sha256": source.files[kind].sha256,
                    "num_lines": counted[kind].num_lines,
                    "num_rejected": counted[kind].num_rejects,
                    "num_orphans": counted[kind].num_orphans,
                }
                for kind in RECORD_KINDS
            },
        },
        "samples": {"source": findings.source.file.num_eligible, "sample": findings.sample.file.num_eligible},
        "common_feature_groups": {"source": findings.num_groups, "sample": findings.num_sample_groups},
        "targets": list(map(asdict, rate_rows(findings))),
        "strata": rows[:num_strata],
        # Of labels that do not make the strata.
        "labels": rows[num_strata:],
        "design_effect_of_weights": weighting_effect(findings),
        "goodness_of_fit": [{"of": name, **asdict(fit)} for name, fit, _ in fits(findings)],
    }


def _row(row: StratumRow) -> dict[str, Any]:
    # The shares follow from the numbers.
    return {key: value for key, value in asdict(row).items() if not key.endswith("_share")}
