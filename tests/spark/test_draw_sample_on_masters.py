"""The same sample on one core, on two, and on executors that are processes of their own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.landed import write_manifest
from pipeline.samples import SampledFile, SampleSource, sample_paths, write_source
from pipeline.settings import RECORD_KINDS, load_settings
from source_data import write_csvs
from spark_jobs.draw_sample import read_parameters, run_step
from spark_jobs.sampling import job
from tests.manifests import asset_of


def test_the_same_seed_gives_the_same_bytes_on_every_spark_master(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "SMALLEST_RANGE", 100_000)
    write_csvs(tmp_path, "train", scale=0.0003)
    checksums = set()
    for number, master in enumerate(["local[1]", "local-cluster[2,1,1024]"]):
        settings = replace(
            load_settings(root=root, environ={}),
            unpacked_folder=tmp_path,
            sample_folder=tmp_path / f"sample-{number}",
            spark_master=master,
        )
        settings.sample_folder.mkdir()
        files = {
            kind: SampledFile(path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for kind in RECORD_KINDS
            for path in (settings.member_path(kind),)
        }
        for path in map(settings.member_path, files):
            write_manifest(path, asset_of(path))
        write_source(settings, SampleSource("s3://bucket/key", "etag", "0" * 64, files))
        run_step(settings, read_parameters({**settings.sample, "margin": "20%"}))
        checksums.add(hashlib.sha256(sample_paths(settings).archive.read_bytes()).hexdigest())

    assert len(checksums) == 1
