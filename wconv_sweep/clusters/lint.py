"""Finds what a site would refuse before anything is submitted.

Nothing here asks the site: a profile, the pilots and the study's trials go in, sentences come out.
Each says which option or key of the profile to change.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.clusters.limits import beyond_limits, within_limits
from wconv_sweep.clusters.pilot_request import ACCOUNT_VARIABLE, PilotShape
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.clusters.site_facts import Limits
from wconv_sweep.study.config import TrialShape


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Problems of pilots, and warnings."""

    problems: tuple[str, ...]
    """The site would refuse them, or they could never start or train."""
    warnings: tuple[str, ...]


def lint(profile: SlurmProfile, shape: PilotShape, trial: TrialShape) -> Findings:
    """Return all problems of pilots for the trials of a study.

    Args:
        profile: of the site; what it does not know is not checked.
        shape: of the pilots.
        trial: the processes of each trial.
    """
    problems = [
        *_names(profile, shape),
        *_resources(profile, shape),
        *_trials(shape, trial),
        *_time(profile, shape),
    ]
    problems += beyond_limits(profile, shape)
    warnings = [*_waste(profile, shape, trial), *_unused(shape), *_memory(profile, shape)]
    warnings += within_limits(profile, shape)
    where = f"cluster {profile.cluster}"
    return Findings(
        problems=tuple(f"{where}: {text}" for text in problems),
        warnings=tuple(f"{where}: {text}" for text in warnings),
    )


def folder_advice(
    profile: SlurmProfile, folder: Path, environment: Mapping[str, str] = os.environ
) -> str | None:
    """Return a warning if the site deletes the files in a folder; None otherwise.

    Args:
        profile: of the site.
        folder: of a study or of all runs.
        environment: has the variable of the scratch folder.
    """
    facts = profile.filesystem
    scratch = environment.get(facts.scratch or "")
    if not scratch or facts.purge_days is None:
        return None
    if not folder.resolve().is_relative_to(Path(scratch).resolve()):
        return None
    return (
        f"{folder} lies in ${facts.scratch}, where the site deletes files after "
        f"{facts.purge_days} days: export results in time, or choose another folder with --runs."
    )


def _names(profile: SlurmProfile, shape: PilotShape) -> Iterator[str]:
    if shape.account is None and profile.account_required:
        yield (
            "no account is given, and the site refuses jobs without one. Use --account NAME, set "
            f"{ACCOUNT_VARIABLE}, or write `account: NAME` into a profile of your own."
        )
    if shape.qos is None and profile.qos.required:
        yield (
            "no QOS is given, and the site refuses jobs without one. Use --qos with one of "
            f"{', '.join(profile.qos.known)}."
        )
    if shape.qos is not None and profile.qos.known and shape.qos not in profile.qos.known:
        yield _unknown("qos", "QOS", shape.qos, profile.qos.known)
    default_is_useless = (
        shape.gpus_used_per_node and profile.partition.site_default_has_gpu is False
    )
    if default_is_useless and not shape.partitions:
        yield (
            "no partition is given, and the site's default has no GPU. Use --partition NAME or "
            "set partition.default."
        )
    for name in shape.partitions if profile.partition.known else ():
        if name not in profile.partition.known:
            yield _unknown("partition", "partition", name, profile.partition.known)


