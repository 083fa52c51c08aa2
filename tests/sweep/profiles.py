"""Cluster profiles for tests, small enough that limits and prices are computed in the head."""

import tempfile
from pathlib import Path
from typing import Any

import yaml

from wconv_sweep.clusters.profile import SlurmProfile, check_profile
from wconv_sweep.yaml_files import read_document

SITE: dict[str, Any] = {
    "schema": 1,
    "cluster": "site",
    "launcher": "slurm",
    "walltime_min": 60,
    "gpus_per_node": 4,
    "cpus_per_node": 32,
    "cpus_per_gpu": 8,
    "mem_per_node_mb": 4000,
    "mem_per_gpu_mb": 1000,
}


def profile(**keys: Any) -> SlurmProfile:
    """Return a profile of a site with nodes of 4 GPUs, 32 CPUs and 4000 MiB.

    Args:
        keys: of the file, in place of or beside those of `SITE`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.yaml"
        path.write_text(yaml.safe_dump(SITE | keys, sort_keys=False), "utf-8")
        found = check_profile(read_document(path, path.name))
    assert isinstance(found, SlurmProfile)
    return found