def _unknown(key: str, what: str, name: str, known: Mapping[str, Limits]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."
    return (
        f"--{key} {name}: the profile knows no {what} of this name. {hint} Add others to "
        f"{key}.known in a profile of your own."
    )


def _resources(profile: SlurmProfile, shape: PilotShape) -> Iterator[str]:
    gpus = shape.gpus_used_per_node
    cpus, node_cpus = shape.cpus_per_task, profile.cpus_per_node
    if node_cpus is not None and cpus > node_cpus:
        yield (
            f"{gpus} GPUs with {profile.cpus_per_gpu} CPUs each are {cpus} CPUs, but a node has "
            f"{node_cpus}. Lower cpus_per_gpu to {node_cpus // gpus} or less."
        )
    mem, node_mem = shape.mem_per_node_mb, profile.mem_per_node_mb
    if mem is not None and node_mem is not None and mem > node_mem:
        yield (
            f"{gpus} GPUs with {profile.mem_per_gpu_mb} MiB of memory each are {mem} MiB, but a "
            f"node gives {node_mem}. Lower mem_per_gpu_mb to {node_mem // gpus} or less."
        )


def _memory(profile: SlurmProfile, shape: PilotShape) -> Iterator[str]:
    """Yield a warning if a pilot takes memory that other GPUs of the node would need."""
    mem, node_mem = shape.mem_per_node_mb, profile.mem_per_node_mb
    if mem is None or node_mem is None or profile.whole_nodes:
        return
    share = node_mem * shape.gpus_used_per_node // profile.gpus_per_node
    if share < mem <= node_mem:
        yield (
            f"mem_per_gpu_mb is {profile.mem_per_gpu_mb}, more than a GPU's share of the node, "
            f"{node_mem // profile.gpus_per_node} MiB: the site may bill for it."
        )


def _trials(shape: PilotShape, trial: TrialShape) -> Iterator[str]:
    gpus, nodes, ranks = shape.gpus_used_per_node, shape.nodes, trial.ranks
    if not gpus or nodes_of_trial(shape, trial) is not None:
        return
    if ranks > gpus * nodes:
        yield (
            f"trial.ranks is {ranks}, but a pilot has {nodes} x {gpus} GPUs, one for each rank. "
            f"Use --nodes {-(-ranks // gpus)}, or lower trial.ranks."
        )
    else:
        yield (
            f"trial.ranks is {ranks}, which {nodes} nodes of {gpus} GPUs cannot share evenly. "
            f"Make it a multiple of the nodes that a trial needs."
        )


def nodes_of_trial(shape: PilotShape, trial: TrialShape) -> int | None:
    """Return how many nodes of a pilot share the ranks of a trial evenly; None: no number does."""
    return next(
        (
            nodes
            for nodes in range(1, shape.nodes + 1)
            if trial.ranks % nodes == 0 and trial.ranks // nodes <= shape.gpus_used_per_node
        ),
        None,
    )


def _time(profile: SlurmProfile, shape: PilotShape) -> Iterator[str]:
    if 60 * shape.walltime_min <= profile.grace_s:
        yield (
            f"a time limit of {shape.walltime_min} min leaves nothing to train in, as the last "
            f"{profile.grace_s:g} s are kept free. Raise --time, or lower grace_s."
        )


def _unused(shape: PilotShape) -> Iterator[str]:
    used, held = shape.gpus_used_per_node, shape.gpus_held_per_node
    if used < held:
        yield (
            f"pilots take whole nodes: they hold {held} GPUs of each and use {used}, and the site "
            f"bills all of them. Set gpus_used_per_node: {held}, or whole_nodes: false where the "
            "site allows it, in a profile of your own."
        )


def _waste(profile: SlurmProfile, shape: PilotShape, trial: TrialShape) -> Iterator[str]:
    nodes = nodes_of_trial(shape, trial) or 1
    ranks = trial.ranks // nodes
    gpus = shape.gpus_used_per_node
    used = gpus // ranks * ranks if nodes == 1 else ranks
    if 0 < used < gpus:
        fewer = f"set gpus_used_per_node: {used} in a profile of your own"
        if profile.whole_nodes:
            fewer += ", with whole_nodes: false where the site allows it"
        yield (
            f"{gpus - used} of {gpus} GPUs of each node stay idle with trials of {trial.ranks} "
            f"rank(s). Change trial.ranks, or {fewer}."
        )
    idle_nodes = shape.nodes % nodes
    if idle_nodes:
        yield (
            f"{idle_nodes} of {shape.nodes} nodes stay idle, as each trial spans {nodes}. Use "
            f"--nodes {shape.nodes - idle_nodes}."
        )
    threads = (used * trial.per_gpu if gpus else ranks) * trial.threads_per_rank
    if shape.cpus_per_task and threads > shape.cpus_per_task:
        yield (
            f"trial.threads_per_rank is {trial.threads_per_rank}, which makes {threads} threads "
            f"on {shape.cpus_per_task} CPUs of each node. Lower it, or raise cpus_per_gpu."
        )
    if shape.pilots > profile.max_array_size > 0:
        arrays = -(-shape.pilots // profile.max_array_size)
        yield (
            f"{shape.pilots} pilots are submitted as {arrays} arrays, as one has at most "
            f"{profile.max_array_size} jobs (max_array_size)."
        )
